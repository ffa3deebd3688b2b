"""The order of the work: which texts go through the model together.

Belongs here: cutting chunks into units that fit the context, and units into batches, as
a function of nothing but lengths and budget. Does not belong here: running anything.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BatchPlan:
    """Units to score and their batches.

    A unit is a piece of one chunk that the model reads by itself: `chunk` (its chunk),
    `start` and `length` (in tokens of the chunk), all int64 with one entry a unit, in
    the order of scoring: longest first, so that too large a budget shows at once.
    Batch b is the units `bounds[b]:bounds[b + 1]`.
    """

    chunk: np.ndarray
    start: np.ndarray
    length: np.ndarray
    bounds: np.ndarray

    @property
    def batch_count(self) -> int:
        return len(self.bounds) - 1

    @property
    def predicted_count(self) -> int:
        """Tokens that get a loss: all but the first of each unit."""
        return int((self.length - 1).sum())

    @property
    def padding_share(self) -> float:
        """The share of all positions of the batches that is padding (0 without batches)."""
        padded = int((np.diff(self.bounds) * self.length[self.bounds[:-1]]).sum())
        return 1 - int(self.length.sum()) / padded if padded else 0.0

    def units(self, batch: int) -> slice:
        """The units of one batch."""
        return slice(int(self.bounds[batch]), int(self.bounds[batch + 1]))

    def sha256(self) -> str:
        """Hash of the whole plan; equal plans score in the same batches."""
        digest = hashlib.sha256()
        for part in (self.chunk, self.start, self.length, self.bounds):
            digest.update(np.ascontiguousarray(part, dtype=np.int64).tobytes())
            digest.update(b"|")
        return digest.hexdigest()


def plan_batches(
    token_count: np.ndarray,
    scored: np.ndarray,
    batch_tokens: int,
    context: int | None = None,
    first: np.ndarray | None = None,
) -> BatchPlan:
    """Plan the scoring of the chunks marked in `scored`.

    Chunks marked in `first` have batches of their own, before those of the others: the batches
    that they would have if there were no others.

    Chunks longer than `context` are cut into windows of it that do not overlap. Units of
    one token predict nothing and are left out. A batch holds as many units as fit
    `batch_tokens` after padding to its longest, at least one.
    """
    if first is not None:
        parts = [
            plan_batches(token_count, scored & which, batch_tokens, context)
            for which in (first, ~first)
        ]
        return _joined(*parts)
    chunks = np.flatnonzero(scored)
    lengths = token_count[chunks]
    window = int(context or max(1, int(lengths.max(initial=1))))
    pieces = -(-lengths // window)
    chunk = np.repeat(chunks, pieces)
    first = np.cumsum(pieces) - pieces
    start = (np.arange(len(chunk)) - np.repeat(first, pieces)) * window
    length = np.minimum(token_count[chunk] - start, window)
    order = np.lexsort((start, chunk, -length))
    order = order[length[order] > 1]
    length = length[order].astype(np.int64)
    return BatchPlan(
        chunk[order].astype(np.int64),
        start[order].astype(np.int64),
        length,
        _bounds(length, batch_tokens),
    )


def _joined(one: BatchPlan, other: BatchPlan) -> BatchPlan:
    return BatchPlan(
        np.concatenate([one.chunk, other.chunk]),
        np.concatenate([one.start, other.start]),
        np.concatenate([one.length, other.length]),
        np.concatenate([one.bounds, one.bounds[-1] + other.bounds[1:]]),
    )


def _bounds(length: np.ndarray, batch_tokens: int) -> np.ndarray:
    bounds = [0]
    while bounds[-1] < len(length):
        longest = int(length[bounds[-1]])
        bounds.append(min(len(length), bounds[-1] + max(1, batch_tokens // longest)))
    return np.asarray(bounds, dtype=np.int64)
