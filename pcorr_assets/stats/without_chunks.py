"""An estimate without some of the chunks that units are made of, beside that of all.

Belongs here: BPB of units from what is left of them, the estimate from that, and how much of
ranking and selection stays. Does not belong here: which chunks are left out, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import rank_correlation
from pcorr_assets.stats.sensitivity import overlap


@dataclass(frozen=True)
class UnitChunks:
    """All chunks of the units that lose some.

    Attributes:
        units: (U,) which of the D units these are.
        bpb: (N, C) bits-per-byte of each LLM on their chunks.
        byte_count: (C,) UTF-8 bytes of each.
        unit: (C,) position among the U units that each belongs to.
        is_left_out: (C,) flags.
    """

    units: NDArray[np.intp]
    bpb: Floats
    byte_count: NDArray[np.int64]
    unit: NDArray[np.intp]
    is_left_out: NDArray[np.bool_]


@dataclass(frozen=True)
class Beside:
    """What leaving chunks out comes to.

    Attributes:
        estimate: (D,) from the chunks that are left; NaN for units without any.
        included, clean_included: (D,) what the linear projections of both estimates select.
        rank_correlation: Spearman's, over units that have both; None for fewer than two.
        overlap: share of the selection's tokens that the other selects as well.
    """

    estimate: Floats
    included: NDArray[np.bool_]
    clean_included: NDArray[np.bool_]
    rank_correlation: float | None
    overlap: float


def bpb_of_rest(chunks: UnitChunks) -> Floats:
    """(N, U) BPB of the units from the chunks that are left; NaN where none is.

    BPB = sum(byte_count_i * BPB_i) / sum(byte_count_i) over these chunks, which is the
    token-weighted mean loss per byte that the matrix has.
    """
    left = ~chunks.is_left_out
    unit, size = chunks.unit[left], chunks.byte_count[left].astype(np.float64)
    total = np.bincount(unit, size, minlength=chunks.units.size)
    found = np.full((chunks.bpb.shape[0], chunks.units.size), np.nan)
    for row, bpb in zip(found, chunks.bpb, strict=True):
        bits = np.bincount(unit, size * bpb[left], minlength=total.size)
        np.divide(bits, total, out=row, where=total > 0)
    return found


def estimate_beside(
    estimate: Floats, chunks: UnitChunks, errors: Floats, tau: Floats, estimator: str
) -> Beside:
    """The estimate without chunks that are left out, and what of ranking and selection stays.

    An estimate looks at one unit at a time, so that those that lose nothing keep theirs. A unit
    without a chunk left comes last in the selection. The caps stay as they are.

    Args:
        estimate: (D,) from all chunks, by the same estimator.
        chunks: all chunks of the units that lose some.
        errors: (N,) benchmark errors.
        tau: (D,) caps.
        estimator: one of `estimation.ESTIMATOR_NAMES`.

    Raises:
        PcorrError: as `estimation.estimate_all`.
    """
    clean = np.array(estimate, np.float64)
    bpb = bpb_of_rest(chunks)
    has_rest = np.isfinite(bpb).all(axis=0)
    clean[chunks.units[~has_rest]] = np.nan
    if has_rest.any():
        found = estimate_all(bpb[:, has_rest], errors, (estimator,))
        clean[chunks.units[has_rest]] = found[estimator]
    known = ~np.isnan(clean)
    lowest = float(clean[known].min()) - 1 if known.any() else 0.0
    weights, other = linear(estimate, tau), linear(np.where(known, clean, lowest), tau)
    return Beside(
        estimate=clean,
        included=weights > 0,
        clean_included=other > 0,
        rank_correlation=rank_correlation(estimate[known], clean[known])
        if known.sum() > 1
        else None,
        overlap=overlap(weights, other),
    )
