"""Cutting pages into chunks of at most N reference tokens, exactly.

Belongs here: where a text may be cut, cutting it, and the names of chunks. Does not
belong here: reading pages and storing chunks (`chunked_dataset`).

Joined, the chunks of a page give the page, character by character, for every tokenizer:
the *text* is cut, between two characters where a token begins and no earlier token
reaches further. A cut before token j is legal where `start[j] >= max(end[:j])`; of the legal
cuts at most N tokens ahead the last is taken. If one character alone has more than N
tokens, so has its chunk. Tokens that cover no character (such as an added prefix) do not
count. A chunk tokenised again by itself may have a few tokens more or fewer than in its page.

Texts longer than `PIECE_CHARS` are tokenised piece by piece, so that memory is bounded by
the piece. A piece begins where the last complete chunk ended: the last chunk of a piece is
tokenised again with what follows it, so pieces leave no short chunks behind. The cuts may
differ from those of the text tokenised whole, because a piece may begin or end within a
word; joined, the chunks are the text all the same.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcorr_assets.errors import PcorrError
from pcorr_assets.text.cleaning import replace_invalid
from pcorr_assets.text.sampling import Page
from pcorr_assets.text.tokenizers import rust_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

PIECE_CHARS = 250_000
CHARS_PER_TOKEN_GUESS = 8
BATCH_PAGES = 64
BATCH_CHARS = 1_000_000


class Chunk(NamedTuple):
    """A stretch of a page and how many reference tokens it had there."""

    text: str
    token_count: int


def chunk_text(text: str, tokenizer: PreTrainedTokenizerBase, chunk_tokens: int) -> list[Chunk]:
    """Cut one text into chunks of at most `chunk_tokens` reference tokens.

    `"".join(chunk.text for chunk in chunks) == text`, and no chunk is empty; an empty text
    gives no chunk. Raises PcorrError for a tokenizer without offsets, a lone surrogate (replace
    it first: `cleaning.replace_invalid`) or `chunk_tokens` below 1.
    """
    return next(chunk_texts([text], tokenizer, chunk_tokens))


def chunk_texts(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, chunk_tokens: int
) -> Iterator[list[Chunk]]:
    """Yield the chunks of each text in turn: `chunk_text`, several times as fast.

    Texts are tokenised in batches on all cores, one batch ahead of the caller.
    """
    chunks: list[Chunk] = []
    for portion, is_end in _chunk_portions(texts, tokenizer, chunk_tokens):
        chunks += portion
        if is_end:
            yield chunks
            chunks = []


def chunk_pages(
    pages: Iterable[Page], tokenizer: PreTrainedTokenizerBase, chunk_tokens: int
) -> Iterator[tuple[Page, int, list[Chunk]]]:
    """Yield (page, index of the first chunk, chunks) in order.

    Pages longer than a piece come in several portions, the others in one, so that neither
    a long page nor many pages are held in memory as chunks.
    """
    waiting: deque[Page] = deque()

    def texts() -> Iterator[str]:
        for page in pages:
            waiting.append(page)
            yield page.text

    first_index = 0
    for portion, is_end in _chunk_portions(texts(), tokenizer, chunk_tokens):
        yield waiting[0], first_index, portion
        first_index += len(portion)
        if is_end:
            waiting.popleft()
            first_index = 0


def _chunk_portions(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, chunk_tokens: int
) -> Iterator[tuple[list[Chunk], bool]]:
    """Yield (chunks, whether the text ends with them), at least one for each text."""
    if chunk_tokens < 1:
        raise PcorrError(f"chunk_tokens is {chunk_tokens}; it must be at least 1")
    inner = rust_tokenizer(tokenizer)
    piece_chars = max(PIECE_CHARS, CHARS_PER_TOKEN_GUESS * chunk_tokens)
    with ThreadPoolExecutor(1, thread_name_prefix="tokenise") as ahead:
        waiting: tuple[list[str], Future[list[Any]]] | None = None
        for batch in _batches(texts, piece_chars):
            following = batch, ahead.submit(_encode, inner, [text[:piece_chars] for text in batch])
            if waiting is not None:
                yield from _cut_batch(*waiting, inner, chunk_tokens, piece_chars)
            waiting = following
        if waiting is not None:
            yield from _cut_batch(*waiting, inner, chunk_tokens, piece_chars)


def chunk_id(page_id: str, chunk_index: int, text: str) -> str:
    """Name of a chunk: 32 hexadecimal digits, a hash of page id, index and text."""
    digest = hashlib.blake2b(digest_size=16)
    page_bytes = page_id.encode()
    # Lengths come first, so that no other split of the same bytes gives the same hash.
    digest.update(len(page_bytes).to_bytes(8, "big") + page_bytes)
    digest.update(chunk_index.to_bytes(8, "big"))
    digest.update(text.encode())
    return digest.hexdigest()


def find_cuts(
    offsets: NDArray[np.int64], length: int, chunk_tokens: int
) -> tuple[list[int], list[int]]:
    """Where to cut a text, and how many tokens each stretch has.

    Args:
        offsets: (tokens, 2) start and end of each token, in characters.
        length: of the text, in characters; at least 1.

    Returns the ends of the stretches (the last is `length`) and their token counts.
    """
    starts, ends = offsets[offsets[:, 0] < offsets[:, 1]].T
    if len(starts) <= chunk_tokens:
        return [length], [len(starts)]
    reach = np.maximum.accumulate(ends)
    legal = np.append(np.flatnonzero(starts[1:] >= reach[:-1]) + 1, len(starts))
    cuts: list[int] = []
    counts: list[int] = []
    token = 0
    while token < len(starts):
        position = int(np.searchsorted(legal, token + chunk_tokens, side="right")) - 1
        if position < 0 or legal[position] <= token:
            position += 1
        following = int(legal[position])
        cuts.append(int(starts[following]) if following < len(starts) else length)
        counts.append(following - token)
        token = following
    return cuts, counts


def _batches(texts: Iterable[str], piece_chars: int) -> Iterator[list[str]]:
    """Batches of texts; one that is longer than a piece is a batch of its own."""
    batch: list[str] = []
    char_count = 0
    for text in texts:
        is_long = len(text) > piece_chars
        if batch and (is_long or len(batch) == BATCH_PAGES or char_count + len(text) > BATCH_CHARS):
            yield batch
            batch, char_count = [], 0
        batch.append(text)
        char_count += len(text)
        if is_long:
            yield batch
            batch, char_count = [], 0
    if batch:
        yield batch


def _encode(inner: Any, texts: list[str]) -> list[Any]:
    try:
        return inner.encode_batch(texts, add_special_tokens=False)
    except TypeError as error:
        if not any(replace_invalid(text)[2] for text in texts):
            raise
        raise PcorrError(
            "a text holds a lone surrogate, which tokenizers refuse: replace it first with "
            "pcorr_assets.text.cleaning.replace_invalid"
        ) from error


def _cut_batch(
    texts: list[str],
    encodings: Future[list[Any]],
    inner: Any,
    chunk_tokens: int,
    piece_chars: int,
) -> Iterator[tuple[list[Chunk], bool]]:
    for text, encoding in zip(texts, encodings.result(), strict=True):
        begin = 0
        while begin < len(text):
            end = min(begin + piece_chars, len(text))
            if begin:
                encoding = _encode(inner, [text[begin:end]])[0]
            cuts, counts = find_cuts(_offsets(encoding), end - begin, chunk_tokens)
            if end < len(text) and len(cuts) > 1:
                # The last stretch goes on in the next piece.
                del cuts[-1], counts[-1]
            edges = [begin, *(begin + cut for cut in cuts)]
            begin = edges[-1]
            yield (
                [
                    Chunk(text[start:stop], count)
                    for start, stop, count in zip(edges, edges[1:], counts, strict=False)
                ],
                begin == len(text),
            )
        if not text:
            yield [], True


def _offsets(encoding: Any) -> NDArray[np.int64]:
    flat = np.fromiter(chain.from_iterable(encoding.offsets), np.int64, 2 * len(encoding))
    return flat.reshape(-1, 2)
