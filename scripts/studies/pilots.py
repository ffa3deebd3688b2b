"""What a pilot predicts of the selection of all pages, beside what that is.

    python -m scripts.studies.pilots FOLDER [--worlds 40]

Belongs here: worlds with pages, and the outcome of a pilot in one. Does not belong here: the
page (`pilot_page`), and pilots of real texts (`pilot_texts`).

A world of `worlds` gives the BPB of domains; each of a domain's `pages` pages has its own on top:
`page_sd` times a normal number for each LLM, and one for all LLMs, which changes no rank. Pages
differ in length (log-normal, .5).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.pilot import PilotPages, page_variance, predict_overlaps
from pcorr_assets.stats.projection import linear
from scripts.studies.cells import CELLS
from scripts.studies.worlds import Cell, draw

NAMES = (
    "N30 signal 0.75",
    "N30 null 0.75",
    "N16 signal 1.5",
    "N90 signal 0.75",
    "size signal 0.75",
)
PAGE_SDS = (0.02, 0.05, 0.1, 0.3)
PILOTS = (2, 3, 5, 10, 15, 20)
PAGES = 25
DRAWS = 100


@dataclass(frozen=True)
class World:
    """A kind of world with pages: so many a domain, of which so many are the pilot's."""

    cell: Cell
    pages: int
    pilot: int
    page_sd: float


def outcome(world: World, seed: int) -> dict[str, float]:
    """Overlap with the selection of all pages, as predicted (and in 9 of 10 draws) and as it is."""
    panel = draw(world.cell, [seed])
    rng = np.random.default_rng([seed, 99])
    llms, domains = panel.X.shape
    X = (
        panel.X[:, :, np.newaxis]
        + world.page_sd * rng.normal(size=(llms, domains, world.pages))
        + 0.1 * rng.normal(size=(domains, world.pages))
    )
    size = np.round(rng.lognormal(8, 0.5, size=(domains, world.pages)))

    def estimate_of(pages: int) -> np.ndarray:
        bits = (X * size)[:, :, :pages].sum(axis=2)
        return estimate_all(bits / size[:, :pages].sum(axis=1), panel.errors, ("spearmanr",))[
            "spearmanr"
        ]

    k = world.pilot
    pages = PilotPages(
        X[:, :, :k].reshape(llms, -1),
        size[:, :k].ravel(),
        np.repeat(np.arange(domains), k),
        np.full(domains, world.pages),
    )
    estimate = estimate_of(k)
    variance = page_variance(pages, panel.errors, "spearmanr", resamples=DRAWS, seed=seed)
    (told,) = predict_overlaps(pages, estimate, variance, panel.tau, draws=DRAWS, seed=seed)
    weights = [linear(values, panel.tau) for values in (estimate, estimate_of(world.pages))]
    return {
        "predicted": told.overlap,
        "low": told.overlap_low,
        "high": told.overlap_high,
        "actual": float(np.minimum(*weights).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--worlds", type=int, default=40)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = arguments.folder / f"pilots_{name.replace(' ', '_')}.jsonl"
        done = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
        cases = [
            (sd, pilot, seed)
            for seed in range(arguments.worlds)
            for sd in PAGE_SDS
            for pilot in PILOTS
        ]
        with path.open("a", encoding="utf-8") as file:
            for sd, pilot, seed in cases[done:]:
                found: dict[str, Any] = {"page_sd": sd, "pilot": pilot, "seed": seed}
                found |= outcome(World(CELLS[name], PAGES, pilot, sd), seed)
                print(json.dumps(found), file=file, flush=True)


if __name__ == "__main__":
    main()
