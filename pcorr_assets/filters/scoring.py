"""Scoring the documents of one shard of a pool with a filter.

Belongs here: one partition of `pool_scores`, from documents to rows. Does not belong
here: reading documents (`pools`), the filter itself (`model`), choosing documents
(`selection`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.model import FilterModel
from pcorr_assets.filters.normalise import normalise_utf8
from pcorr_assets.filters.pools import Document, OddDocuments, Shard, iter_documents
from pcorr_assets.progress import Progress
from pcorr_assets.warehouse import Warehouse, WrittenPartition

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

logger = logging.getLogger(__name__)

ROWS_PER_GROUP = 131_072
# A tokenizer needs some hundred bytes of memory for each token it returns.
PIECE_BYTES = 1 << 20

TokenCounter = Callable[[Sequence[bytes]], list[int]]


def score_shard(
    warehouse: Warehouse,
    shard: Shard,
    pool: Pool,
    target: str,
    model: FilterModel,
    *,
    tokenizer: str | None = None,
) -> WrittenPartition:
    """Score every document of a shard and write its partition of `pool_scores`.

    One row for each document, in the shard's order; memory does not grow with the shard.
    Documents without a word, or whose text is of another type, score 0 and count 0 tokens,
    so they are never selected. Token
    counts are those of `pool.token_count_column`, else of `tokenizer` (the pretraining
    run's: a hub name or folder; documents above 1 MiB are counted in pieces cut at spaces).
    Documents without an id are `<slug>:<row>`; an id that comes again in the shard gets
    `#2`, `#3`...
    The partition appears when the last document is scored; its metadata names the filter
    and the tokenizer, and counts what was odd (the first texts of another type by place).

    Raises:
        PcorrError: the data cannot be read, or there is nothing to count tokens with.
    """
    count_tokens = token_counter(pool, tokenizer)
    ids = _Ids(shard)
    odd = OddDocuments()
    empty_count = 0
    with (
        warehouse.writer("pool_scores", (shard.key, target)) as writer,
        Progress(f"score {shard.key}", unit="documents") as progress,
    ):
        rows = _Rows({"pool": shard.pool, "shard": shard.key, "target": target})
        for documents in iter_documents(shard, pool, odd):
            lines = [normalise_utf8(document.utf8) for document in documents]
            scores = model.score(lines)
            token_counts = _token_counts(documents, count_tokens)
            for index, line in enumerate(lines):
                if not line:
                    token_counts[index] = 0
                    empty_count += 1
            rows.add(
                document_id=[ids.unique(document.id) for document in documents],
                score=scores,
                token_count=token_counts,
                byte_count=[len(document.utf8) for document in documents],
                content_sha256=[document.content_sha256 for document in documents],
            )
            if rows.count >= ROWS_PER_GROUP:
                writer.write(rows.take())
            progress.update(len(documents))
        if rows.count:
            writer.write(rows.take())
        writer.metadata.update(
            filter_sha256=model.sha256,
            token_source=token_source(pool, tokenizer),
            source=shard.where,
            empty_documents=str(empty_count),
            repeated_ids=str(ids.repeated_count),
            texts_of_another_type=str(odd.other_types),
            first_texts_of_another_type="; ".join(odd.places),
            documents_with_invalid_unicode=str(odd.invalid_unicode),
            skipped_rows=str(odd.bad.count),
            first_skipped_rows="\n".join(odd.bad.places),
        )
    _warn(shard, ids.repeated_count, odd)
    return writer.written


def _warn(shard: Shard, repeated_ids: int, odd: OddDocuments) -> None:
    if odd.bad.count:
        logger.warning(
            "%s: %s rows cannot be read and were skipped; the first: %s",
            shard.where,
            f"{odd.bad.count:,}",
            odd.bad.places[0],
        )
    if odd.other_types:
        logger.warning(
            "%s: %s texts are neither string nor bytes, so they are never selected; the first: %s",
            shard.where,
            f"{odd.other_types:,}",
            "; ".join(odd.places),
        )
    if repeated_ids:
        logger.warning(
            "%s: %s ids come more than once; later ones have #2, #3... at the end",
            shard.where,
            f"{repeated_ids:,}",
        )


def token_source(pool: Pool, tokenizer: str | None) -> str:
    """What counts the tokens of a pool, in words.

    Raises:
        PcorrError: nothing does; words or bytes are not tokens.
    """
    if pool.token_count_column is not None:
        return f"column {pool.token_count_column}"
    if tokenizer is not None:
        return f"tokenizer {tokenizer}"
    raise PcorrError(
        "a pool's tokens cannot be counted: set selection.tokenizer (the tokenizer of the "
        "pretraining run) or the pool's token_count_column"
    )


def token_counter(pool: Pool, tokenizer: str | None) -> TokenCounter | None:
    """What counts tokens of texts in UTF-8, without special tokens; None: a column does.

    Raises:
        PcorrError: there is neither column nor tokenizer, or it cannot be loaded.
    """
    token_source(pool, tokenizer)
    if pool.token_count_column is not None:
        return None
    from pcorr_assets.text.tokenizers import load_tokenizer, rust_tokenizer

    inner: Any = rust_tokenizer(load_tokenizer(str(tokenizer)))

    def count(texts: Sequence[bytes]) -> list[int]:
        pieces = [(index, piece) for index, text in enumerate(texts) for piece in _pieces(text)]
        found = inner.encode_batch_fast(
            [piece.decode() for _, piece in pieces], add_special_tokens=False
        )
        counts = [0] * len(texts)
        for (index, _), encoding in zip(pieces, found, strict=True):
            counts[index] += len(encoding)
        return counts

    return count


def _pieces(text: bytes) -> list[bytes]:
    """The text in pieces of at most 1 MiB, each (but the first) from a space on."""
    pieces = []
    start = 0
    while len(text) - start > PIECE_BYTES:
        cut = text.rfind(b" ", start + 1, start + PIECE_BYTES)
        if cut < 0:
            cut = start + PIECE_BYTES
            while text[cut] & 0xC0 == 0x80:  # never inside a character
                cut -= 1
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


def _token_counts(documents: list[Document], counter: TokenCounter | None) -> list[int]:
    if counter is None:
        return [document.token_count or 0 for document in documents]
    counts: list[int] = []
    batch: list[bytes] = []
    batch_bytes = 0
    for document in documents:
        batch.append(document.utf8)
        batch_bytes += len(document.utf8)
        if batch_bytes >= PIECE_BYTES:
            counts += counter(batch)
            batch, batch_bytes = [], 0
    return counts + counter(batch)


class _Ids:
    """Ids that are unique within a shard, remembering 64 bits of each."""

    def __init__(self, shard: Shard) -> None:
        self.repeated_count = 0
        self._prefix = shard.slug
        self._row = 0
        self._seen: set[int] = set()
        self._copies: dict[str, int] = {}

    def unique(self, name: str | None) -> str:
        row, self._row = self._row, self._row + 1
        if name is None:
            name = f"{self._prefix}:{row}"
        if (code := hash(name)) not in self._seen:
            self._seen.add(code)
            return name
        self.repeated_count += 1
        copy = self._copies.get(name, 1) + 1
        while (code := hash(candidate := f"{name}#{copy}")) in self._seen:
            copy += 1
        self._seen.add(code)
        self._copies[name] = copy
        return candidate


class _Rows:
    """Columns of rows that wait to be written."""

    def __init__(self, constants: dict[str, str]) -> None:
        self.count = 0
        self._constants = constants
        self._columns: dict[str, list[Any]] = {}

    def add(self, **columns: Sequence[Any] | np.ndarray) -> None:
        for name, values in columns.items():
            self._columns.setdefault(name, []).append(pa.array(values))
        self.count += len(columns["document_id"])

    def take(self) -> pa.Table:
        """The rows so far; from here on it is empty again."""
        columns: dict[str, Any] = {
            name: pa.chunked_array(parts) for name, parts in self._columns.items()
        }
        for name, value in self._constants.items():
            columns[name] = pa.array([value] * self.count, pa.string())
        self.count, self._columns = 0, {}
        return pa.table(columns)
