"""Speed of chunking: batches on all cores, against mapping one document at a time.

Belongs here: pages of real English (the handbook that comes with Python), a byte-level
tokenizer made from them, and both ways of cutting them. Does not belong here: printing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.text.chunking import chunk_texts, find_cuts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

CHUNK_TOKENS = 512
PAGE_CHARS = 5_000
VOCAB_SIZE = 8_000


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` takes a tenth of the pages."""
    handbook = "\n\n".join(topics.values())
    tokenizer = _make_tokenizer(handbook)
    page_count = 400 if quick else 4_000
    step = max((len(handbook) - PAGE_CHARS) // page_count, 1)
    pages = [handbook[step * i : step * i + PAGE_CHARS] for i in range(page_count)]
    warm_up = pages[:64]
    _ours(warm_up, tokenizer)
    _one_at_a_time(warm_up, tokenizer)
    other_seconds, (other_tokens, other_chunks) = _timed(lambda: _one_at_a_time(pages, tokenizer))
    ours_seconds, (tokens, chunks) = _timed(lambda: _ours(pages, tokenizer))
    if (tokens, chunks) != (other_tokens, other_chunks):
        raise AssertionError("the two ways of chunking disagree")
    return [
        {
            "name": f"chunking {page_count:,} pages of {PAGE_CHARS:,} characters",
            "ours_seconds": ours_seconds,
            "other": "datasets.map, one document at a time",
            "other_seconds": other_seconds,
            "ratio": other_seconds / ours_seconds,
            "note": (
                f"{tokens / ours_seconds / 1e6:.2f} M tokens/s against "
                f"{tokens / other_seconds / 1e6:.2f} M; {chunks:,} equal chunks"
            ),
        }
    ]


def _make_tokenizer(text: str) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=10**9)


def _timed(work: Callable[[], tuple[int, int]]) -> tuple[float, tuple[int, int]]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def _ours(pages: list[str], tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """Tokens and chunks of the pages."""
    chunks = [chunk for found in chunk_texts(pages, tokenizer, CHUNK_TOKENS) for chunk in found]
    return sum(chunk.token_count for chunk in chunks), len(chunks)


def _one_at_a_time(pages: list[str], tokenizer: PreTrainedTokenizerFast) -> tuple[int, int]:
    """The same by `datasets.map`, as chunking is usually written."""
    import datasets

    def cut(row: dict[str, str]) -> dict[str, list[Any]]:
        text = row["text"]
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        offsets = np.array(encoded["offset_mapping"], dtype=np.int64).reshape(-1, 2)
        cuts, counts = find_cuts(offsets, len(text), CHUNK_TOKENS)
        starts = [0, *cuts[:-1]]
        return {
            "chunks": [text[a:b] for a, b in zip(starts, cuts, strict=True)],
            "token_counts": counts,
        }

    bars_were_shown = datasets.are_progress_bars_disabled() is False
    datasets.disable_progress_bars()
    rows = datasets.Dataset.from_dict({"text": pages})
    cut_rows = rows.map(cut, keep_in_memory=True, load_from_cache_file=False)
    if bars_were_shown:
        datasets.enable_progress_bars()
    counts = [count for row in cut_rows["token_counts"] for count in row]
    return sum(counts), len(counts)
