"""One number for each text: how its BPB goes with a benchmark error across LLMs.

Belongs here: the five estimators of Thrush, Potts and Hashimoto (arXiv 2409.05816,
section 3; `product` after Plan et al. 2016, `sign` after Chen and Banerjee 2017).
Does not belong here: what follows from an estimate (see `projection`, `verdict`).

X has N rows (LLMs) and D columns (texts). It is read in blocks of columns, so that it
may be a memory map, and memory beyond X is a few MB besides the result. Estimates that
rest on ranks (all but `product` and `sign`) are computed from exact integers: their
bits do not depend on the order of the LLMs. No estimate's bits depend on which other
targets it is made with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import (
    Floats,
    as_errors,
    as_matrix,
    check_llm_count,
    refuse_constant_errors,
    refuse_nonfinite_matrix,
)
from pcorr_assets.stats.products import times, times_one_by_one
from pcorr_assets.stats.ranks import centred_ranks

ESTIMATOR_NAMES = ("product", "sign", "sign_cdf", "sign_sign", "spearmanr")

_RANKED = frozenset({"sign_cdf", "sign_sign", "spearmanr"})
# Blocks and pairs for which what is worked on stays in the cache of a core.
_BLOCK_ENTRIES = 2**17
_PAIRS_AT_ONCE = 256
_WIDE_EXPONENT = 64
_EXACT_IN_FLOAT32 = 2**24


def product(X: ArrayLike, y: ArrayLike) -> Floats:
    """`mean_k y_k x_k`, on X and y as they are (centre X to rank by anything but its mean).

    Args:
        X: (N, D) finite numbers, one row for each LLM.
        y: (N,) errors of one target, or (N, T) of T targets.

    Returns:
        (D,) or (D, T) float64.

    Raises:
        PcorrError: see `estimate_all`.
    """
    return estimate_all(X, y, ("product",))["product"]


def sign(X: ArrayLike, y: ArrayLike) -> Floats:
    """`2/(N(N-1)) sum over pairs k<g of sign(y_g - y_k)(x_g - x_k)`.

    Robust to outliers in y, not in X. Arguments, result and refusals as in `product`;
    a constant column gives 0. For Gaussian data it converges to `2 rho / sqrt(pi)`.
    """
    return estimate_all(X, y, ("sign",))["sign"]


def sign_cdf(X: ArrayLike, y: ArrayLike) -> Floats:
    """`sign` on the empirical CDF (average rank / N) of each column.

    Robust to outliers in X and y. Arguments, result and refusals as in `product`; a
    constant column gives 0. Without ties `spearmanr * (N+1) / (3N)`.
    """
    return estimate_all(X, y, ("sign_cdf",))["sign_cdf"]


def sign_sign(X: ArrayLike, y: ArrayLike) -> Floats:
    """`2/(N(N-1)) sum over pairs k<g of sign(y_g - y_k) sign(x_g - x_k)`: Kendall's tau-a.

    Robust to outliers in X and y. Arguments, result and refusals as in `product`; a
    constant column gives 0. For Gaussian data it converges to `2/pi asin(rho)`.
    """
    return estimate_all(X, y, ("sign_sign",))["sign_sign"]


def spearmanr(X: ArrayLike, y: ArrayLike) -> Floats:
    """Spearman's rank correlation of each column of X with y, average ranks for ties.

    Robust to outliers in X and y. Arguments, result and refusals as in `product`; a
    constant column gives 0. For Gaussian data it converges to `6/pi asin(rho/2)`.
    """
    return estimate_all(X, y, ("spearmanr",))["spearmanr"]


ESTIMATORS: dict[str, Callable[[ArrayLike, ArrayLike], Floats]] = {
    "product": product,
    "sign": sign,
    "sign_cdf": sign_cdf,
    "sign_sign": sign_sign,
    "spearmanr": spearmanr,
}


def estimate_all(
    X: ArrayLike,
    Y: ArrayLike,
    estimators: Iterable[str] = ESTIMATOR_NAMES,
    *,
    rows: ArrayLike | None = None,
    target_names: Sequence[str] | None = None,
) -> dict[str, Floats]:
    """Several estimators for several targets, with X read and ranked once.

    Args:
        X: (N, D) finite numbers, one row for each LLM; may be a memory map.
        Y: (N,) errors of one target, or (N, T) of T targets.
        estimators: names out of `ESTIMATOR_NAMES`.
        rows: rows of X and Y to use, in any order and with repetition (a resample of
            the LLMs); all rows once by default.
        target_names: names of the T targets, for error messages.

    Returns:
        For each name a float64 array: (D,) where Y has one dimension, else (D, T).

    Raises:
        PcorrError: an unknown estimator; wrong shapes; fewer than 3 LLMs; NaN or
            infinite numbers (with their number and where the first is); errors that are
            the same for all LLMs; results beyond the largest float64.
    """
    names = _known_estimators(estimators)
    matrix = as_matrix(X)
    errors = as_errors(Y, matrix.shape[0], target_names)
    chosen, counts = _distinct_rows(rows, matrix.shape[0])
    errors = np.ascontiguousarray(errors[:, chosen])
    refuse_constant_errors(errors, target_names)
    targets = _Targets(errors, counts)
    results = {name: np.empty((matrix.shape[1], errors.shape[0])) for name in names}
    for start, block in _blocks(matrix, None if rows is None else chosen):
        if not np.isfinite(block).all():
            refuse_nonfinite_matrix(matrix, chosen, block.shape[0])
        for name, values in _estimate_block(block, targets, names):
            results[name][start : start + block.shape[0]] = values.T
    for name in names:
        _refuse_overflow(results[name], name)
    if np.ndim(Y) == 1:
        return {name: values[:, 0] for name, values in results.items()}
    return results


class _Targets:
    """Errors (T, K) of K different LLMs, and what the estimators need of them, made once.

    `counts` (K,) says how often each LLM counts, or None for once each; `count` is their
    sum N. `weights` are the centred ranks, times counts.
    """

    def __init__(self, errors: Floats, counts: NDArray[np.intp] | None) -> None:
        self.counts = counts
        self.multiplicity = np.ones(errors.shape[1]) if counts is None else counts.astype(float)
        self.count = int(self.multiplicity.sum())
        self.errors = errors * self.multiplicity
        self.centred = centred_ranks(errors, counts)
        self.weights = self.centred * self.multiplicity
        self.norms = np.einsum("tk,tk->t", self.weights, self.centred.astype(np.float64))

    def exact_type(self, largest_sum: int) -> type[np.floating]:
        """The cheapest type in which integer sums up to this one are exact."""
        return np.float32 if largest_sum < _EXACT_IN_FLOAT32 else np.float64


def _estimate_block(
    block: np.ndarray, targets: _Targets, names: tuple[str, ...]
) -> Iterator[tuple[str, Floats]]:
    """Estimates (T, B) of a block of texts (B, K)."""
    count = targets.count
    pair_scale = 1 / (count * (count - 1))
    if "product" in names:
        with np.errstate(over="ignore", invalid="ignore"):
            yield "product", times_one_by_one(targets.errors, block.T.astype(np.float64)) / count
    if "sign" in names:
        yield "sign", _sign_estimates(block, targets, 2 * pair_scale)
    if _RANKED.isdisjoint(names):
        return
    centred = centred_ranks(block, targets.counts)
    if "sign_sign" in names:
        yield "sign_sign", _concordance(centred, targets) * (2 * pair_scale)
    if "sign_cdf" in names or "spearmanr" in names:
        exact = targets.exact_type(count**3)
        ranks = centred.astype(exact)
        inner = times(targets.weights.astype(exact), ranks.T).astype(np.float64)
        if "sign_cdf" in names:
            yield "sign_cdf", inner * (pair_scale / count)
        if "spearmanr" in names:
            multiplicity = targets.multiplicity.astype(exact)[np.newaxis]
            norms = times(multiplicity, np.square(ranks).T).astype(np.float64)
            scale = np.sqrt(targets.norms[:, np.newaxis] * norms)
            correlation = np.zeros_like(inner)
            np.divide(inner, scale, out=correlation, where=scale > 0)
            yield "spearmanr", np.clip(correlation, -1, 1, out=correlation)


def _sign_estimates(block: np.ndarray, targets: _Targets, factor: float) -> Floats:
    with np.errstate(over="ignore", invalid="ignore"):
        # The weights sum to 0, so the shift changes nothing but rounding: a constant
        # column gives exactly 0, and digits survive in columns far from 0.
        shifted = block - block.min(axis=1, keepdims=True).astype(np.float64)
        values = times_one_by_one(targets.weights, shifted.T) * factor
        wide = ~np.isfinite(values).all(axis=0)
        if wide.any():
            # Sums on the way may be beyond float64 where the estimate is not.
            smaller = np.ldexp(block[wide].astype(np.float64), -_WIDE_EXPONENT)
            values[:, wide] = np.ldexp(_sign_estimates(smaller, targets, factor), _WIDE_EXPONENT)
    return values


def _concordance(centred: NDArray[np.signedinteger], targets: _Targets) -> Floats:
    """Concordant minus discordant pairs, (T, B), of texts (B, K) and T targets.

    Comparisons of small integers pair by pair, then a matrix product of signs for all
    targets at once: exact, and faster than counting inversions by sorting.
    """
    exact = targets.exact_type(targets.count**2)
    by_llm = np.ascontiguousarray(centred.T)
    errors_by_llm = np.ascontiguousarray(targets.centred.T)
    later, earlier = np.tril_indices(by_llm.shape[0], -1)
    pair_counts = targets.multiplicity[later] * targets.multiplicity[earlier]
    total = np.zeros((errors_by_llm.shape[1], by_llm.shape[1]))
    step = max(_PAIRS_AT_ONCE, _BLOCK_ENTRIES // by_llm.shape[1])
    for start in range(0, later.size, step):
        pairs = slice(start, start + step)
        g, k = later[pairs], earlier[pairs]
        text_signs = _signs(by_llm[g], by_llm[k]).astype(exact)
        error_signs = _signs(errors_by_llm[g], errors_by_llm[k]).T * pair_counts[pairs]
        total += times(error_signs.astype(exact), text_signs)
    return total


def _signs(a: np.ndarray, b: np.ndarray) -> NDArray[np.int8]:
    signs = np.greater(a, b).view(np.int8)
    signs -= np.less(a, b).view(np.int8)
    return signs


def _blocks(matrix: np.ndarray, rows: NDArray[np.intp] | None) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of texts as (first text, contiguous (B, N) array in float32 or float64)."""
    dtype = np.float32 if matrix.dtype == np.float32 else np.float64
    width = _block_texts(matrix.shape[0] if rows is None else rows.size)
    for start in range(0, matrix.shape[1], width):
        block = matrix[:, start : start + width]
        if rows is not None:
            block = block[rows]
        yield start, np.ascontiguousarray(block.T, dtype=dtype)


