"""Pools: which shards a pool has, and reading their documents as a stream.

Belongs here: from the `pools` section to shards and a budget, and from a shard to documents in
their order. Does not belong here: scoring them (`scoring`) and choosing among them (`selection`).

A file is one shard; a dataset is cut into shards of 100,000 rows. The key of a shard is
`pool/slug`, the slug made of the file's path below the fixed part of its glob (or of the
shard's first row), so that more files make more shards and never rename one.
"""

from __future__ import annotations

import glob
import hashlib
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile, RemoteFile, stamp_of
from pcorr_assets.text.arrow_files import batch_to_rows, column_names, iter_batches
from pcorr_assets.text.bad_rows import BadRows
from pcorr_assets.text.cleaning import replace_invalid
from pcorr_assets.text.files import expand_globs, iter_file
from pcorr_assets.text.formats import file_format, has_types, require_columns
from pcorr_assets.text.rows import Row, Rows, TextColumn, key_of, note_place
from pcorr_assets.text.sources import open_dataset

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

ROWS_PER_SHARD = 100_000
DATASET_BATCH_ROWS = 1024
# More would be no count, and the sum over a pool has to fit into 64 bits.
MOST_TOKENS = 2**40
# How `glob.escape` writes characters that are no pattern, in the name of a project's folder.
_ESCAPED = re.compile(r"\[([*?[])\]")


@dataclass(frozen=True)
class Shard:
    """A shard of a pool: a file, or rows of a dataset from `first_row` on.

    `byte_count` is the size of the file (about that of the rows); `version` is another where
    the content may be.
    """

    key: str
    pool: str
    path: AnyFile | None = None
    first_row: int = 0
    row_count: int | None = None
    byte_count: int = 0
    version: str = ""

    @property
    def slug(self) -> str:
        """The key without the pool, which is safe as a file name."""
        return self.key.split("/", 1)[1]

    @property
    def where(self) -> str:
        """How messages name it."""
        return str(self.path) if self.path is not None else self.key


@dataclass(frozen=True)
class Document:
    """One document: its text in UTF-8 (invalid Unicode replaced), id and token count.

    `id` is None where the pool has no ids; `token_count` where it has no such column.
    """

    utf8: bytes
    id: str | None
    token_count: int | None

    @property
    def content_sha256(self) -> str:
        """Hexadecimal SHA-256 of the text, by which exact duplicates are known."""
        return hashlib.sha256(self.utf8).hexdigest()


@dataclass
class OddDocuments:
    """What was odd about the documents of a shard, filled by `iter_documents`.

    `other_types` counts texts that are neither string nor bytes (`places`: the first few),
    `invalid_unicode` texts and ids in which something was replaced by U+FFFD. `bad` are the
    rows that were skipped (`on_bad_row: skip`), which are no documents.
    """

    other_types: int = 0
    places: list[str] = field(default_factory=list)
    invalid_unicode: int = 0
    bad: BadRows = field(default_factory=BadRows)


def list_shards(name: str, pool: Pool) -> list[Shard]:
    """The shards of a pool, in the order of its files or rows.

    Raises:
        PcorrError: a pattern without files, an ending that is not supported, two files
            that would get one key, or a dataset that cannot be opened.
    """
    if pool.files is None:
        return _dataset_shards(name, open_dataset(pool))
    shards: dict[str, Shard] = {}
    for pattern in pool.files:
        fixed = _fixed_parts(pattern)
        for path in expand_globs([pattern], pool.storage):
            file_format(path, pool.file_format)
            key = f"{name}/{to_slug('/'.join(str(path).split('/')[fixed:]))}"
            size, version = _listed_version(path)
            shard = Shard(key, name, path, byte_count=size, version=version)
            other = shards.setdefault(shard.key, shard)
            if other is shard or other.path is None:
                continue  # links are looked up only where there is a doubt
            if other.path.resolve() != path.resolve():
                raise PcorrError(
                    f"pool {name}: the files {other.path} and {path} would both be shard "
                    f"{shard.key!r}: rename one, or write one glob for both (.../**/*.parquet)"
                )
    return list(shards.values())


def file_version(path: AnyFile) -> tuple[int, str]:
    """Bytes of a file, and what is another after it was changed: size and time of the change,
    or the etag of an object.

    Raises:
        FileNotFoundError: a local file is not there.
        PcorrError: an object is not there, or its store cannot be asked.
    """
    stamp = stamp_of(path)
    return stamp.size, f"{stamp.size}:{stamp.version}"


def _listed_version(path: AnyFile) -> tuple[int, str]:
    """As `file_version`, without asking again for what a listing has said."""
    if isinstance(path, RemoteFile) and path.known is not None:
        return path.known.size, f"{path.known.size}:{path.known.version}"
    return file_version(path)


def _dataset_shards(name: str, dataset: Any) -> list[Shard]:
    count = dataset.num_rows
    bytes_a_row = dataset.data.nbytes / max(dataset.data.num_rows, 1)
    shards = []
    for start in range(0, count, ROWS_PER_SHARD):
        rows = min(ROWS_PER_SHARD, count - start)
        size, version = int(rows * bytes_a_row), str(dataset._fingerprint)
        shards.append(Shard(f"{name}/rows-{start:012d}", name, None, start, rows, size, version))
    return shards


def budget_tokens(pool: Pool, pool_token_count: int) -> int:
    """The budget in tokens: `token_budget`, or `keep_ratio` of the pool's, rounded up."""
    if pool.token_budget is not None:
        return pool.token_budget
    # As a decimal fraction: in floats .1 x 30 is above 3, and would take one more.
    return math.ceil(Fraction(str(pool.keep_ratio)) * pool_token_count)


