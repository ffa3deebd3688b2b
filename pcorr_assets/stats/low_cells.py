"""Cells of a matrix that are far lower than their LLM and their text explain, and such errors.

Belongs here: the two-way residual, what counts as far, an estimate without such cells, and
LLMs whose errors are far lower than their losses explain.
Does not belong here: what they mean (a text that an LLM was trained on, or one in its own
language) and where they are shown.

Contamination makes a loss lower, never higher. So the *upper* half of the residuals tells
what chance does, and the lower half is held against it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import Floats, as_matrix
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.ranks import centred_ranks

FALSE_DISCOVERY_RATE = 0.05
MIN_LLMS = 8
MIN_TEXTS = 20
# Errors are too good at so many robust standard deviations, and so many times the other side's.
LEAST_DEVIATION, OTHER_SIDE = 5.0, 1.5

# Makes the median absolute deviation of a Gaussian its standard deviation.
_GAUSSIAN = 1.4826
# BPB of 0, of a text known by heart, has no logarithm.
_LEAST_BPB = 1e-6
# Differences below 1 % of a BPB are nobody's contamination, however alike the LLMs are.
_LEAST_SPREAD = 0.01
_POLISHES = 3
# The tail that is extrapolated: this share of all cells, within these numbers of cells.
_TAIL_SHARE, _TAIL_CELLS = 0.05, (50, 400)
_BLOCK_ENTRIES = 2**21


@dataclass(frozen=True)
class LowCells:
    """Cells (row, column) of a matrix that are lower than chance explains, lowest first.

    Attributes:
        rows, columns: (K,) the LLM and the text of each.
        expected: (K,) the BPB that LLM and text explain, in bits per byte.
        deviation: (K,) how far below, in robust standard deviations; negative.
        reason: why nothing could be said; None if it could.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    expected: Floats
    deviation: Floats
    reason: str | None = None


def find_low_cells(X: ArrayLike, *, rate: float = FALSE_DISCOVERY_RATE) -> LowCells:
    """The cells whose BPB is unexpectedly low, with a false-discovery rate.

    log BPB is fitted by LLM plus text with Tukey's median polish. The residual is divided by
    the robust spread of its text times that of its LLM over the median LLM's. p-values of low
    cells come from the high ones, mirrored: to the outermost 5 % of these (50 to 400 cells) a
    generalised Pareto distribution is fitted by probability-weighted moments (Hosking and
    Wallis 1987), its shape raised by one standard error and never below 0; then Benjamini
    and Hochberg's rule (1995) chooses.

    Args:
        X: (N, D) finite BPB; may be a memory map, float32 or float64.
        rate: the share of false cells among those found that is accepted. It holds for
            residuals as likely to be high as low; skewed ones give up to three times as many.

    Returns:
        The cells, or none and a reason for fewer than 8 LLMs or 20 texts.

    Raises:
        PcorrError: X is no matrix of numbers, or `rate` is not between 0 and 1.
    """
    matrix = as_matrix(X, for_estimates=False)
    if not 0 < rate < 1:
        raise PcorrError(f"a false-discovery rate lies between 0 and 1, not at {rate}")
    llm_count, text_count = matrix.shape
    if llm_count < MIN_LLMS or text_count < MIN_TEXTS:
        return _none(
            f"{llm_count} LLMs on {text_count} texts are too few: {MIN_LLMS} on {MIN_TEXTS} "
            "are needed to tell what is unexpected"
        )
    residual, ability, text = _polish(matrix)
    _standardise(residual)
    high = _tail(residual)
    if high is None:
        return _none("the LLMs differ by ability and text alone, so nothing stands out")
    rows, columns = np.nonzero(residual < -high.start)
    deviation = residual[rows, columns].astype(np.float64)
    chosen = _step_up(high.p_values(-deviation), residual.size, rate)
    order = chosen[np.argsort(deviation[chosen], kind="stable")]
    rows, columns = rows[order], columns[order]
    return LowCells(rows, columns, np.exp(ability[rows] + text[columns]), deviation[order])


