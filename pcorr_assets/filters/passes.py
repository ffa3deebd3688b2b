"""One pass over files of a pool: everything that is asked of a text, while it is in memory.

Belongs here: from documents to rows of parts, in one process. Does not belong here: reading
documents (`pools`), what a pass is to work out (`scoring`), several processes (`workers`)
and the tables (`assembly`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pcorr_assets.clean.ngrams import NgramSet, Search
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.ids import UniqueIds
from pcorr_assets.filters.model import FilterFile, FilterModel
from pcorr_assets.filters.ngram_files import NgramFile, held_columns
from pcorr_assets.filters.normalise import normalise_utf8
from pcorr_assets.filters.parts import Part, PartFolder, Segment, column_of_shard
from pcorr_assets.filters.pools import (
    Document,
    OddDocuments,
    Shard,
    file_version,
    iter_documents,
)
from pcorr_assets.filters.signatures import signatures
from pcorr_assets.filters.tokens import TokenCounter, token_counter, token_counts
from pcorr_assets.text.bad_rows import PLACES_KEPT, BadRows
from pcorr_assets.text.rows import TextColumn, note_place

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

logger = logging.getLogger(__name__)

SECONDS_PER_PART = 30.0
# However fast it goes: the rows of a part are in memory.
ROWS_PER_PART = 1 << 19
# The column of parts, and of `pool_documents`, with the signatures.
SIGNATURE = "signature"


@dataclass(frozen=True)
class Done:
    """What was done since the last time: documents, bytes of their text, files and their bytes."""

    documents: int = 0
    text_bytes: int = 0
    files: int = 0
    file_bytes: int = 0


Note = Callable[[Done], None]


@dataclass(frozen=True)
class PassPlan:
    """What a pass works out of each document, beside the hash of its text.

    `documents`: id and bytes; `counts`: tokens, by the name of what counts them (the tokenizer;
    None: a column of the pool); `targets`: the score of each target's filter; `ngram`: the
    signature that near-duplicates are told by, of n-grams of so many words; `ngrams`: which
    benchmarks of each target it holds text of.
    """

    documents: bool
    counts: Mapping[str, str | None]
    targets: Mapping[str, FilterFile]
    ngram: int | None = None
    ngrams: Mapping[str, NgramFile] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        """Is there anything to read texts for?"""
        works = (self.documents, self.counts, self.targets, self.ngram, self.ngrams)
        return any(map(bool, works))

    @property
    def schema(self) -> pa.Schema:
        """Columns of its parts."""
        return pa.schema(
            [
                *([("document_id", pa.string()), ("byte_count", pa.int64())] * self.documents),
                ("content_sha256", pa.string()),
                *((tokens_column(name), pa.int64()) for name in self.counts),
                *((score_column(target), pa.float64()) for target in self.targets),
                *([(SIGNATURE, pa.binary())] * bool(self.ngram)),
                *((contaminated_column(target), pa.string()) for target in self.ngrams),
                *((shared_column(target), pa.string()) for target in self.ngrams),
            ]
        )


def tokens_column(source: str) -> str:
    """The column of parts with the tokens that `source` counts."""
    return f"tokens by {source}"


def score_column(target: str) -> str:
    """The column of parts with the scores of a target."""
    return f"score of {target}"


def contaminated_column(target: str) -> str:
    """The column of parts with the benchmarks of a target that a document holds text of."""
    return f"contaminated by {target}"


def shared_column(target: str) -> str:
    """The column of parts with words that a document has in common with a benchmark of a target."""
    return f"shared with {target}"


@dataclass(frozen=True)
class Work:
    """A shard to read, by its place in the group, from `first_row` on."""

    place: int
    shard: Shard
    first_row: int = 0


class Pass:
    """A pass in this process: the filters and tokenizers are loaded once.

    Raises PcorrError if one of them cannot be loaded.
    """

    def __init__(self, pool: Pool, plan: PassPlan, seconds_per_part: float) -> None:
        self._pool = pool
        self._plan = plan
        self._seconds = seconds_per_part
        self._models: dict[str, FilterModel] = {t: f.load() for t, f in plan.targets.items()}
        self._ngrams: dict[str, NgramSet] = {t: f.load() for t, f in plan.ngrams.items()}
        self._search = Search(self._ngrams)
        self._counters: dict[str, TokenCounter | None] = {
            name: token_counter(pool, tokenizer) for name, tokenizer in plan.counts.items()
        }

    def run(
        self,
        folder: PartFolder,
        parts: Sequence[Part],
        work: Iterable[Work],
        note: Note = lambda done: None,
    ) -> None:
        """Read shards that follow each other, and leave their rows in parts.

        What was finished before an error, or before `note` raised, stays.

        Args:
            parts: those that are there, from which a shard is gone on with.
            note: told of documents and files as they are done.

        Raises:
            PcorrError: the data cannot be read, or a file changed meanwhile.
        """
        writer = _PartWriter(folder, self._plan.schema, self._seconds)
        try:
            for item in work:
                self._read(item, parts, writer, note)
        except Exception:
            writer.flush()
            raise
        writer.flush()

    def _read(self, item: Work, parts: Sequence[Part], writer: _PartWriter, note: Note) -> None:
        shard, done = item.shard, _done(parts, item.place)
        odd = OddDocuments(places=list(done.places))
        texts = TextColumn(
            self._pool.text_column, done.texts, done.other_types, "".join(done.places[:1])
        )
        ids = None
        if self._plan.documents:
            columns = column_of_shard(parts, item.place, "document_id")
            earlier = (name for column in columns for name in column.to_pylist())
            ids = UniqueIds(shard, item.first_row, earlier)
        writer.begin(item.place, item.first_row)
        for documents in iter_documents(shard, self._pool, odd, skip=item.first_row, texts=texts):
            counted = Segment(item.place, texts=texts.texts - done.texts)
            counted.other_types = texts.other_types - done.other_types
            counted.invalid_unicode, odd.invalid_unicode = odd.invalid_unicode, 0
            counted.places = odd.places[len(done.places) :]
            rows = self._rows(documents, ids, counted)
            done.texts, done.other_types, done.places = (
                texts.texts,
                texts.other_types,
                list(odd.places),
            )
            writer.add(rows, counted)
            note(Done(len(documents), counted.text_bytes))
        _refuse_changed(shard)
        writer.end(odd.bad)
        note(Done(files=1, file_bytes=shard.byte_count))

    def _rows(
        self, documents: list[Document], ids: UniqueIds | None, counted: Segment
    ) -> dict[str, Any]:
        lines = [normalise_utf8(document.utf8) for document in documents]
        columns: dict[str, Any] = {"content_sha256": [d.content_sha256 for d in documents]}
        if ids is not None:
            named = [ids.unique(document.id) for document in documents]
            columns["document_id"] = [name for name, _ in named]
            columns["byte_count"] = [len(document.utf8) for document in documents]
            counted.repeated_ids = sum(is_repeated for _, is_repeated in named)
        for source, counter in self._counters.items():
            counts = token_counts(documents, counter)
            # A text without a word is never selected.
            columns[tokens_column(source)] = [
                count if line else 0 for count, line in zip(counts, lines, strict=True)
            ]
        for target, model in self._models.items():
            columns[score_column(target)] = model.score(lines)
        if self._plan.ngram:
            columns[SIGNATURE] = signatures(lines, self._plan.ngram)
        columns |= self._contaminated(documents)
        counted.empty = sum(not line for line in lines)
        counted.row_count = len(documents)
        counted.text_bytes = sum(len(document.utf8) for document in documents)
        return columns

    def _contaminated(self, documents: list[Document]) -> dict[str, list[Any]]:
        """Per target: benchmarks that each document holds text of, and words of that."""
        if not self._ngrams:
            return {}
        texts = [document.utf8.decode() for document in documents]
        found, columns = self._search.find(texts), {}
        for target, ngrams in self._ngrams.items():
            benchmarks, shared = held_columns(texts, found[target], ngrams)
            columns[contaminated_column(target)] = benchmarks
            columns[shared_column(target)] = shared
        return columns


def _done(parts: Sequence[Part], place: int) -> Segment:
    """What was finished of a shard before, taken together."""
    found = Segment(place)
    for segment in (s for part in parts for s in part.segments if s.shard == place):
        add_up(found, segment)
    return found


def add_up(total: Segment, more: Segment) -> None:
    """Add the counts of a segment to those of others."""
    total.row_count += more.row_count
    total.texts += more.texts
    total.text_bytes += more.text_bytes
    total.empty += more.empty
    total.repeated_ids += more.repeated_ids
    total.other_types += more.other_types
    total.invalid_unicode += more.invalid_unicode
    for place in more.places:
        note_place(total.places, place)
    total.skipped += more.skipped
    total.skipped_places = [*total.skipped_places, *more.skipped_places][:PLACES_KEPT]


def _refuse_changed(shard: Shard) -> None:
    """PcorrError if a file is not the one that was opened."""
    if shard.path is None:
        return
    try:
        _, version = file_version(shard.path)
    except FileNotFoundError:
        version = ""
    if version != shard.version:
        raise PcorrError(
            f"{shard.where} was changed or removed while it was read. Let whoever writes it end, "
            "then launch this again."
        )


class _PartWriter:
    """Collects rows, and writes a part whenever it is time."""

    def __init__(self, folder: PartFolder, schema: pa.Schema, seconds: float) -> None:
        self._folder = folder
        self._schema = schema
        self._seconds = seconds
        self._tables: list[pa.Table] = []
        self._segments: list[Segment] = []
        self._begun = time.monotonic()

    def begin(self, place: int, first_row: int) -> None:
        """From here on rows are of this shard."""
        self._segments.append(Segment(place, first_row))

    def add(self, columns: Mapping[str, Any], counted: Segment) -> None:
        """Rows, with what was counted of them."""
        arrays = [pa.array(columns[field.name], field.type) for field in self._schema]
        self._tables.append(pa.table(arrays, schema=self._schema))
        add_up(self._segments[-1], counted)
        self._flush_if_due()

    def end(self, bad: BadRows) -> None:
        """The shard is finished; `bad` are its rows that were skipped."""
        last = self._segments[-1]
        last.is_last, last.skipped, last.skipped_places = True, bad.count, list(bad.places)
        if time.monotonic() - self._begun >= self._seconds:
            self.flush()

    def _flush_if_due(self) -> None:
        is_due = time.monotonic() - self._begun >= self._seconds
        if is_due or sum(table.num_rows for table in self._tables) >= ROWS_PER_PART:
            last = self._segments[-1]
            self.flush()
            self.begin(last.shard, last.first_row + last.row_count)

    def flush(self) -> None:
        """Write what was collected, if there is anything."""
        segments = [one for one in self._segments if one.row_count or one.is_last]
        if segments:
            rows = pa.concat_tables([self._schema.empty_table(), *self._tables])
            self._folder.write(rows, segments, time.monotonic() - self._begun)
        self._tables, self._segments, self._begun = [], [], time.monotonic()
