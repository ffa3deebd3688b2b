"""The NaN mask: which LLMs and which chunks the matrix is made of.

Belongs here: the one rule for undefined losses, applied once and for all LLMs alike,
so that a unit means the same texts for every LLM. Does not belong here: reading the
losses, and other reasons to leave an LLM out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.wording import count, name_some

MAX_LOST_SHARE = 0.2


@dataclass(frozen=True)
class NanMask:
    """What is left of N LLMs and D chunks.

    `keeps_llm` (N,) and `keeps_chunk` (D,) are flags, `nan_counts` (N,) counts the NaN
    of each LLM over all D chunks, and `reasons` says why an LLM leaves.
    """

    keeps_llm: np.ndarray
    keeps_chunk: np.ndarray
    nan_counts: np.ndarray
    reasons: dict[str, str]


def nan_mask(
    is_nan: Iterable[np.ndarray],
    llms: Sequence[str],
    max_nan_fraction: float,
    *,
    thing: str = "chunk",
) -> NanMask:
    """Apply the mask to the flags of N LLMs, given one row (D,) at a time.

    First the LLMs whose share of NaN over all chunks is above `max_nan_fraction`
    leave; then every chunk that is NaN for any LLM that stays leaves for all of them.
    An iterator is read once, and one row is held at a time. `thing` is the word for a
    chunk in messages (an import has pages or domains in their place). Raises PcorrError
    if no LLM or no chunk is left.
    """
    keeps_llm = np.zeros(len(llms), dtype=bool)
    nan_counts = np.zeros(len(llms), dtype=np.int64)
    lost: np.ndarray | None = None
    reasons: dict[str, str] = {}
    for index, (llm, row) in enumerate(zip(llms, is_nan, strict=True)):
        nan_counts[index] = np.count_nonzero(row)
        lost = np.zeros(row.shape, dtype=bool) if lost is None else lost
        # A row alone decides whether its LLM stays, so the order of the rule holds
        # although the rows are seen one by one.
        # Divided, not multiplied: 29 of 100 is not above 0.29, but 29 > 0.29 * 100.
        if row.size and nan_counts[index] / row.size > max_nan_fraction:
            reasons[llm] = (
                f"{nan_counts[index]:,} of {count(row.size, thing)} are NaN, "
                f"more than max_nan_fraction = {max_nan_fraction:g} allows"
            )
        else:
            keeps_llm[index] = True
            lost |= row
    if lost is None or not keeps_llm.any():
        raise PcorrError(
            f"No LLM is left: each of {len(llms)} has more NaN than max_nan_fraction = "
            f"{max_nan_fraction:g} allows ({name_some(llms)}). Raise selection.max_nan_fraction, "
            "or find out why the losses are NaN (a dtype that overflows, chunks longer than the "
            "context with overlong: nan)"
        )
    if lost.all():
        raise PcorrError(
            f"No {thing} is left: each of {count(lost.size, thing)} is NaN for one of the "
            f"{count(int(keeps_llm.sum()), 'LLM')} that stay. Lower selection.max_nan_fraction, "
            "so that the LLMs with the most NaN leave, or remove them from the config"
        )
    return NanMask(keeps_llm, ~lost, nan_counts, reasons)


def lost_too_much(surviving_bytes: np.ndarray, total_bytes: np.ndarray) -> np.ndarray:
    """Flags of the units that lost more than 20 % of their bytes to the mask."""
    return (total_bytes - surviving_bytes) / total_bytes > MAX_LOST_SHARE
