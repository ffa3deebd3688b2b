"""From rows to pages: what is dropped, what is kept, and the count of each.

Belongs here: cleaning, duplicates, subsampling, pages per domain. Does not belong here:
reading rows (`sources`) and cutting pages (`chunking`).

Each row passes these steps in order, and is counted at the first that drops it:

1. without text (missing, blank, neither string nor bytes), 2. without id, 3. without domain (where
`domain_column` is set), 4. an id seen before (the first row is kept), 5. with
`drop_duplicates`, a text seen before (the first is kept), 6. `subsample_ratio`,
7. `pages_per_domain`.

Steps 6 and 7 decide by a keyed hash of the page id, so which pages are sampled depends
on seed and ids, not on the order of the rows. Pages come out in the order of the source.
Memory holds hashes (some 100 bytes a page), never texts.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.text.cleaning import replace_invalid
from pcorr_assets.text.rows import note_place
from pcorr_assets.text.sources import SourceRow

if TYPE_CHECKING:
    from pcorr_assets.config import Sample

HASH_RANGE = 2**64


class Page(NamedTuple):
    """One page of a sample: valid Unicode, with an id that no other page has.

    `units` are those it belongs to at the levels of `unit_columns`; None where it has none.
    """

    page_id: str
    domain: str | None
    text: str
    units: tuple[str | None, ...] = ()


@dataclass
class SamplingCounts:
    """Rows of the source by what became of them. `rows` is the sum of those up to `pages`.

    `rows_with_text_of_another_type` (a number, a list...; `places_of_another_type` are the first
    few) are among `without_text`. `rows_with_unreadable_metadata` and
    `rows_with_invalid_unicode` (bytes that are not UTF-8 or lone surrogates, replaced by
    U+FFFD) count rows that are in one of the others as well.
    """

    rows: int = 0
    without_text: int = 0
    without_id: int = 0
    without_domain: int = 0
    duplicate_ids: int = 0
    duplicate_pages: int = 0
    outside_subsample: int = 0
    in_small_domains: int = 0
    above_pages_per_domain: int = 0
    pages: int = 0
    rows_with_unreadable_metadata: int = 0
    rows_with_invalid_unicode: int = 0
    rows_with_text_of_another_type: int = 0
    places_of_another_type: list[str] = field(default_factory=list)

    def explain(self) -> str:
        """One line: how many rows were read, and what dropped how many."""
        reasons = {
            "without text": self.without_text,
            "without id": self.without_id,
            "without domain": self.without_domain,
            "with an id seen before": self.duplicate_ids,
            "exact duplicates (drop_duplicates)": self.duplicate_pages,
            "outside subsample_ratio": self.outside_subsample,
            "in domains with fewer than pages_per_domain pages": self.in_small_domains,
            "above pages_per_domain": self.above_pages_per_domain,
        }
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in reasons.items() if count)
        line = f"{self.rows:,} rows read; dropped: {dropped or 'none'}; {self.pages:,} pages kept"
        if self.rows_with_unreadable_metadata:
            line += (
                f"; {self.rows_with_unreadable_metadata:,} rows had metadata that is neither JSON "
                "nor a Python literal of a mapping"
            )
        if self.rows_with_text_of_another_type:
            line += (
                f"; {self.rows_with_text_of_another_type:,} rows had a text that is neither string "
                f"nor bytes, the first: {'; '.join(self.places_of_another_type)}"
            )
        return line


def sample_pages(
    open_rows: Callable[[], Iterable[SourceRow]], sample: Sample, counts: SamplingCounts
) -> Iterator[Page]:
    """Yield the pages of a sample in source order; `counts` fills up on the way.

    Args:
        open_rows: opens the source anew. It is called twice where `pages_per_domain` is
            set (first to choose by id, then to yield), else once.
        counts: complete once the iterator is exhausted.

    Raises PcorrError if `pages_per_domain` comes without `domain_column`, or if the source
    changed between the two readings.
    """
    if sample.pages_per_domain is None:
        for _, page in _eligible(open_rows(), sample, counts):
            counts.pages += 1
            yield page
        return
    if not sample.domain_column:
        raise PcorrError("pages_per_domain needs domain_column")
    chosen = _choose_per_domain(open_rows(), sample, sample.pages_per_domain, counts)
    left = len(chosen)
    for index, row in enumerate(open_rows()):
        expected = chosen.get(index)
        if expected is None:
            continue
        page = _clean(row)[0]
        if page is None or page_hash(page.page_id, sample.seed, b"pages_per_domain") != expected:
            break
        counts.pages += 1
        left -= 1
        yield page
    if left:
        raise PcorrError(
            "the source changed while it was read (pages_per_domain reads it twice): "
            "run again when nothing writes to it"
        )


def _eligible(
    rows: Iterable[SourceRow], sample: Sample, counts: SamplingCounts
) -> Iterator[tuple[int, Page]]:
    """Yield (row index, page) of the rows that pass steps 1 to 6."""
    ids: set[bytes] = set()
    texts: set[bytes] = set()
    limit = sample.subsample_ratio * HASH_RANGE
    for index, row in enumerate(rows):
        counts.rows += 1
        counts.rows_with_unreadable_metadata += row.has_unreadable_metadata
        if row.other_type is not None:
            counts.rows_with_text_of_another_type += 1
            note_place(counts.places_of_another_type, row.other_type)
        page, text_bytes, was_invalid = _clean(row)
        counts.rows_with_invalid_unicode += was_invalid
        if page is None:
            if row.text is None:
                counts.without_text += 1
            else:
                counts.without_id += 1
            continue
        if sample.domain_column and page.domain is None:
            counts.without_domain += 1
            continue
        id_digest = _digest(page.page_id.encode())
        if id_digest in ids:
            counts.duplicate_ids += 1
            continue
        if sample.drop_duplicates:
            text_digest = _digest(text_bytes)
            if text_digest in texts:
                counts.duplicate_pages += 1
                continue
            texts.add(text_digest)
        ids.add(id_digest)
        if page_hash(page.page_id, sample.seed, b"subsample_ratio") >= limit:
            counts.outside_subsample += 1
            continue
        yield index, page


def _choose_per_domain(
    rows: Iterable[SourceRow], sample: Sample, pages_per_domain: int, counts: SamplingCounts
) -> dict[int, int]:
    """Row index -> hash of the chosen pages: of each domain the smallest hashes."""
    smallest: dict[str, list[tuple[int, int]]] = {}
    sizes: dict[str, int] = {}
    with Progress("choose pages", unit="pages") as progress:
        for index, page in _eligible(rows, sample, counts):
            domain = page.domain or ""
            sizes[domain] = sizes.get(domain, 0) + 1
            heap = smallest.setdefault(domain, [])
            entry = (-page_hash(page.page_id, sample.seed, b"pages_per_domain"), index)
            if len(heap) < pages_per_domain:
                heapq.heappush(heap, entry)
            else:
                heapq.heappushpop(heap, entry)
            progress.update()
    chosen: dict[int, int] = {}
    for domain, size in sizes.items():
        if size < pages_per_domain:
            counts.in_small_domains += size
        else:
            counts.above_pages_per_domain += size - pages_per_domain
            chosen.update((index, -negative) for negative, index in smallest[domain])
    return chosen


def _clean(row: SourceRow) -> tuple[Page | None, bytes, bool]:
    """The row as a page (None without text or id), the UTF-8 of its text, whether it changed."""
    if row.text is None:
        return None, b"", False
    text, text_bytes, text_changed = replace_invalid(row.text)
    if row.page_id is None:
        return None, text_bytes, text_changed
    page_id, _, id_changed = replace_invalid(row.page_id)
    domain, domain_changed = None, False
    if row.domain is not None:
        domain, _, domain_changed = replace_invalid(row.domain)
    changed = text_changed or id_changed or domain_changed
    units = tuple(unit if unit is None else replace_invalid(unit)[0] for unit in row.units)
    return Page(page_id, domain, text, units), text_bytes, changed


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def page_hash(page_id: str, seed: int, purpose: bytes) -> int:
    """Uniform in [0, 2**64), a function of seed, purpose (at most 16 bytes) and id."""
    digest = hashlib.blake2b(
        page_id.encode(), digest_size=8, key=str(seed).encode(), person=purpose
    ).digest()
    return int.from_bytes(digest, "big")
