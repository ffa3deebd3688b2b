"""What is said of a selection as a whole.

Belongs here: counts and the boundary, as the manifest has them. Does not belong here: choosing
documents (`selection`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Boundary:
    """The last document taken, which fills the budget.

    `value` is what documents are taken in descending order of: the score, unless they are drawn.
    """

    shard: str
    document_id: str
    score: float
    content_sha256: str
    token_count: int
    value: float


@dataclass(frozen=True)
class SelectionSummary:
    """What was selected. `budget` is in tokens; `pool_*` count all scored documents.

    `is_short` says that the pool holds fewer tokens than the budget; all of it was selected
    then, and `boundary` is None. `duplicate_*` count the copies that were left out because
    their content was taken already, `near_duplicate_*` those of which nearly the same was.
    `threshold` is the lowest score selected; None where documents are drawn, so that there is none.

    `decontaminate` says what became of documents with text of a benchmark: `drop`, `mark`,
    `off`, `nothing to search for` or `not searched`. `contaminated_*` count those of the whole
    pool (under `drop` none of them is selected), `contaminated_by` by benchmark: `documents`,
    `tokens`, and how many `score_enough` (or are drawn early enough) to be selected.
    `contaminated_examples` are those that come first: `shard`, `document_id`, `contaminated_by`,
    `shared_words`.
    """

    budget: int
    document_count: int
    token_count: int
    pool_document_count: int
    pool_token_count: int
    empty_document_count: int
    duplicate_document_count: int
    duplicate_token_count: int
    near_duplicate_document_count: int
    near_duplicate_token_count: int
    threshold: float | None
    boundary: Boundary | None
    is_short: bool
    filter_sha256: str
    token_source: str
    decontaminate: str = "off"
    contaminated_document_count: int = 0
    contaminated_token_count: int = 0
    contaminated_by: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    contaminated_examples: Sequence[Mapping[str, str]] = ()
