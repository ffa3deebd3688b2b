"""An estimate made into sampling weights: `sum w = 1, 0 <= w_i <= tau_i`.

Belongs here: the two projections of Thrush, Potts and Hashimoto (arXiv 2409.05816,
section 3.3). Does not belong here: where the caps tau come from.

Both are exact and take O(D log D) steps whatever the scale of the estimate: there is
no tolerance that a search would have to reach.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats, as_vector

# A weight or a missing sum below this is rounding of the caps, not a part of a text.
_ROUNDING = 1e-12
_NO_REMAINDER = 1e-14


def linear(estimate: ArrayLike, tau: ArrayLike) -> Floats:
    """Fill texts in descending order of estimate, each up to its cap, until the sum is 1.

    It maximises `<w, estimate>`. Only the order of the estimates matters; texts with
    equal estimates are filled in the order of the input.

    Args:
        estimate: (D,) finite numbers.
        tau: (D,) largest weight of each text, at least 0 (`inf` for no cap).

    Returns:
        (D,) float64 weights: sum 1 within 1e-12, none above its cap.

    Raises:
        PcorrError: shapes differ; NaN; a negative cap; caps that sum to less than 1.
    """
    values, caps = _checked(estimate, tau)
    order = _highest(values, caps)
    filled = caps[order]
    # Extended precision: the place where the sum reaches 1 is the same for any D.
    sums = np.cumsum(filled, dtype=np.longdouble)
    full_count = int(np.searchsorted(sums, 1 - _NO_REMAINDER))
    if full_count < order.size:
        remainder = float(1 - (sums[full_count - 1] if full_count else 0))
        filled[full_count] = min(remainder, filled[full_count])
        filled[full_count + 1 :] = 0
    weights = np.zeros_like(values)
    weights[order] = filled
    return weights


def l2(estimate: ArrayLike, tau: ArrayLike) -> Floats:
    """The point of the constraint set nearest to the estimate in Euclidean distance.

    The solution is `clip(estimate - c, 0, tau)` for the one c at which it sums to 1.
    Arguments, result and refusals as in `linear`. The scale of the estimate matters;
    texts with equal estimates and caps get equal weights.
    """
    values, caps = _checked(estimate, tau)
    descending = np.sort(np.unique(values))[::-1]
    # c lies at or below `anchor` and above the next smaller estimate. Differences from a
    # near estimate are exact, where `estimate - c` would cancel for large estimates.
    low, high = 0, descending.size - 1
    while low < high:
        middle = (low + high + 1) // 2
        if _sum_at(descending[middle], values, caps) < 1:
            low = middle
        else:
            high = middle - 1
    active = np.flatnonzero(values >= descending[low])
    weights = np.zeros_like(caps)
    with np.errstate(over="ignore"):
        weights[active] = _fill_evenly(values[active] - descending[low], caps[active])
    return _polished(weights, caps)


PROJECTIONS: dict[str, Callable[[ArrayLike, ArrayLike], Floats]] = {"linear": linear, "l2": l2}


def _highest(values: Floats, caps: Floats) -> np.ndarray:
    """Texts in descending order of value, equal ones in that of the input: so many of them,
    usually far from all, that their caps sum to more than 1."""
    wanted = int(2 / caps.mean()) + 1
    if wanted < values.size // 2:
        enough = np.partition(values, values.size - wanted)[values.size - wanted]
        top = np.flatnonzero(values >= enough)
        if caps[top].sum() > 1 + 1e-9:
            return top[np.argsort(-values[top], kind="stable")]
    return np.argsort(-values, kind="stable")


def _sum_at(offset: float, values: Floats, caps: Floats) -> float:
    with np.errstate(over="ignore"):
        return float(np.clip(values - offset, 0, caps).sum())


def _fill_evenly(heights: Floats, caps: Floats) -> Floats:
    """`min(heights + o, caps)` for the one o >= 0 at which it sums to 1 (or all caps)."""
    with np.errstate(over="ignore"):
        rooms = caps - heights
    order = np.argsort(rooms, kind="stable")
    room = np.maximum(rooms[order], 0)
    cap = caps[order]
    height = np.minimum(heights[order], cap)
    # With the first k texts at their caps, the sum at offset o is
    # capped[k] + rest[k] + (n - k) o; it is right up to o = room[k].
    capped = np.concatenate([[0], np.cumsum(cap, dtype=np.longdouble)])[:-1]
    rest = np.cumsum(height[::-1], dtype=np.longdouble)[::-1]
    left = np.arange(cap.size, 0, -1)
    reached = capped + rest + left * room.astype(np.longdouble)
    first = int(np.searchsorted(reached, 1))
    if first == cap.size:
        return caps.copy()
    offset = float((1 - capped[first] - rest[first]) / left[first])
    return np.minimum(np.minimum(heights, caps) + max(offset, 0.0), caps)


def _polished(weights: Floats, caps: Floats) -> Floats:
    """Spread what rounding left of the sum over the weights that are strictly inside."""
    inside = (weights > 0) & (weights < caps)
    if inside.any():
        missing = 1 - math.fsum(weights)
        weights[inside] = np.clip(
            weights[inside] + missing / np.count_nonzero(inside), 0, caps[inside]
        )
    return weights


def _checked(estimate: ArrayLike, tau: ArrayLike) -> tuple[Floats, Floats]:
    """Finite estimates, and caps within [0, 1] (a weight above 1 cannot be)."""
    values = as_vector(estimate, "the estimate")
    caps = np.asarray(tau)
    if caps.dtype.kind not in "fiub" or caps.shape != values.shape:
        raise PcorrError(
            f"tau must be {values.size} real numbers, one for each text, but has shape "
            f"{caps.shape} of {caps.dtype}"
        )
    bad = ~(caps >= 0)
    if bad.any():
        first = int(bad.argmax())
        raise PcorrError(
            f"tau has {int(bad.sum())} negative or NaN entries; the first is {caps[first]} at "
            f"position {first}"
        )
    caps = np.minimum(caps.astype(np.float64), 1.0)
    # Exactly, which takes long, only where it matters.
    total = float(caps.sum())
    total = math.fsum(caps) if total < 1 + 1e-6 else total
    if total < 1 - _ROUNDING:
        raise PcorrError(
            f"the caps tau sum to {total!r}, less than 1, so no weights can sum to 1: lower "
            "keep_ratio (tau is a text's share of tokens / keep_ratio) or add texts"
        )
    return values, caps
