"""What a report says of text of benchmarks, in chunks and in documents of pools.

Belongs here: plain facts, beside those of `facts`. Does not belong here: where they come from
(`reading_clean`), and how they look.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CleanUnitFacts:
    """A unit with chunks that hold text of a benchmark: `clean` is the estimate without them."""

    unit: str
    chunk_count: int
    contaminated_chunk_count: int
    estimate: float
    clean: float | None


@dataclass(frozen=True)
class SharedFacts:
    """A chunk or a document that holds text of benchmarks, and words that they have in common."""

    name: str
    benchmarks: str
    words: str


@dataclass(frozen=True)
class PoolFacts:
    """What a selection from a pool left out or marked.

    `by_benchmark`: name, documents, tokens, and documents that score high enough to be selected.
    Of copies and near-duplicates documents and tokens.
    """

    pool: str
    document_count: int
    decontaminate: str
    contaminated: tuple[int, int]
    by_benchmark: tuple[tuple[str, int, int, int], ...]
    examples: tuple[SharedFacts, ...]
    copies: tuple[int, int]
    near_duplicates: tuple[int, int]
    looks_for_near_duplicates: bool


@dataclass(frozen=True)
class CleanFacts:
    """Text of the target's benchmarks in chunks and pools; `sentence` says what of chunks."""

    sentence: str
    units: tuple[CleanUnitFacts, ...]
    chunks: tuple[SharedFacts, ...]
    pools: tuple[PoolFacts, ...]
