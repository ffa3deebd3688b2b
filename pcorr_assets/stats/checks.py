"""Input checks that all of the statistics share.

Belongs here: turning array-likes into arrays, and the refusals (shape, type, NaN,
constant errors) with their words. Does not belong here: any computation.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.errors import PcorrError

Floats = NDArray[np.float64]

MINIMUM_LLMS = 3


def as_matrix(X: ArrayLike, *, for_estimates: bool = True) -> np.ndarray:
    """Return `X` as a real (N LLMs, D texts) array, a memory map unread and uncopied.

    Raises:
        PcorrError: not two-dimensional, no texts, not real numbers, or fewer than 3 LLMs
            where it is for estimates.
    """
    matrix = np.asarray(X)
    if matrix.ndim != 2:
        raise PcorrError(
            f"X has {matrix.ndim} dimension(s), expected 2: one row for each LLM, "
            "one column for each text"
        )
    _check_real(matrix, "X")
    if for_estimates:
        check_llm_count(matrix.shape[0])
    if matrix.shape[1] == 0:
        raise PcorrError("X has no texts (0 columns)")
    return matrix


def check_llm_count(llm_count: int) -> None:
    """Refuse fewer than 3 LLMs, for which no correlation means anything."""
    if llm_count < MINIMUM_LLMS:
        raise PcorrError(
            f"{llm_count} LLM(s) are too few for an estimate, at least {MINIMUM_LLMS} are "
            "needed: add LLMs that have both BPB and benchmark errors"
        )


def as_errors(Y: ArrayLike, llm_count: int, target_names: Sequence[str] | None = None) -> Floats:
    """Return benchmark errors, (N,) or (N, T), as float64 of shape (T, N).

    Raises:
        PcorrError: wrong shape, not real, or NaN/infinite entries.
    """
    errors = np.asarray(Y)
    if errors.ndim not in (1, 2):
        raise PcorrError(
            f"the errors have {errors.ndim} dimension(s), expected 1 (one target) or 2 "
            "(one column for each target)"
        )
    _check_real(errors, "the errors")
    if errors.shape[0] != llm_count:
        raise PcorrError(
            f"X has {llm_count} LLMs (rows), but the errors are of {errors.shape[0]} LLMs"
        )
    columns = errors.astype(np.float64).reshape(llm_count, -1).T
    if columns.shape[0] == 0:
        raise PcorrError("the errors have no targets (0 columns)")
    if target_names is not None and len(target_names) != columns.shape[0]:
        raise PcorrError(
            f"{len(target_names)} target name(s) are given for {columns.shape[0]} column(s) "
            "of errors"
        )
    finite = np.isfinite(columns)
    if not finite.all():
        target, llm = np.argwhere(~finite)[0]
        raise PcorrError(
            f"the errors have {_count_bad(columns)}; the first is of the LLM in row {llm}, "
            f"{_target_words(target, columns.shape[0], target_names)}: leave out LLMs "
            "without an error"
        )
    return np.ascontiguousarray(columns)


def refuse_constant_errors(errors: Floats, target_names: Sequence[str] | None = None) -> None:
    """Refuse errors (T, N) in which some target has the same error for every LLM."""
    constant = np.flatnonzero((errors == errors[:, :1]).all(axis=1))
    if constant.size:
        words = ", ".join(
            _target_words(int(target), errors.shape[0], target_names) for target in constant
        )
        raise PcorrError(
            f"the errors are the same for all {errors.shape[1]} LLMs ({words}), so nothing can "
            "correlate with them: take another benchmark or more different LLMs"
        )


def refuse_nonfinite_matrix(X: np.ndarray, rows: NDArray[np.intp], block_texts: int) -> None:
    """Raise the refusal of NaN and infinite entries of `X[rows]`, with number and place.

    Reads the matrix in blocks of `block_texts` columns. `rows` ascend; places are those in `X`.
    """
    nan_count = infinite_count = 0
    first: tuple[int, int] | None = None
    for start in range(0, X.shape[1], block_texts):
        block = X[:, start : start + block_texts][rows].astype(np.float64)
        bad = ~np.isfinite(block)
        if bad.any():
            nan_count += int(np.isnan(block).sum())
            infinite_count += int(np.isinf(block).sum())
            row, column = (int(index) for index in np.argwhere(bad)[0])
            place = (int(rows[row]), start + column)
            first = place if first is None else min(first, place)
    assert first is not None
    raise PcorrError(
        f"X has {nan_count} NaN and {infinite_count} infinite entries; the first is in row "
        f"{first[0]} (LLM), column {first[1]} (text): mask such texts or LLMs first"
    )


def as_vector(values: ArrayLike, name: str) -> Floats:
    """Return `values` as a finite, non-empty float64 vector, or raise a PcorrError."""
    vector = np.asarray(values)
    if vector.ndim != 1:
        raise PcorrError(f"{name} has {vector.ndim} dimension(s), expected 1")
    _check_real(vector, name)
    if vector.size == 0:
        raise PcorrError(f"{name} is empty")
    vector = vector.astype(np.float64)
    bad = ~np.isfinite(vector)
    if bad.any():
        raise PcorrError(
            f"{name} has {_count_bad(vector)}; the first is at position {int(bad.argmax())}"
        )
    return vector


def _check_real(array: np.ndarray, name: str) -> None:
    if array.dtype.kind not in "fiub":
        raise PcorrError(f"{name} holds {array.dtype}, expected real numbers")


def _count_bad(values: Floats) -> str:
    nan_count = int(np.isnan(values).sum())
    infinite_count = int(np.isinf(values).sum())
    return f"{nan_count} NaN and {infinite_count} infinite entries"


def _target_words(target: int, target_count: int, target_names: Sequence[str] | None) -> str:
    if target_names is not None:
        return f"target {target_names[target]}"
    return f"target column {target} of {target_count}"
