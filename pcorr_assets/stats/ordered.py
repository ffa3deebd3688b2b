"""Spearman's correlations on many parts of the LLMs, from one sorting of the texts.

Belongs here: the order of the LLMs on each text, and what follows from it for any rows.
Does not belong here: which rows those are (`groups`), and other estimators (`estimation`).

Removing LLMs does not change the order of the others, so nothing is sorted again: along
the order of a text, the rank of an LLM within a part is how many of the part were passed.
All sums are of integers, hence exact: the results are those of `estimation.spearmanr`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Rows
from pcorr_assets.stats.ranks import centred_ranks

_BLOCK_ENTRIES = 2**20
# What is worked on stays in the cache of a core.
_PARTS_ENTRIES = 2**16
_CORRELATION_ENTRIES = 2**21
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
            parts: rows of each part, a repeated row counting repeatedly.
        """
        result = np.empty((len(parts), self.order.shape[1]))
        for texts, found in self._blocks(errors, parts):
            result[:, texts] = found.T
        return result

    def one_by_one(self, errors: Floats, parts: Sequence[Rows]) -> Iterator[Floats]:
        """The same (D,) for one part after the other, never many at once where D is large."""
        step = max(1, _CORRELATION_ENTRIES // self.order.shape[1])
        for start in range(0, len(parts), step):
            yield from self.correlations(errors, parts[start : start + step])

    def weighted_sums(self, errors: Floats, parts: Sequence[Rows], weights: Floats) -> Floats:
        """(B, K) the correlations on each part times weights (D, K), summed over the texts."""
        total = np.zeros((len(parts), weights.shape[1]))
        for texts, found in self._blocks(errors, parts):
            total += found.T @ weights[texts]
        return total

    def _blocks(self, errors: Floats, parts: Sequence[Rows]) -> Iterator[tuple[slice, Floats]]:
        """Correlations (n, B) of n texts at a time."""
        divided = _Parts(self.order.shape[0], errors, parts, self.rows)
        step = max(64, _PARTS_ENTRIES // len(parts))
        for start in range(0, self.order.shape[1], step):
            texts = slice(start, start + step)
            found = divided.of_ordered(self.order[:, texts])
            first, last = np.searchsorted(self.tied, [start, start + step])
            for text in self.tied[first:last]:
                found[text - start] = divided.of_tied(self.X[:, text])
            yield texts, np.clip(found, -1, 1, out=found)


class _Parts:
    """B parts of the LLMs, and the correlations of some texts on each of them.

    Arrays (N, B) say of each LLM of the matrix how often it is in a part (`member`), and the
    centred rank of its error there, times as often (`score`). All are integers.
    """

    def __init__(self, count: int, errors: Floats, parts: Sequence[Rows], rows: Rows) -> None:
        largest = max(part.size for part in parts)
        exact = np.float32 if largest**3 < _EXACT_IN_FLOAT32 else np.float64
        self.member = np.zeros((count, len(parts)), dtype=exact)
        self.score = np.zeros_like(self.member)
        self.doubled = np.empty(len(parts), dtype=exact)
        # Sums of squares of the centred ranks of the errors, and of a text without ties.
        self.squares, self.untied = np.empty(len(parts)), np.empty(len(parts))
        for number, part in enumerate(parts):
            distinct, counts = np.unique(part, return_counts=True)
            centred = centred_ranks(errors[np.newaxis, distinct], counts)[0].astype(np.float64)
            self.member[rows[distinct], number] = counts
            self.score[rows[distinct], number] = counts * centred
            self.doubled[number] = counts @ (counts * centred)
            self.squares[number] = counts @ centred**2
            self.untied[number] = (part.size**3 - (counts**3).sum()) // 3

    def of_ordered(self, order: np.ndarray) -> Floats:
        """(n, B) of texts known by the order (N, n) of the LLMs.

        The centred rank of an LLM that counts m times is twice what was passed, with it, less
        m and the size of the part; the scores of a part sum to 0.
        """
        passed = np.zeros((order.shape[1], self.member.shape[1]), dtype=self.member.dtype)
        inner = np.zeros_like(passed)
        taken = np.empty_like(passed)
        for row in order.astype(np.intp):
            # "clip" does not copy `out`; no row is beyond the matrix.
            np.take(self.member, row, axis=0, out=taken, mode="clip")
            passed += taken
            np.take(self.score, row, axis=0, out=taken, mode="clip")
            taken *= passed
            inner += taken
        inner *= 2
        inner -= self.doubled
        return np.divide(inner, np.sqrt(self.squares * self.untied), dtype=np.float64)

    def of_tied(self, text: np.ndarray) -> Floats:
        """(B,) of one text (N,), by the signs of all pairs of LLMs; 0 where it is constant."""
        above = (text[:, np.newaxis] > text).view(np.int8)
        centred = (above - above.T).astype(self.member.dtype) @ self.member
        inner = np.einsum("nb,nb->b", self.score, centred).astype(np.float64)
        squares = np.einsum("nb,nb,nb->b", self.member, centred, centred).astype(np.float64)
        scale = np.sqrt(self.squares * squares)
        return np.divide(inner, scale, out=np.zeros_like(inner), where=scale > 0)


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
