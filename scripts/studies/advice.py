"""Does the advised LLM narrow the interval of the gain more for its cost than another one?

Belongs here: worlds in which some LLMs are there and others are candidates, and what becomes
of the interval with one of them. Does not belong here: the order of the candidates
(`pcorr_assets.stats.candidates`).

Of 24 families of eight LLMs two LLMs of each of eight families are there. Candidates are of
four of these and of four others, and of .41 to 2.8 billion parameters. What one LLM does to an
interval is mostly chance, so each candidate is drawn eight times from its family (one that is
not there: from any of the others).
"""

from __future__ import annotations

import numpy as np

from pcorr_assets.stats.candidates import Candidate, advise
from pcorr_assets.stats.gain import selection_gain
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.sensitivity import part_of
from pcorr_assets.stats.stability import Stability
from scripts.studies.worlds import Cell, draw

FAMILIES, PER_FAMILY, THERE = 24, 8, 8
SIGMAS = (0.25, 0.75, 1.5)
MILLIONS = (410, 1000, 1400, 2800)
DRAWS = 8


def outcome(sigma: float, seed: int) -> dict:
    """What is expected of the first candidate, and what came of it and of a random other.

    Widths as shares of the width without it; `better` is per parameter.
    """
    rng = np.random.default_rng(seed)
    panel = draw(Cell(FAMILIES * PER_FAMILY, FAMILIES, sigma, False), [12, seed])
    there = np.array([f * PER_FAMILY + k for f in range(THERE) for k in range(2)])
    base = part_of(panel, there)
    known = rng.permutation([0, 1, 2, 3, 8, 9, 10, 11]).tolist()
    sizes = rng.choice(MILLIONS, size=len(known)).tolist()
    candidates = [
        Candidate(f"c{place}", panel.families[family * PER_FAMILY], size * 1_000_000)
        for place, (family, size) in enumerate(zip(known, sizes, strict=True))
    ]
    advised = advise(base, candidates)[0]
    best = int(advised.candidate.name[1:])
    other = int(rng.choice([place for place in range(len(known)) if place != best]))
    width = interval_width(base)

    def narrowed(place: int) -> float:
        draws = np.random.default_rng([seed, 1])
        widths = []
        for _ in range(DRAWS):
            family = known[place] if known[place] < THERE else draws.integers(THERE, FAMILIES)
            row = family * PER_FAMILY + draws.integers(2, PER_FAMILY)
            widths.append(interval_width(part_of(panel, np.append(there, row))))
        return 1 - float(np.mean(widths)) / width

    own, others = narrowed(best), narrowed(other)
    return {
        "better": own / sizes[best] > others / sizes[other],
        "new family": advised.new_family,
        "expected": 1 - advised.width_alone / advised.width,
        "narrowed": own,
    }


def interval_width(panel: Panel) -> float:
    """Of the interval of the gain, but for what is uncertain about how far to shrink."""
    certain = Stability(1.0, 0, None, gain_held_out=1.0, gain_own=1.0)
    found = selection_gain(panel, certain)
    return found.high - found.low
