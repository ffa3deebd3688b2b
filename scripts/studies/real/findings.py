"""What comes of the trained LLMs: differences to random documents, paired by seed.

Belongs here: reading outcomes, differences and their intervals. Does not belong here: training
(`proxies`), and how it is shown (`page`, `plot`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from scipy.stats import t

from pcorr_assets.demo.comparison import lower_by
from pcorr_assets.methods.table import METHODS
from scripts.studies.real.proxies import Arm
from scripts.studies.real.selections import RANDOM

MEASURES = ("error", "bpb")
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Finding:
    """One method beside random documents, by one measure.

    `mean` over `seeds` of the measure itself; `lower` is how much lower it is than with random
    documents of the same seed, with its 95 % interval (Student's t). The three are None for
    random documents themselves, the interval also with one seed.
    """

    target: str
    size: str
    method: str
    measure: str
    seeds: int
    mean: float
    lower: float | None = None
    low: float | None = None
    high: float | None = None


def findings(folder: Path) -> list[Finding]:
    """Of each target, size, measure and method, from the seeds for which all methods are done."""
    outcomes: dict[tuple[str, str], dict[int, dict[str, dict[str, float]]]] = {}
    for path in sorted((folder / "proxies").glob("*/*/*.json")):
        found = json.loads(path.read_text())
        arm = Arm(*(found[name] for name in ("target", "size", "method", "seed")))
        measured = {"error": fmean(found["errors"].values()), "bpb": found["bpb"]}
        outcomes.setdefault((arm.target, arm.size), {}).setdefault(arm.seed, {})[arm.method] = (
            measured
        )
    return [
        finding
        for (target, size), of_seed in sorted(outcomes.items())
        for measure in MEASURES
        for finding in _of_measure(target, size, measure, of_seed)
    ]


def _of_measure(
    target: str, size: str, measure: str, of_seed: dict[int, dict[str, dict[str, float]]]
) -> list[Finding]:
    methods = {method for done in of_seed.values() for method in done}
    whole = [seed for seed, done in sorted(of_seed.items()) if set(done) == methods]
    if not whole or RANDOM not in methods:
        return []
    values = {
        method: [of_seed[seed][method][measure] for seed in whole]
        for method in sorted(methods, key=list(METHODS).index)
    }
    return [
        _compared(Finding(target, size, method, measure, len(whole), fmean(own)), values)
        for method, own in values.items()
    ]


def _compared(found: Finding, values: dict[str, list[float]]) -> Finding:
    stated = (found.target, found.size, found.method, found.measure, found.seeds, found.mean)
    if found.method == RANDOM:
        return found
    if found.seeds == 1:
        return Finding(*stated, values[RANDOM][0] - found.mean)
    lower = lower_by(values, found.method, RANDOM)
    half = float(t.ppf((1 + CONFIDENCE) / 2, found.seeds - 1)) * lower.standard_error
    return Finding(*stated, lower.mean, lower.mean - half, lower.mean + half)
