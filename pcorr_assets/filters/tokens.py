"""What counts the tokens of a pool's documents.

Belongs here: the choice between a column and a tokenizer, and counting in bounded memory.
Does not belong here: which tokenizer (the settings), and loading one (`text`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.pools import Document

if TYPE_CHECKING:
    from pcorr_assets.config import Pool

# A tokenizer needs some hundred bytes of memory for each token it returns.
PIECE_BYTES = 1 << 20

TokenCounter = Callable[[Sequence[bytes]], list[int]]


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
        pieces = [(index, piece) for index, text in enumerate(texts) for piece in pieces_of(text)]
        found = inner.encode_batch_fast(
            [piece.decode() for _, piece in pieces], add_special_tokens=False
        )
        counts = [0] * len(texts)
        for (index, _), encoding in zip(pieces, found, strict=True):
            counts[index] += len(encoding)
        return counts

    return count


def pieces_of(text: bytes, piece_bytes: int = PIECE_BYTES) -> list[bytes]:
    """The text in pieces of at most so many bytes, each (but the first) from a space on."""
    pieces = []
    start = 0
    while len(text) - start > piece_bytes:
        cut = text.rfind(b" ", start + 1, start + piece_bytes)
        if cut < 0:
            cut = start + piece_bytes
            while text[cut] & 0xC0 == 0x80:  # never inside a character
                cut -= 1
        pieces.append(text[start:cut])
        start = cut
    return [*pieces, text[start:]]


def token_counts(documents: list[Document], counter: TokenCounter | None) -> list[int]:
    """Tokens of each document, by the counter or, without one, as its column says."""
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
