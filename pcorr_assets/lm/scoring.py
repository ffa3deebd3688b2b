"""BPB of an LLM on the chunks of a sample.

Belongs here: from chunks to a plan, and from sums of token losses to the rows of `chunk_bpb`.
Does not belong here: doing the plan (`session`), the order of the work (`batching`), reading
and writing tables (`jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.lm.batching import BatchPlan, plan_batches
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.loading import context_length, special_tokens, tokenizer_sha256
from pcorr_assets.lm.session import ScoringSettings, Session, StoppedError, Work
from pcorr_assets.lm.shards import ShardFolder
from pcorr_assets.lm.tokens import (
    TokenisedChunks,
    check_context,
    check_vocabulary,
    embedding_count,
    tokenise,
    tokenizer_warnings,
)
from pcorr_assets.lm.work import PlannedTexts

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["ChunkScores", "ChunkTexts", "Scoring", "ScoringSettings", "StoppedError", "combine"]

# Raise it when a change of the code changes numbers: shards of another version are refused.
SCORING_VERSION = "1"


@dataclass(frozen=True)
class ChunkTexts:
    """The chunks to score, in their order: ids, texts, UTF-8 lengths (int64), table hash."""

    sample: str
    chunk_ids: Sequence[str]
    texts: Sequence[str]
    byte_count: np.ndarray
    sha256: str


@dataclass
class ChunkScores:
    """Scores in the order of the chunks; `loss` and `bpb` are NaN where undefined.

    `identity` is what the numbers depend on, `report` what a user wants to know.
    """

    loss: np.ndarray
    token_count: np.ndarray
    unk_count: np.ndarray
    bpb: np.ndarray
    identity: dict[str, str]
    report: dict[str, Any] = field(default_factory=dict)

    def to_table(self, chunks: ChunkTexts, llm: str) -> pa.Table:
        """The rows of the table `chunk_bpb`."""
        count = len(chunks.chunk_ids)
        return pa.table(
            {
                "sample": pa.array([chunks.sample], pa.string()).take(pa.array([0] * count)),
                "llm": pa.array([llm], pa.string()).take(pa.array([0] * count)),
                "chunk_id": pa.array(chunks.chunk_ids, pa.string()),
                "loss": pa.array(self.loss),
                "token_count": pa.array(self.token_count),
                "byte_count": pa.array(chunks.byte_count),
                "bpb": pa.array(self.bpb),
                "unk_count": pa.array(self.unk_count),
            }
        )


class Scoring:
    """The scoring of one LLM on one sample, from tokens to scores.

    Making one tokenises all chunks and checks them against the LLM's context, before any
    forward pass. `shard_folder` is where finished batches are kept until `finish`.

    Raises:
        PcorrError: chunks longer than the context (with `overlong: error`), or a
            tokenizer that does not belong to the model.
    """

    def __init__(
        self,
        resolved: ResolvedLLM,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        chunks: ChunkTexts,
        settings: ScoringSettings,
        shard_folder: Path,
    ) -> None:
        self.resolved = resolved
        self.model = model
        self.tokenizer = tokenizer
        self.chunks = chunks
        self.settings = settings
        self.tokens = tokenise(tokenizer, chunks.texts, resolved.label)
        check_vocabulary(self.tokens, embedding_count(model), resolved.label)
        context = context_length(model.config)
        self.too_long = check_context(
            self.tokens, chunks.chunk_ids, context, settings.overlong, resolved.label
        )
        scored = chunks.byte_count > 0
        if settings.overlong == "nan":
            scored &= ~self.too_long
        window = context if settings.overlong == "window" else None
        self.plan = plan_batches(self.tokens.token_count, scored, settings.batch_tokens, window)
        self.identity = self._identity()
        self.shard_folder = shard_folder

    def _identity(self) -> dict[str, str]:
        return {
            "sample": self.chunks.sample,
            "llm": self.resolved.spec.key,
            "chunks_sha256": self.chunks.sha256,
            "commit_sha": self.resolved.commit_sha,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "tokenizer_sha256": tokenizer_sha256(self.tokenizer),
            "batch_tokens": str(self.settings.batch_tokens),
            "batch_plan_sha256": self.plan.sha256(),
            "overlong": self.settings.overlong,
            "scoring_version": SCORING_VERSION,
        }

    def run(self, stop: Callable[[], bool] = lambda: False) -> ChunkScores:
        """Score what no shard holds yet, and combine everything.

        `stop` is asked between batches; when it says yes, what is finished is written and
        `StoppedError` raised.

        Raises:
            PcorrError: not even one chunk fits into memory; or see `forward.prepare`.
        """
        work = self.work(stop)
        scores = combine(self.chunks, self.tokens, self.plan, work.finished.nll, self.identity)
        scores.report = {**work.report, **self._report(scores)}
        return scores

    def work(self, stop: Callable[[], bool] = lambda: False) -> Work:
        """Score what no shard holds yet; see `run`."""
        texts = PlannedTexts(self.plan, self.tokens.ids, self.tokens.offsets)
        return Session(self.resolved, self.model, texts, self.identity, self.settings).run(
            self.shard_folder, stop
        )

    def finish(self) -> None:
        """Remove the shards, once the scores are safe elsewhere."""
        ShardFolder(self.shard_folder, self.identity, self.plan).clear()

    def _report(self, scores: ChunkScores) -> dict[str, Any]:
        label = self.resolved.label
        undefined = np.isnan(scores.loss)
        short = (self.tokens.token_count < 2) | (self.chunks.byte_count == 0)
        left_out = self.too_long if self.settings.overlong == "nan" else np.zeros_like(short)
        broken = int((undefined & ~short & ~left_out).sum())
        adds_eos = bool(special_tokens(self.tokenizer)[1])
        warnings = tokenizer_warnings(self.tokens, adds_eos=adds_eos, label=label)
        if broken:
            warnings.append(
                f"{broken} chunks have a loss of {label} that is not finite; they count as NaN"
            )
        if left_out.any():
            warnings.append(
                f"{int(left_out.sum())} chunks are longer than the context of {label}; NaN"
            )
        total = int(self.tokens.token_count.sum())
        return {
            "token_count": total,
            "nan_count": int(undefined.sum()),
            "not_finite_count": broken,
            "overlong_count": int(self.too_long.sum()),
            "unk_share": int(self.tokens.unk_count.sum()) / total if total else 0.0,
            "batch_count": self.plan.batch_count,
            "padding_share": self.plan.padding_share,
            "batch_plan_sha256": self.identity["batch_plan_sha256"],
            "dtype": self.identity["dtype"],
            "device": self.identity["device"],
            "warnings": warnings,
        }


def combine(
    chunks: ChunkTexts,
    tokens: TokenisedChunks,
    plan: BatchPlan,
    nll: np.ndarray,
    identity: dict[str, str],
) -> ChunkScores:
    """From sums of token losses (nats, one a unit) to the scores of chunks.

    loss = sum / predicted tokens; BPB = (token_count / byte_count) * loss / ln 2
    (arXiv 2409.05816, section 4; bits of the whole text extrapolated from the predicted
    tokens). A chunk that a unit of which has no finite loss, or that has nothing to
    predict, is NaN.
    """
    count = len(chunks.chunk_ids)
    total = np.bincount(plan.chunk, weights=nll, minlength=count)
    predicted = np.bincount(plan.chunk, weights=plan.length - 1, minlength=count)
    token_count = tokens.token_count
    with np.errstate(invalid="ignore", divide="ignore"):
        loss = total / predicted
        loss = np.where(np.isfinite(loss), loss, np.nan)
        bpb = token_count / chunks.byte_count * loss / np.log(2)
    bpb = np.where(np.isfinite(bpb), bpb, np.nan)
    return ChunkScores(loss, token_count, tokens.unk_count, bpb, identity)