def _block_texts(llm_count: int) -> int:
    return max(16, _BLOCK_ENTRIES // llm_count)


def _known_estimators(estimators: Iterable[str]) -> tuple[str, ...]:
    names = tuple(dict.fromkeys([estimators] if isinstance(estimators, str) else estimators))
    unknown = [name for name in names if name not in ESTIMATORS]
    if unknown or not names:
        raise PcorrError(
            f"unknown estimator(s) {unknown}: choose from {', '.join(ESTIMATOR_NAMES)}"
        )
    return names


def _distinct_rows(
    rows: ArrayLike | None, llm_count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp] | None]:
    """The different rows, and how often each counts (None: all once)."""
    if rows is None:
        return np.arange(llm_count), None
    chosen = np.asarray(rows)
    if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
        raise PcorrError("rows must be a vector of row numbers")
    check_llm_count(chosen.size)
    if chosen.min() < 0 or chosen.max() >= llm_count:
        raise PcorrError(f"rows must be within 0 to {llm_count - 1}")
    distinct, counts = np.unique(chosen, return_counts=True)
    return distinct.astype(np.intp), counts if (counts > 1).any() else None


def _refuse_overflow(values: Floats, name: str) -> None:
    for start in range(0, values.shape[0], _BLOCK_ENTRIES):
        bad = ~np.isfinite(values[start : start + _BLOCK_ENTRIES]).all(axis=1)
        if bad.any():
            raise PcorrError(
                f"{name} of text {start + int(bad.argmax())} is beyond the largest float64: "
                "scale X or the errors down, or take an estimator of ranks"
            )
