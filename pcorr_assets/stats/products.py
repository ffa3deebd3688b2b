"""Matrix products of few rows, at the speed of one quiet thread.

Belongs here: how a product is cut up for BLAS. Does not belong here: what is multiplied.
"""

from __future__ import annotations

import numpy as np

# OpenBLAS wakes its other threads above so many multiplications. For products this small
# that gains nothing on idle cores; on busy ones it waits for a time slice of theirs, and
# a product of 0.05 ms was seen to take 8 ms.
_ONE_THREAD_MULTIPLICATIONS = 2**18
_SMALLEST_PIECE = 32


def times(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`weights @ columns`, (T, K) by (K, B) of one dtype, in pieces of columns if T is small."""
    target_count, inner = weights.shape
    piece = _ONE_THREAD_MULTIPLICATIONS // (target_count * inner)
    if piece < _SMALLEST_PIECE or piece >= columns.shape[1]:
        return weights @ columns
    whole = columns.shape[1] - columns.shape[1] % piece
    result = np.empty((target_count, columns.shape[1]), dtype=weights.dtype)
    stacked = columns[:, :whole].reshape(inner, -1, piece).transpose(1, 0, 2)
    result[:, :whole] = (weights @ stacked).transpose(1, 0, 2).reshape(target_count, whole)
    result[:, whole:] = weights @ columns[:, whole:]
    return result


def times_one_by_one(weights: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """`weights @ columns` row by row: no row's bits depend on which others there are.

    For numbers that round. One product of all rows would round each of them differently
    with their number, so that a target estimated alone and together with others would
    give two results.
    """
    return np.stack([row @ columns for row in weights])