def _fixed_parts(pattern: str) -> int:
    """How many parts of the path stand before the first that is a pattern."""
    fixed = 0
    for part in pattern.split("/")[:-1]:
        if glob.escape(_ESCAPED.sub(r"\1", part)) != part:
            break
        fixed += 1
    return fixed


def iter_documents(
    shard: Shard,
    pool: Pool,
    odd: OddDocuments | None = None,
    *,
    skip: int = 0,
    texts: TextColumn | None = None,
) -> Iterator[list[Document]]:
    """The documents of a shard in their order, in lists of a few megabytes.

    The first `skip` are read over; `texts` then says what their texts were.

    A text is a string, or bytes in UTF-8; anything else is an empty text, and counted in
    `odd` unless it is missing (NULL, NaN). Without an `id_column` in the data documents have
    no id, unless the configuration names the column, which then must be there.

    Raises:
        PcorrError: a missing text, id or token-count column, a text column without any
            text, a token count that is no whole number, more bad rows than the pool allows,
            or a file that is truncated or not what its ending says; it names the file and
            line or row.
    """
    odd = odd or OddDocuments()
    odd.bad = BadRows.of(pool)
    texts = texts or TextColumn(pool.text_column)
    is_first = True
    for rows in iter_rows(shard, pool, _columns(shard, pool), odd.bad):
        if is_first:
            _require(rows, pool, shard)
            is_first = False
        first, skip = min(skip, len(rows)), max(skip - len(rows), 0)
        if first < len(rows):
            yield [_document(rows, index, pool, texts, odd) for index in range(first, len(rows))]
    texts.refuse_if_no_text(shard.where)
    odd.bad.check(shard.where)


def iter_rows(
    shard: Shard, pool: Pool, columns: Sequence[str] | None = None, bad: BadRows | None = None
) -> Iterator[Rows]:
    """Rows of a shard as dicts (None: all columns), without those that `bad` skips."""
    bad = BadRows.of(pool) if bad is None else bad
    if shard.path is None:
        first = shard.first_row + 1
        for table in iter_tables(shard, pool, columns):
            yield batch_to_rows(table, shard.where, first)
            first += table.num_rows
    else:
        # JSON objects are read whole anyway, and may lack what others have.
        wanted = columns if has_schema(shard, pool) else None
        yield from iter_file(shard.path, wanted, named=pool.file_format, bad=bad)


def has_schema(shard: Shard, pool: Pool) -> bool:
    """Has the shard Arrow types of its own (Parquet, Arrow, datasets), unlike JSON Lines?"""
    return shard.path is None or has_types(shard.path, pool.file_format)


def iter_tables(
    shard: Shard, pool: Pool, columns: Sequence[str] | None = None
) -> Iterator[pa.Table]:
    """Rows of a shard that `has_schema` as Arrow tables, types unchanged."""
    if shard.path is not None:
        for batch in iter_batches(shard.path, columns, named=pool.file_format):
            yield pa.Table.from_batches([batch])
        return
    dataset = open_dataset(pool)
    if columns is not None:
        dataset = dataset.select_columns(list(columns))
    stop = shard.first_row + (shard.row_count or 0)
    if stop > dataset.num_rows:
        raise PcorrError(
            f"{shard.key}: the dataset has {dataset.num_rows:,} rows, the shard ends at {stop:,}: "
            "it was changed; score the pool again"
        )
    arrow = dataset.with_format("arrow")
    for start in range(shard.first_row, stop, DATASET_BATCH_ROWS):
        yield arrow[start : min(start + DATASET_BATCH_ROWS, stop)]


def _columns(shard: Shard, pool: Pool) -> list[str] | None:
    if not has_schema(shard, pool):
        return None
    if shard.path is None:
        names = open_dataset(pool).column_names
    else:
        names = column_names(shard.path, pool.file_format)
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise PcorrError(
            f"{shard.where}: it has several columns {', '.join(map(repr, repeated))}: rename them "
            "apart, or write the file again without them"
        )
    required = _required_columns(pool)
    require_columns(names, required, shard.where)
    optional = [pool.id_column] if pool.id_column in names else []
    return list(dict.fromkeys([*required, *optional]))


def _required_columns(pool: Pool) -> list[str]:
    columns = [pool.text_column]
    if "id_column" in pool.model_fields_set:
        columns.append(pool.id_column)
    if pool.token_count_column is not None:
        columns.append(pool.token_count_column)
    return columns


def _require(rows: Sequence[Row], pool: Pool, shard: Shard) -> None:
    require_columns(
        dict.fromkeys(k for row in rows for k in row), _required_columns(pool), shard.where
    )


def _document(rows: Rows, index: int, pool: Pool, texts: TextColumn, odd: OddDocuments) -> Document:
    text, other_type = texts.text(rows, index)
    if other_type is not None:
        odd.other_types += 1
        note_place(odd.places, other_type)
    _, utf8, text_changed = replace_invalid(text or "")
    identity, id_changed = key_of(rows[index].get(pool.id_column)), False
    if identity is not None:
        identity, _, id_changed = replace_invalid(identity)
    odd.invalid_unicode += text_changed or id_changed
    count = None if pool.token_count_column is None else _count(rows, index, pool)
    return Document(utf8, identity, count)


def _count(rows: Rows, index: int, pool: Pool) -> int:
    value = rows[index].get(str(pool.token_count_column))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS:
        return value
    raise PcorrError(
        f"{rows.place(index)}: {pool.token_count_column!r} is {str(value)[:50]!r}, expected a "
        "whole number of tokens: mend it, or leave token_count_column out and set "
        "selection.tokenizer"
    )
