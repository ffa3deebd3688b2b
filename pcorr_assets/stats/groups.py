"""Which LLMs are independent of each other, and resamples of them.

Belongs here: groups of LLMs, and random draws of whole groups. Does not belong here:
what is computed on a draw.

LLMs of one family share data and recipes, so they are kept together: held out
together, drawn together. Everything random works on an order made from the LLM keys,
so that no result depends on the order of the rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.checks import MINIMUM_LLMS, Floats

_DRAWS_BEFORE_GIVING_UP = 1000

Rows = NDArray[np.intp]


@dataclass(frozen=True)
class Groups:
    """A partition of N LLMs (rows of a matrix).

    Attributes:
        names: for each group the names of its families, joined by `+`.
        members: for each group its rows, in the order of their keys.
        identities: for each row a number; equal numbers are one LLM listed twice.
    """

    names: tuple[str, ...]
    members: tuple[Rows, ...]
    identities: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.members)

    @property
    def labels(self) -> NDArray[np.intp]:
        """(N,) number of the group of each row."""
        labels = np.empty(self.identities.size, dtype=np.intp)
        for number, rows in enumerate(self.members):
            labels[rows] = number
        return labels

    def rows_of(self, numbers: Sequence[int] | NDArray[np.intp]) -> Rows:
        """The rows of the groups with these numbers; a repeated group repeats its rows."""
        return np.concatenate([self.members[number] for number in numbers])

    def distinct_llm_count(self, rows: Rows) -> int:
        """How many different LLMs there are among `rows`."""
        return np.unique(self.identities[rows]).size


def group_llms(
    llms: Sequence[str],
    families: Sequence[str],
    identities: Sequence[Hashable] | None = None,
    X: ArrayLike | None = None,
) -> Groups:
    """Families, merged where they share an LLM or an identical row of BPB.

    Args:
        llms: (N,) keys, each once.
        families: (N,) family of each LLM.
        identities: (N,) what makes two rows the same LLM: (name, revision); by default
            the keys.
        X: (N, D) BPB, to find identical rows under different names; skipped if None.

    Raises:
        PcorrError: lengths differ, or a key stands twice.
    """
    count = len(llms)
    identity_list: Sequence[Hashable] = llms if identities is None else identities
    matrix = None if X is None else np.asarray(X)
    if len(families) != count or len(identity_list) != count:
        raise PcorrError(
            f"{count} LLMs, but {len(families)} families and {len(identity_list)} identities"
        )
    if matrix is not None and matrix.shape[0] != count:
        raise PcorrError(f"{count} LLMs, but X has {matrix.shape[0]} rows")
    if len(set(llms)) != count:
        twice = sorted({llm for llm in llms if list(llms).count(llm) > 1})
        raise PcorrError(f"LLM key(s) listed twice: {', '.join(twice)}")
    parents = list(range(count))
    _join_equal(parents, families)
    _join_equal(parents, identity_list)
    if matrix is not None:
        _join_equal(parents, [_digest(row) for row in matrix])
    by_root: dict[int, list[int]] = {}
    for row in sorted(range(count), key=lambda row: llms[row]):
        by_root.setdefault(_root(parents, row), []).append(row)
    numbers: dict[Hashable, int] = {}
    return Groups(
        names=tuple("+".join(sorted({families[row] for row in rows})) for rows in by_root.values()),
        members=tuple(np.array(rows, dtype=np.intp) for rows in by_root.values()),
        identities=np.array(
            [numbers.setdefault(identity, len(numbers)) for identity in identity_list],
            dtype=np.intp,
        ),
    )


def usable(groups: Groups, errors: Floats, rows: Rows) -> bool:
    """Whether an estimate can be made on `rows`: 3 different LLMs, errors not all equal."""
    drawn = errors[rows]
    return groups.distinct_llm_count(rows) >= MINIMUM_LLMS and bool((drawn != drawn[0]).any())


def draw_resample(groups: Groups, errors: Floats, rng: np.random.Generator) -> tuple[Rows, int]:
    """Rows of as many groups as there are, drawn with replacement, and redraws needed.

    Draws with fewer than 3 different LLMs or with equal errors are drawn again.

    Raises:
        PcorrError: 1000 draws in a row were of that kind.
    """
    for redrawn in range(_DRAWS_BEFORE_GIVING_UP):
        rows = groups.rows_of(rng.integers(len(groups), size=len(groups)))
        if usable(groups, errors, rows):
            return rows, redrawn
    raise PcorrError(
        f"{_DRAWS_BEFORE_GIVING_UP} resamples of {len(groups)} groups had fewer than "
        f"{MINIMUM_LLMS} different LLMs or equal errors: add LLM families"
    )


def draw_halving(
    groups: Groups, errors: Floats, rng: np.random.Generator
) -> tuple[Rows, Rows, int] | None:
    """Rows of two random halves of the groups and redraws needed, or None if there are none.

    With an odd number of groups the second half has one more. A halving with an
    unusable half (see `usable`) is drawn again.
    """
    for redrawn in range(_DRAWS_BEFORE_GIVING_UP):
        order = rng.permutation(len(groups))
        half = len(groups) // 2
        if half == 0:
            return None
        first, second = groups.rows_of(order[:half]), groups.rows_of(order[half:])
        if usable(groups, errors, first) and usable(groups, errors, second):
            return first, second, redrawn
    return None


def _digest(row: np.ndarray) -> bytes:
    # Adding 0.0 makes -0.0 the same bytes as 0.0.
    return hashlib.blake2b(np.ascontiguousarray(row + 0.0).tobytes()).digest()


def _join_equal(parents: list[int], values: Sequence[Hashable]) -> None:
    first: dict[Hashable, int] = {}
    for row, value in enumerate(values):
        other = _root(parents, first.setdefault(value, row))
        parents[_root(parents, row)] = other


def _root(parents: list[int], row: int) -> int:
    while parents[row] != row:
        parents[row] = parents[parents[row]]
        row = parents[row]
    return row
