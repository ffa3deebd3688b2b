"""What the report says of other methods that fill the budget of a pool.

Belongs here: the facts, which hold no text of the page. Does not belong here: reading them
(`reading_filter`), and the methods (`methods`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodFacts:
    """One row of `compared_selections`; `words` say what the method takes for good."""

    method: str
    words: str
    reason: str | None
    document_count: int | None
    token_count: int | None
    overlap: float | None
    cpu_seconds: float | None
    llm_count: int | None
    gpu_hours: float | None


@dataclass(frozen=True)
class ComparedFacts:
    """What other methods select of a pool, beside the filter; `is_outdated`: another filter."""

    pool: str
    methods: tuple[MethodFacts, ...]
    is_outdated: bool