def estimate_without(X: ArrayLike, errors: ArrayLike, cells: LowCells, estimator: str) -> Floats:
    """The estimate (D,), each text over the LLMs whose cell was not found low.

    Arguments and refusals as in `estimation.estimate_all`. A text that keeps fewer than 3
    LLMs, or LLMs of equal error, is NaN.
    """
    matrix, y = as_matrix(X), np.asarray(errors, dtype=np.float64)
    result = estimate_all(matrix, y, (estimator,))[estimator]
    for columns, rows in _by_rows_kept(cells, matrix.shape[0]):
        if rows.size < 3 or np.ptp(y[rows]) == 0:
            result[columns] = np.nan
        else:
            result[columns] = estimate_all(matrix[:, columns], y, (estimator,), rows=rows)[
                estimator
            ]
    return result


def residual_errors(mean_bpb: ArrayLike, errors: ArrayLike) -> Floats:
    """How far each error is from what mean BPB explains, in robust standard deviations (N,).

    Both are replaced by their ranks, the errors' regressed on those of mean BPB by the median of
    the slopes of all pairs (Theil and Sen), and the residuals divided by 1.4826 times their
    median absolute deviation. Negative: the LLM does better on the benchmarks than its losses
    say. 0 for all where more than half of the errors are explained exactly.
    """
    bpb, error = (
        centred_ranks(np.asarray(values, dtype=np.float64)[np.newaxis])[0].astype(np.float64)
        for values in (mean_bpb, errors)
    )
    later, earlier = np.tril_indices(bpb.size, -1)
    run, rise = bpb[later] - bpb[earlier], error[later] - error[earlier]
    slope = float(np.median(rise[run != 0] / run[run != 0])) if run.any() else 0.0
    off = error - slope * bpb
    off -= np.median(off)
    spread = _GAUSSIAN * float(np.median(np.abs(off)))
    return off / spread if spread else np.zeros_like(off)


@dataclass(frozen=True)
class LowErrors:
    """LLMs whose errors are lower than mean BPB and chance explain, lowest first.

    Attributes:
        rows: (K,) the LLMs.
        deviation: (K,) how far below, in robust standard deviations; negative.
        allowed: how far below chance alone may bring an LLM.
        reason: why nothing could be said; None if it could.
    """

    rows: NDArray[np.intp]
    deviation: Floats
    allowed: float
    reason: str | None = None


def find_low_errors(mean_bpb: ArrayLike, errors: ArrayLike) -> LowErrors:
    """LLMs that do far better on the benchmarks than their losses say.

    Found are LLMs at least 5 robust standard deviations below what mean BPB explains, and 1.5
    times as far as the worst LLM is above it: having seen a benchmark makes errors lower,
    never higher, so the other side says what chance does. In the worlds of docs/studies.md it
    names an LLM in at most 4 % of the worlds of any kind, where none has seen anything.

    Args:
        mean_bpb: (N,) mean BPB over all texts, in bits per byte.
        errors: (N,) benchmark errors.

    Returns:
        The LLMs, or none and a reason for fewer than 8 LLMs.
    """
    off = residual_errors(mean_bpb, errors)
    if off.size < MIN_LLMS:
        nobody = np.empty(0, dtype=np.intp)
        reason = f"{off.size} LLMs are too few to tell whose errors are unexpected"
        return LowErrors(nobody, np.empty(0), LEAST_DEVIATION, reason)
    allowed = max(LEAST_DEVIATION, OTHER_SIDE * float(off.max()))
    rows = np.flatnonzero(off < -allowed)
    rows = rows[np.argsort(off[rows], kind="stable")]
    return LowErrors(rows, off[rows], allowed)


@dataclass(frozen=True)
class _Tail:
    """Cells above `start` are a share `share` of all; excesses are generalised Pareto."""

    start: float
    share: float
    shape: float
    scale: float

    def p_values(self, deviation: Floats) -> Floats:
        excess = (deviation - self.start) / self.scale
        if self.shape < 1e-6:
            return self.share * np.exp(-excess)
        return self.share * (1 + self.shape * excess) ** (-1 / self.shape)


