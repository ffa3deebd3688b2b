"""From a sample in the config to the rows of table `chunks`.

Belongs here: the stream from source to chunk rows, and the report on it. Does not belong
here: the steps themselves (`sources`, `sampling`, `chunking`) and storage (`warehouse`).
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.text.bad_rows import BadRows
from pcorr_assets.text.chunking import Chunk, chunk_id, chunk_pages
from pcorr_assets.text.sampling import Page, SamplingCounts, sample_pages
from pcorr_assets.text.sources import SourceRow, open_source
from pcorr_assets.text.tokenizers import load_tokenizer
from pcorr_assets.warehouse import TABLES

if TYPE_CHECKING:
    from pcorr_assets.config import Sample

logger = logging.getLogger(__name__)

SHORT_CHUNK_TOKENS = 16
WRITE_ROWS = 4096
WRITE_BYTES = 16 << 20

CHUNK_SCHEMA = TABLES["chunks"].schema
UNIT_SCHEMA = TABLES["page_units"].schema


class ChunkWriter(Protocol):
    """What `chunk_sample` writes to, such as `Warehouse.writer("chunks", (sample,))`."""

    metadata: dict[str, str]

    def write(self, data: pa.Table | pa.RecordBatch) -> None:
        """Append rows with the columns of `CHUNK_SCHEMA`."""
        ...


@dataclass(frozen=True)
class ChunkingReport:
    """What became of a sample: counts of rows (see `SamplingCounts`), pages, chunks.

    `byte_count` is UTF-8 bytes, `token_count` reference tokens; `short_chunks` are those
    below `SHORT_CHUNK_TOKENS` reference tokens; `domains` is 0 without `domain_column`;
    `skipped_rows` could not be read (`on_bad_row: skip`) and are not among `rows`, the places
    being those of the first hundred;
    `chunks_sha256` is what `chunk_ids_sha256` gives for the chunks in order. `units` counts those
    of each level of `unit_columns`, `pages_without_unit` pages that have none there.
    """

    sample: str
    rows: int
    without_text: int
    without_id: int
    without_domain: int
    duplicate_ids: int
    duplicate_pages: int
    outside_subsample: int
    in_small_domains: int
    above_pages_per_domain: int
    rows_with_unreadable_metadata: int
    rows_with_invalid_unicode: int
    rows_with_text_of_another_type: int
    places_of_another_type: list[str]
    skipped_rows: int
    places_of_skipped_rows: list[str]
    pages: int
    domains: int
    chunks: int
    short_chunks: int
    byte_count: int
    token_count: int
    seconds: float
    chunks_sha256: str
    units: dict[str, int]
    pages_without_unit: dict[str, int]

    @property
    def short_chunk_share(self) -> float:
        """Share of the chunks that have fewer than `SHORT_CHUNK_TOKENS` reference tokens."""
        return self.short_chunks / self.chunks

    @property
    def tokens_per_second(self) -> float:
        """Throughput from source to writer, in reference tokens."""
        return self.token_count / self.seconds


def chunk_sample(
    sample_key: str, sample: Sample, writer: ChunkWriter, unit_writer: ChunkWriter | None = None
) -> ChunkingReport:
    """Stream a sample's pages into chunks and write them, page by page in source order.

    `writer` gets Arrow batches of `CHUNK_SCHEMA` and, at the end, `metadata["chunks_sha256"]`;
    so does `unit_writer`, of `UNIT_SCHEMA`: the units of pages at the levels of `unit_columns`.
    The same source, settings and tokenizer give the same rows.

    Raises PcorrError if source or tokenizer cannot be read, or if no page is left, saying which
    step dropped how many rows.
    """
    if sample.reference_tokenizer is None:
        raise PcorrError(
            f"sample {sample_key!r} has no reference_tokenizer: name one, a hub name or a folder"
        )
    tokenizer = load_tokenizer(sample.reference_tokenizer)
    counts = SamplingCounts()
    rows = _RowBuffer(sample_key, writer)
    units = _UnitRows(sample_key, tuple(sample.unit_columns), unit_writer)
    bad: list[BadRows] = []
    start = time.monotonic()

    def open_rows() -> Iterator[SourceRow]:
        # Read twice, it has the same bad rows twice.
        bad[:] = [BadRows.of(sample)]
        return open_source(sample, bad[0])

    pages = sample_pages(open_rows, sample, counts)
    with Progress(f"chunk {sample_key}", unit="tokens") as progress:
        for page, first_index, chunks in chunk_pages(pages, tokenizer, sample.chunk_tokens):
            progress.update(rows.add(page, first_index, chunks))
            if first_index == 0:
                units.add(page)
    if not counts.pages:
        raise PcorrError(f"sample {sample_key!r} has no page left: {counts.explain()}")
    rows.flush()
    writer.metadata["chunks_sha256"] = rows.ids_sha256.hexdigest()
    units.end(rows.ids_sha256.hexdigest())
    report = _report(rows, units, counts, bad[0], time.monotonic() - start)
    if bad[0].count:
        logger.warning(
            "%s: %s rows cannot be read and were skipped; the first: %s",
            sample_key,
            f"{bad[0].count:,}",
            bad[0].places[0],
        )
    logger.info(
        "%s: %s; %d chunks, %.1f %% of them below %d tokens; %.0f tokens/s",
        sample_key,
        counts.explain(),
        report.chunks,
        100 * report.short_chunk_share,
        SHORT_CHUNK_TOKENS,
        report.tokens_per_second,
    )
    return report


def chunk_ids_sha256(chunk_ids: Iterable[str]) -> str:
    """Hash of a chunk table: SHA-256 over its chunk ids in order, each ended by a newline."""
    digest = hashlib.sha256()
    for name in chunk_ids:
        digest.update(name.encode() + b"\n")
    return digest.hexdigest()


def check_chunk_ids(sample: str, chunk_ids: Iterable[str], chunks_sha256: str) -> None:
    """PcorrError unless the ids of a sample's chunks are those that its metadata notes.

    Table and metadata are read one after the other, and the sample may be chunked anew in
    between.
    """
    if chunk_ids_sha256(chunk_ids) != chunks_sha256:
        raise PcorrError(
            f"The chunks of sample {sample!r} are not those that their chunks_sha256 notes: the "
            "sample was chunked anew while they were read. Launch this again; if it comes back, "
            "materialise chunked_dataset again."
        )


@dataclass
class _RowBuffer:
    """Collects rows of `chunks`, hands them on in batches, and adds up what it saw."""

    sample_key: str
    writer: ChunkWriter
    chunks: int = 0
    short_chunks: int = 0
    byte_count: int = 0
    token_count: int = 0
    domains: set[str] = field(default_factory=set)
    ids_sha256: Any = field(default_factory=hashlib.sha256)
    _rows: list[tuple[object, ...]] = field(default_factory=list)
    _pending_bytes: int = 0

    def add(self, page: Page, first_index: int, chunks: list[Chunk]) -> int:
        """Add chunks of a page, numbered from `first_index`; return how many tokens they have."""
        token_count = 0
        if page.domain is not None:
            self.domains.add(page.domain)
        for index, chunk in enumerate(chunks, first_index):
            name = chunk_id(page.page_id, index, chunk.text)
            byte_count = len(chunk.text.encode())
            self._rows.append(
                (
                    self.sample_key,
                    name,
                    page.page_id,
                    index,
                    page.domain,
                    chunk.text,
                    byte_count,
                    chunk.token_count,
                )
            )
            self.ids_sha256.update(name.encode() + b"\n")
            self.chunks += 1
            self.short_chunks += chunk.token_count < SHORT_CHUNK_TOKENS
            self.byte_count += byte_count
            self._pending_bytes += byte_count
            token_count += chunk.token_count
            if len(self._rows) >= WRITE_ROWS or self._pending_bytes >= WRITE_BYTES:
                self.flush()
        self.token_count += token_count
        return token_count

    def flush(self) -> None:
        """Hand the collected rows to the writer."""
        if self._rows:
            columns = [
                pa.array(values, type=column.type)
                for values, column in zip(zip(*self._rows, strict=True), CHUNK_SCHEMA, strict=True)
            ]
            self.writer.write(pa.RecordBatch.from_arrays(columns, schema=CHUNK_SCHEMA))
        self._rows.clear()
        self._pending_bytes = 0


class _UnitRows:
    """Collects rows of `page_units`, and counts units."""

    def __init__(
        self, sample_key: str, levels: tuple[str, ...], writer: ChunkWriter | None
    ) -> None:
        self.levels = levels
        self.units: dict[str, set[str]] = {level: set() for level in levels}
        self.without: dict[str, int] = dict.fromkeys(levels, 0)
        self._sample_key = sample_key
        self._writer = writer
        self._rows: list[tuple[str, str, str, str]] = []

    def add(self, page: Page) -> None:
        """Note the units of a page."""
        for level, unit in zip(self.levels, page.units, strict=True):
            if unit is None:
                self.without[level] += 1
                continue
            self.units[level].add(unit)
            self._rows.append((self._sample_key, page.page_id, level, unit))
        if len(self._rows) >= WRITE_ROWS:
            self._flush()

    def end(self, chunks_sha256: str) -> None:
        """Write what is left, and which chunks the units are of."""
        self._flush()
        if self._writer is not None:
            self._writer.metadata["chunks_sha256"] = chunks_sha256

    def _flush(self) -> None:
        if self._rows and self._writer is not None:
            columns = [pa.array(values, pa.string()) for values in zip(*self._rows, strict=True)]
            self._writer.write(pa.RecordBatch.from_arrays(columns, schema=UNIT_SCHEMA))
        self._rows.clear()


def _report(
    rows: _RowBuffer, units: _UnitRows, counts: SamplingCounts, bad: BadRows, seconds: float
) -> ChunkingReport:
    return ChunkingReport(
        sample=rows.sample_key,
        **vars(counts),
        skipped_rows=bad.count,
        places_of_skipped_rows=bad.places,
        domains=len(rows.domains),
        chunks=rows.chunks,
        short_chunks=rows.short_chunks,
        byte_count=rows.byte_count,
        token_count=rows.token_count,
        seconds=seconds,
        chunks_sha256=rows.ids_sha256.hexdigest(),
        units={level: len(found) for level, found in units.units.items()},
        pages_without_unit=units.without,
    )
