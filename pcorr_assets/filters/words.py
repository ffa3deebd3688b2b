"""What a filter looks at: the words and bigrams that weigh most for each class.

Belongs here: candidate terms and their weights. Does not belong here: metrics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pcorr_assets.filters.model import FilterModel

TOP_TERMS = 20
CANDIDATES = 200_000
SAMPLE_BYTES = 32 << 20
MIN_PAGES = 5


@dataclass(frozen=True)
class Term:
    """`weight` is the term's log-odds of include (positive) against exclude (negative);
    `page_count` the pages of the sample it stands in."""

    text: str
    weight: float
    page_count: int


def top_terms(model: FilterModel, lines: Iterable[bytes]) -> dict[str, list[Term]]:
    """The twenty words and bigrams that weigh most for `include` and for `exclude`.

    Candidates stand in at least five pages (fewer where there are fewer than fifty) of the
    first 32 MiB of `lines`, which should come in random order. Bigrams share buckets in
    fastText, so a rare one may carry the weight of another.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    page_count = byte_count = 0
    for line in lines:
        words = line.decode(errors="replace").split(" ")
        counts.update({*((word,) for word in words if word), *pairwise(words)})
        page_count += 1
        byte_count += len(line)
        if byte_count >= SAMPLE_BYTES:
            break
        if len(counts) > 10 * CANDIDATES:
            counts = Counter(dict(_most_common(counts, CANDIDATES)))
    least = min(MIN_PAGES, max(1, page_count // 10))
    terms = [term for term, count in _most_common(counts, CANDIDATES) if count >= least]
    weighed = [
        Term(" ".join(term), float(weight), counts[term])
        for term, weight in zip(terms, model.term_weights(terms), strict=True)
    ]
    for_include = sorted(weighed, key=lambda term: (-term.weight, term.text))
    for_exclude = sorted(weighed, key=lambda term: (term.weight, term.text))
    return {
        "include": [term for term in for_include[:TOP_TERMS] if term.weight > 0],
        "exclude": [term for term in for_exclude[:TOP_TERMS] if term.weight < 0],
    }


def _most_common(
    counts: Counter[tuple[str, ...]], limit: int
) -> Sequence[tuple[tuple[str, ...], int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit]