def _polish(matrix: np.ndarray) -> tuple[NDArray[np.float32], Floats, Floats]:
    """Residuals (N, D) of log BPB after LLM (N,) and text (D,), in float32."""
    residual = np.empty(matrix.shape, dtype=np.float32)
    for part in _column_blocks(matrix.shape):
        residual[:, part] = np.log(np.maximum(matrix[:, part], _LEAST_BPB))
    ability, text = np.zeros(matrix.shape[0]), np.zeros(matrix.shape[1])
    for _ in range(_POLISHES):
        for part in _column_blocks(matrix.shape):
            step = np.median(residual[:, part], axis=0)
            residual[:, part] -= step
            text[part] += step
        for row in range(matrix.shape[0]):
            step = np.median(residual[row])
            residual[row] -= step
            ability[row] += step
    return residual, ability, text


def _standardise(residual: NDArray[np.float32]) -> None:
    """Divide the residuals by their spread, in place."""
    of_text = np.empty(residual.shape[1])
    for part in _column_blocks(residual.shape):
        of_text[part] = _GAUSSIAN * np.median(np.abs(residual[:, part]), axis=0)
    of_llm = np.array([_GAUSSIAN * np.median(np.abs(row)) for row in residual])
    typical = max(float(np.median(of_llm)), _LEAST_SPREAD)
    for row, spread in zip(residual, of_llm / typical, strict=True):
        row /= np.maximum(of_text * spread, _LEAST_SPREAD)


def _tail(deviation: NDArray[np.float32]) -> _Tail | None:
    """The upper tail of all deviations; None where there is none to speak of."""
    high = deviation[deviation > 0].astype(np.float64)
    size = min(int(np.clip(_TAIL_SHARE * deviation.size, *_TAIL_CELLS)), high.size // 2)
    if size < _TAIL_CELLS[0] // 2:
        return None
    top = np.sort(np.partition(high, high.size - size - 1)[-size - 1 :])
    excess = top[1:] - top[0]
    first = float(excess.mean())
    second = float((excess * np.arange(size - 1, -1, -1)).mean()) / (size - 1)
    if not first > 2 * second > 0:
        return None
    shape = 2 - first / (first - 2 * second)
    scale = 2 * first * second / (first - 2 * second)
    shape = max(0.0, shape + abs(1 - shape) / size**0.5)
    return _Tail(float(top[0]), size / deviation.size, shape, scale)


def _step_up(p_values: Floats, cell_count: int, rate: float) -> NDArray[np.intp]:
    """Positions chosen by Benjamini and Hochberg out of `cell_count` cells; the rest have p = 1."""
    order = np.argsort(p_values, kind="stable")
    passed = p_values[order] <= rate * np.arange(1, order.size + 1) / cell_count
    return order[: np.flatnonzero(passed)[-1] + 1] if passed.any() else order[:0]


def _by_rows_kept(
    cells: LowCells, llm_count: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """(texts, LLMs kept), for texts that lose the same LLMs."""
    lost: dict[int, list[int]] = {}
    for row, column in zip(cells.rows.tolist(), cells.columns.tolist(), strict=True):
        lost.setdefault(column, []).append(row)
    texts: dict[tuple[int, ...], list[int]] = {}
    for column, gone in lost.items():
        texts.setdefault(tuple(sorted(gone)), []).append(column)
    for gone, columns in texts.items():
        yield np.array(columns), np.setdiff1d(np.arange(llm_count), gone)


def _column_blocks(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _BLOCK_ENTRIES // shape[0])
    for start in range(0, shape[1], step):
        yield slice(start, start + step)


def _none(reason: str) -> LowCells:
    nothing = np.empty(0, dtype=np.intp)
    return LowCells(nothing, nothing, np.empty(0), np.empty(0), reason)
