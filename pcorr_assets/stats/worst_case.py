"""The selection that is best for whichever of several targets it serves worst.

Belongs here: the linear programme and its dual. Does not belong here: estimates, and the
projection of one estimate (`projection`).

The weights w of texts that maximise the smallest `<w, e_t>` over targets t, with `0 <= w <= tau`
and `sum w = 1`, solve a linear programme. By its duality that largest minimum is the least, over
weights l of the targets (`l >= 0`, `sum l = 1`), of `g(l) = max_w <w, sum_t l_t e_t>`: the linear
projection of one weighted mean of the estimates. g is convex and piecewise linear, and T is small,
so Kelley's cutting planes find its least value in few projections however many texts there are
(J. E. Kelley, "The cutting-plane method for solving convex programs", J. SIAM 8, 1960).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.projection import linear

_TOLERANCE = 1e-8
_OF_SOLVER = 1e-10
_MOST_CUTS = 1000


@dataclass(frozen=True)
class WorstCase:
    """Weights (T,) of the targets, at least 0 with sum 1, and the largest minimum (`value`)."""

    weights: Floats
    value: float


def worst_case(estimates: ArrayLike, tau: ArrayLike) -> WorstCase:
    """The weights of targets whose mean estimate selects for the worst-served of them.

    Args:
        estimates: (T, D) finite estimates of T targets on one scale.
        tau: (D,) largest weight of each text.

    Returns:
        Weights within 1e-8 of the least value of the dual. The linear projection of the mean with
        these weights attains `value` up to the texts at its threshold: T - 1 of them at most have
        another weight in the exact optimum.

    Raises:
        PcorrError: what `projection.linear` raises; no convergence.
    """
    from scipy.optimize import linprog

    table = np.asarray(estimates, dtype=np.float64)
    count = table.shape[0]

    def cut(weights: Floats) -> Floats:
        return table @ linear(weights @ table, tau)

    # What each selection gives each target; beginning with those of the targets alone.
    cuts = [cut(row) for row in np.eye(count)]
    best, least = np.full(count, 1 / count), np.inf
    cuts.append(cut(best))
    least = float(cuts[-1] @ best)
    for row, alone in zip(cuts, np.eye(count), strict=False):
        if float(row @ alone) < least:
            best, least = alone, float(row @ alone)
    while len(cuts) < _MOST_CUTS:
        # min s with s >= <cut, l> for every cut: a bound from below on the least value.
        bound = linprog(
            np.append(np.zeros(count), 1.0),
            A_ub=np.column_stack([np.array(cuts), -np.ones(len(cuts))]),
            b_ub=np.zeros(len(cuts)),
            A_eq=np.append(np.ones(count), 0.0)[np.newaxis],
            b_eq=[1.0],
            bounds=[(0, None)] * count + [(None, None)],
            method="highs",
            # By default a bound may be off by 1e-7, and cuts are nearer to each other than that.
            options={
                "primal_feasibility_tolerance": _OF_SOLVER,
                "dual_feasibility_tolerance": _OF_SOLVER,
            },
        )
        if bound.status != 0:
            break
        weights = np.maximum(bound.x[:-1], 0)
        weights /= weights.sum()
        cuts.append(cut(weights))
        value = float(cuts[-1] @ weights)
        if value < least:
            best, least = weights, value
        if least - bound.x[-1] <= _TOLERANCE:
            return WorstCase(best, least)
    raise PcorrError(
        f"The weights of {count} targets for their worst case were not found in "
        f"{len(cuts)} steps; give combine_targets weights instead of worst_case"
    )
