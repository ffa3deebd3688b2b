"""Tokenising chunks, once, with an LLM's own tokenizer.

Belongs here: the token ids of all chunks and what they say about the tokenizer, and the
check against the LLM's context. Does not belong here: the order of the work
(`batching`) and cutting texts into chunks (`text`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.causes import errors_belong_to_llm
from pcorr_assets.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS_PER_CALL = 256
UNK_SHARE_TO_WARN = 0.01


@dataclass(frozen=True)
class TokenisedChunks:
    """Token ids of all chunks, one after the other.

    `ids` (int32, one entry a token), `offsets` (int64, one entry a chunk and one more:
    chunk i is `ids[offsets[i]:offsets[i + 1]]`), `unk_count` (int64, one entry a chunk).
    """

    ids: np.ndarray
    offsets: np.ndarray
    unk_count: np.ndarray

    @property
    def token_count(self) -> np.ndarray:
        """Tokens of each chunk, specials included (int64)."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1


def tokenise(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], label: str
) -> TokenisedChunks:
    """Tokenise every text as the tokenizer does by default, specials included.

    Nothing is truncated or padded. A token is unknown if it is the tokenizer's unknown
    token; tokenizers that use one id for that and for the start or end of a text (GPT-2)
    have byte-level vocabularies, which know everything.

    Raises:
        PcorrError: the tokenizer fails on a text.
    """
    unk = tokenizer.unk_token_id
    if unk in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        unk = None
    parts: list[np.ndarray] = []
    unks: list[int] = []
    with Progress(f"tokenise for {label}", total=len(texts), unit="chunks") as progress:
        for start in range(0, len(texts), TEXTS_PER_CALL):
            batch = list(texts[start : start + TEXTS_PER_CALL])
            with errors_belong_to_llm(label, "tokenizer, on a text,"):
                encoded: Any = tokenizer(
                    batch,
                    truncation=False,
                    padding=False,
                    return_attention_mask=False,
                    return_token_type_ids=False,
                    verbose=False,
                )
            for ids in encoded["input_ids"]:
                tokens = np.asarray(ids, dtype=np.int32)
                parts.append(tokens)
                unks.append(0 if unk is None else int((tokens == unk).sum()))
            progress.update(len(batch))
    lengths = np.fromiter((len(part) for part in parts), dtype=np.int64, count=len(parts))
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
    ids = np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)
    return TokenisedChunks(ids, offsets, np.asarray(unks, dtype=np.int64))


def check_vocabulary(tokens: TokenisedChunks, embedding_count: int | None, label: str) -> None:
    """PcorrError if the tokenizer gives ids that the model has no embedding for."""
    if not len(tokens.ids):
        return
    problem = vocabulary_problem(int(tokens.ids.max()), embedding_count, label)
    if problem:
        raise PcorrError(problem)


def vocabulary_problem(largest: int, embedding_count: int | None, label: str) -> str | None:
    """What is wrong if the largest token id is too large; None if nothing is, or none is known."""
    if embedding_count is None or largest < embedding_count:
        return None
    return (
        f"The tokenizer of {label} gives token id {largest}, but the model has only "
        f"{embedding_count} embeddings: model and tokenizer do not belong together."
    )


def embedding_count(model: PreTrainedModel) -> int | None:
    """How many token ids a model knows; None where its input layer does not say."""
    return getattr(model.get_input_embeddings(), "num_embeddings", None)


def check_context(
    tokens: TokenisedChunks,
    chunk_ids: Sequence[str],
    context: int | None,
    overlong: str,
    label: str,
) -> np.ndarray:
    """Which chunks are longer than the LLM's context (bool, one entry a chunk).

    Raises:
        PcorrError: there are such chunks and `overlong` is `error`; it names the longest.
    """
    if context is None or not len(tokens):
        return np.zeros(len(tokens), dtype=bool)
    too_long = tokens.token_count > context
    if overlong == "error" and too_long.any():
        worst = int(tokens.token_count.argmax())
        raise PcorrError(
            f"{int(too_long.sum())} of {len(tokens)} chunks are longer than the context of "
            f"{label}: chunk {chunk_ids[worst]} has {int(tokens.token_count[worst])} tokens of "
            f"its tokenizer, the context has {context}. Make chunks shorter (`chunk_tokens` of "
            "the sample), or say for this LLM what to do with them: `overlong: nan` leaves them "
            "out, `overlong: window` scores them in windows of the context."
        )
    return too_long


def tokenizer_warnings(tokens: TokenisedChunks, *, adds_eos: bool, label: str) -> list[str]:
    """What a user should know about the tokenizer before trusting its BPB."""
    warnings: list[str] = []
    total = int(tokens.token_count.sum())
    share = int(tokens.unk_count.sum()) / total if total else 0.0
    if share > UNK_SHARE_TO_WARN:
        warnings.append(
            f"{share:.1%} of the tokens of {label} are unknown to its tokenizer: its BPB is too "
            "low on texts it cannot read, so consider leaving it out"
        )
    if adds_eos:
        warnings.append(
            f"The tokenizer of {label} appends an end-of-text token, whose loss is part of the "
            "BPB: chunks that end in the middle of a text look harder than they are"
        )
    return warnings
