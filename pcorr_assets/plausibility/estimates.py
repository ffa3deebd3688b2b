"""An estimate beside the one that was there before, and LLMs that should not be behind it.

Belongs here: comparing two estimates of one sample and target, and errors that losses do not
explain. Does not belong here: whether an estimate is to be trusted at all (`stats.verdict`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.matrix.wording import count, name_some
from pcorr_assets.plausibility.finding import Finding
from pcorr_assets.stats.low_cells import LowErrors
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import rank_correlation

# On the matrix that the paper's code comes with (263 synthetic English documents, 90 LLMs, 9
# benchmarks; not the paper's domains) these flag 1 % of the estimates when one LLM is taken
# away, 5 % when one of its 40 families is, 54 % when a quarter of the families is.
MIN_RANK_CORRELATION = 0.9
MAX_CHANGED_SHARE = 0.25


@dataclass(frozen=True)
class Estimates:
    """Estimates (D,) of D units, at a level, by an estimator."""

    level: str
    units: list[str]
    values: np.ndarray


@dataclass(frozen=True)
class Change:
    """Over the units that both have: rank correlation, and share of the selection that is new."""

    common: int
    rank_correlation: float
    changed_share: float


def change(before: Estimates, now: Estimates, tau: np.ndarray) -> Change | None:
    """What became of the estimates; None if fewer than two units are in both, or none with tokens.

    `tau` (D,) are the caps of the units of `now`. Both selections are made under them, scaled
    to the common units, so that what differs comes from the estimates alone.
    """
    position = {unit: index for index, unit in enumerate(before.units)}
    shared = np.array([index for index, unit in enumerate(now.units) if unit in position], int)
    if len(shared) < 2 or not tau[shared].any():
        return None
    old = before.values[[position[now.units[index]] for index in shared]]
    new = now.values[shared]
    caps = tau[shared] * (tau.sum() / tau[shared].sum())
    was, is_now = linear(old, caps) > 0, linear(new, caps) > 0
    return Change(
        common=len(shared),
        rank_correlation=rank_correlation(old, new),
        changed_share=float((is_now & ~was).sum() / is_now.sum()),
    )


def stable_since_last(
    where: str, before: Estimates | None, now: Estimates, tau: np.ndarray
) -> Finding:
    """Is the estimate of a partition (`where`) like the last one? The first passes."""
    if before is None:
        return Finding(note=f"{where}: the first estimate; there is none to compare it with.")
    if before.level != now.level:
        return Finding(
            note=f"{where}: the last estimate was at level {before.level}, this one is at "
            f"{now.level}; they cannot be compared."
        )
    found = change(before, now, tau)
    if found is None:
        return Finding(note=f"{where}: the last estimate was of other units.")
    numbers = {
        f"rank correlation with the last, {where}": found.rank_correlation,
        f"share of the selection that is new, {where}": found.changed_share,
        f"units in both, {where}": found.common,
    }
    if found.rank_correlation >= MIN_RANK_CORRELATION and found.changed_share <= MAX_CHANGED_SHARE:
        return Finding(numbers=numbers)
    problem = (
        f"{where}: since the last materialisation the estimates of {count(found.common, 'unit')} "
        f"moved (rank correlation {found.rank_correlation:.2f}) and {found.changed_share:.0%} of "
        "the selected units are new. See what changed upstream (LLMs in bpb_matrix, errors in "
        "error_vector, the selection's settings); if nothing should have, do not train on it yet."
    )
    return Finding((problem,), numbers)


def errors_go_with_losses(where: str, found: LowErrors, llms: Sequence[str]) -> Finding:
    """Is no LLM far better on the benchmarks of a partition (`where`) than its losses say?

    `found` are rows of `llms`.
    """
    if found.reason:
        return Finding(note=f"{where}: {found.reason}.")
    numbers = {
        f"LLMs whose errors are too low, {where}": found.rows.size,
        f"allowed, {where}": -found.allowed,
    }
    if not found.rows.size:
        return Finding(numbers=numbers)
    worst = [
        f"{llms[row]} ({deviation:+.1f})"
        for row, deviation in zip(found.rows, found.deviation, strict=True)
    ]
    problem = (
        f"{where}: {name_some(worst, 5)} do far better on the benchmarks than their mean BPB "
        f"explains (ranks, in robust standard deviations; chance brings {-found.allowed:+.1f}). "
        "An LLM may have been trained on the benchmark or tuned to instructions, or its BPB may "
        "be too high (a tokenizer that is not its own, texts in another language). Look at its "
        "losses and errors, and make the estimate without it once."
    )
    return Finding((problem,), numbers)
