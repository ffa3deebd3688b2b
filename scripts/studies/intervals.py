"""Candidates for the interval of the gain, in worlds whose truth is known.

    python -m scripts.studies.intervals [--worlds 600]

Belongs here: other standard errors and other ways to shrink the ends of the interval, on the
same worlds, and what holds the truth how often. Does not belong here: the interval that is
kept (`pcorr_assets.stats.gain`). What was found stands in `tried.md`.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
from scipy.special import stdtrit

from pcorr_assets.stats.gain import COVERAGE, gains_on, jackknife_error, leave_outs, reliability
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.ranks import centred_ranks
from pcorr_assets.stats.stability import stability
from scripts.studies.cells import CELLS
from scripts.studies.worlds import draw, true_correlations

HALVINGS = 50
# Powers of the reliability by which the lower and the upper end are shrunk.
POWERS = ((1.0, 1.0), (1.0, 0.5), (1.5, 0.5), (2.0, 0.5))


def group_sums_error(panel: Panel, weights: np.ndarray) -> float:
    """The standard error before: sums over each group of the products of centred ranks.

    It takes what LLMs contribute for independent, which ranks near a correlation of 1 are not.
    """
    ranks = centred_ranks(np.ascontiguousarray(panel.X.T)).astype(np.float64)
    errors = centred_ranks(panel.errors[np.newaxis])[0].astype(np.float64)
    norms = np.sqrt((ranks**2).sum(axis=1) * (errors @ errors))
    parts = ((ranks * errors) / norms[:, np.newaxis]).T @ (weights - 1 / weights.size)
    sums = np.array([parts[rows].sum() for rows in panel.groups.members])
    return float(np.sqrt(sums.size) * sums.std(ddof=1))


def held(name: str, seed: int, rho: np.ndarray) -> dict[str, bool]:
    """Which intervals hold the truth of one world."""
    cell = CELLS[name]
    panel = draw(cell, [seed, cell.llms, int(100 * cell.sigma), cell.null])
    ordered = order_texts(panel.X)
    steadiness = stability(panel, halvings=HALVINGS, ordered=ordered)
    weights = panel.weights(panel.all_rows, ordered)
    parts = [panel.all_rows, *leave_outs(panel)]
    gains = gains_on(panel, ordered, weights[:, np.newaxis], parts)[0][:, 0]
    errors = {
        "sums": group_sums_error(panel, weights),
        "jackknife": jackknife_error(panel, gains),
    }
    held_out, r = steadiness.gain_held_out, reliability(steadiness)
    if held_out is None:
        raise RuntimeError("a world whose groups cannot be halved")
    truth = float(weights @ rho - rho.mean())
    quantile = float(stdtrit(len(panel.groups) - 1, 0.5 + COVERAGE / 2))
    found = {}
    for kind, error in errors.items():
        for low, high in POWERS:
            ends = (held_out + r**power * (gains[0] - held_out) for power in (low, high))
            least, most = (
                end + sign * quantile * error for end, sign in zip(ends, (-1, 1), strict=True)
            )
            found[f"{kind} {low:g} {high:g}"] = bool(least <= truth <= most)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=600)
    small = [name for name, cell in CELLS.items() if cell.domains <= 48]
    parser.add_argument("--cells", nargs="+", default=small, choices=small)
    arguments = parser.parse_args()
    for name in arguments.cells:
        rho, counts = true_correlations(CELLS[name]), Counter()
        for seed in range(1000, 1000 + arguments.worlds):
            counts.update(held(name, seed, rho))
        shares = ", ".join(f"{kind} {n / arguments.worlds:.1%}" for kind, n in counts.items())
        print(f"{name}: {shares}", flush=True)


if __name__ == "__main__":
    main()
