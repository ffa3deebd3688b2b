"""Spearman's correlations on many parts of the LLMs, from one sorting of the texts.

Belongs here: the order of the LLMs on each text, and what follows from it for any rows.
Does not belong here: which rows those are (`groups`), and other estimators (`estimation`).

Removing LLMs does not change the order of the others, so nothing is sorted again: along
the order of a text, the rank of an LLM within a part is how many of the part were passed.
All sums are of integers, hence exact: the results are those of `estimation.spearmanr`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.estimation import spearmanr
from pcorr_assets.stats.groups import Rows
from pcorr_assets.stats.ranks import centred_ranks

_BLOCK_ENTRIES = 2**20
# What is worked on stays in the cache of a core.
_PARTS_ENTRIES = 2**17
_EXACT_IN_FLOAT32 = 2**24


@dataclass(frozen=True)
class OrderedTexts:
    """The LLMs of a matrix in the order of their BPB, text by text; made by `order_texts`.

    Attributes:
        X: (N, D) the matrix.
        order: (N, D) the row of the lowest BPB of each text, of the next, and so on.
        tied: texts on which two LLMs have the same BPB, which order alone does not rank.
        rows: (M,) rows of X that callers know by their place in this vector.
    """

    X: np.ndarray
    order: np.ndarray
    tied: np.ndarray
    rows: Rows

    def part(self, rows: Rows) -> OrderedTexts:
        """The same texts for a part of the LLMs, known from now on by their place in `rows`."""
        return replace(self, rows=self.rows[rows])

    def correlations(self, errors: Floats, parts: Sequence[Rows]) -> Floats:
        """(B, D) Spearman's correlation with errors (M,) on each of B parts.

        Args:
            errors: of the LLMs, in the order of `rows`; not all equal on a part.
            parts: rows of each part, each row once.
        """
        count = self.order.shape[0]
        exact = np.float32 if count**3 < _EXACT_IN_FLOAT32 else np.float64
        member = np.zeros((count, len(parts)), dtype=exact)
        score = np.zeros_like(member)
        norms = np.empty(len(parts))
        for number, part in enumerate(parts):
            centred = centred_ranks(errors[np.newaxis, part])[0].astype(np.float64)
            own = self.rows[part]
            member[own, number] = 1
            score[own, number] = centred
            norms[number] = (centred @ centred) * (part.size * (part.size**2 - 1) // 3)
        result = np.empty((len(parts), self.order.shape[1]))
        step = max(64, _PARTS_ENTRIES // len(parts))
        for start in range(0, self.order.shape[1], step):
            block = self.order[:, start : start + step]
            result[:, start : start + step] = _inner(block, member, score).T
        result *= 2
        result /= np.sqrt(norms)[:, np.newaxis]
        np.clip(result, -1, 1, out=result)
        for number, part in enumerate(parts):
            if self.tied.size:
                some = self.X[np.ix_(self.rows[part], self.tied)]
                result[number, self.tied] = spearmanr(some, errors[part])
        return result


def order_texts(X: np.ndarray) -> OrderedTexts:
    """Sort the LLMs of X (N, D), finite, on each text.

    Memory beyond X: N times D of the smallest integer type that holds N.
    """
    count, text_count = X.shape
    dtype = np.int8 if count <= np.iinfo(np.int8).max else np.int16
    order = np.empty(X.shape, dtype=dtype if count <= np.iinfo(np.int16).max else np.int32)
    tied = np.empty(text_count, dtype=bool)
    step = max(1, _BLOCK_ENTRIES // count)
    for start in range(0, text_count, step):
        block = np.ascontiguousarray(X[:, start : start + step].T)
        places = np.argsort(block, axis=1)
        ordered = np.take_along_axis(block, places, axis=1)
        tied[start : start + step] = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
        order[:, start : start + step] = places.T
    return OrderedTexts(X, order, np.flatnonzero(tied), np.arange(count))


def _inner(order: np.ndarray, member: np.ndarray, score: np.ndarray) -> np.ndarray:
    """(n, B) sums over the LLMs of a part: error score times rank, for n texts."""
    passed = np.zeros((order.shape[1], member.shape[1]), dtype=member.dtype)
    total = np.zeros_like(passed)
    for row in order:
        passed += member[row]
        total += score[row] * passed
    return total
