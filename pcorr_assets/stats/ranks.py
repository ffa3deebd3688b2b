"""Average ranks, as exact integers.

Belongs here: ranks of a vector and of the columns of a block. Does not belong here:
what is done with ranks.

Everything rests on one quantity, the *centred rank* `c_k = 2 rank_k - (N + 1)`, with
average ranks for ties. It is an integer, it sums to 0, and it equals
`#(values below k) - #(values above k)`, hence `sum over pairs k<g of
sign(y_g - y_k)(x_g - x_k) = sum_k c_k x_k`: the pair sums of three of the estimators
are matrix products, and products of centred ranks are exact in floating point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.stats.checks import Floats, as_vector


def centred_ranks(
    rows: np.ndarray, counts: NDArray[np.intp] | None = None
) -> NDArray[np.signedinteger]:
    """Centred ranks within each row of a finite (B, K) array, in the smallest integer type.

    Args:
        rows: (B, K) values.
        counts: (K,) how often each column counts, 1 by default: the ranks are those in
            the multiset of N = sum(counts) values.

    Returns:
        (B, K) integers within -(N-1) and N-1. O(B K log K), with a few arrays of the size
        of the input beside it.
    """
    total = rows.shape[1] if counts is None else int(counts.sum())
    dtype = _integer_type(total)
    order = np.argsort(rows, axis=1)
    ordered = np.take_along_axis(rows, order, axis=1)
    if counts is None:
        through = np.broadcast_to(np.arange(1, total + 1, dtype=dtype), rows.shape)
        below = np.broadcast_to(np.arange(total, dtype=dtype), rows.shape)
    else:
        in_order = counts.astype(dtype)[order]
        through = np.cumsum(in_order, axis=1, dtype=dtype)
        below = through - in_order
    # The difference first: the sum of two counts may be beyond the type.
    result = through - dtype(total) + below
    starts = ordered[:, 1:] != ordered[:, :-1]
    tied = np.flatnonzero(~starts.all(axis=1))
    if tied.size:
        first, last = _tie_bounds(starts[tied])
        result[tied] = (
            np.take_along_axis(through[tied], last, axis=1)
            - dtype(total)
            + np.take_along_axis(below[tied], first, axis=1)
        )
    centred = np.empty(rows.shape, dtype=dtype)
    # A flat scatter takes half the time of np.put_along_axis.
    order += (np.arange(rows.shape[0]) * rows.shape[1])[:, np.newaxis]
    centred.ravel()[order.ravel()] = result.ravel()
    return centred


def average_ranks(values: ArrayLike) -> Floats:
    """Ranks 1..n of a vector, ties sharing their average rank."""
    vector = as_vector(values, "the vector to rank")
    centred = centred_ranks(vector[np.newaxis])[0]
    return (centred.astype(np.float64) + (vector.size + 1)) / 2


def rank_correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation of two vectors; 0 if one of them is constant."""
    centred = [
        centred_ranks(as_vector(values, "the vector to rank")[np.newaxis])[0].astype(np.float64)
        for values in (a, b)
    ]
    squares = float(centred[0] @ centred[0]) * float(centred[1] @ centred[1])
    return float(centred[0] @ centred[1]) / squares**0.5 if squares else 0.0


def _tie_bounds(starts: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last position of the tie at each position of the ordered values.

    `starts[:, p]` says that position p+1 begins a new value.
    """
    row_count, count = starts.shape[0], starts.shape[1] + 1
    positions = np.arange(count)
    first = np.zeros((row_count, count), dtype=np.intp)
    first[:, 1:] = np.where(starts, positions[1:], 0)
    np.maximum.accumulate(first, axis=1, out=first)
    last = np.full((row_count, count), count - 1, dtype=np.intp)
    last[:, :-1] = np.where(starts, positions[:-1], count - 1)
    return first, np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]


def _integer_type(count: int) -> type[np.signedinteger]:
    for dtype in (np.int8, np.int16, np.int32):
        if count <= np.iinfo(dtype).max:
            return dtype
    return np.int64
