"""BPB of an LLM on the chunks of a sample.

Belongs here: from chunks to a plan, and from sums of token losses to the rows of `chunk_bpb`.
Does not belong here: doing the plan (`session`), the order of the work (`batching`), reading
and writing tables (`jobs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pcorr_assets.lm.batching import BatchPlan, plan_batches
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.loading import context_length, special_tokens, tokenizer_sha256
from pcorr_assets.lm.session import (
    LEFT_OUT,
    Known,
    ScoringSettings,
    Session,
    StoppedError,
    Work,
)
from pcorr_assets.lm.shards import EFFECTIVE_BUDGET, ShardFolder
from pcorr_assets.lm.sizes import (
    AUTO,
    DEFAULT_BATCH_TOKENS,
    PLAN_FILE,
    SLICE,
    Agreement,
    Sizes,
    identity_of,
    measured,
    notes_of,
)
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

__all__ = [
    "ChunkScores", "ChunkTexts", "KnownScores", "Scoring", "ScoringSettings", "StoppedError",
    "combine",
]  # fmt: skip

# Raise it when a change of the code changes numbers: shards of another version are refused.
SCORING_VERSION = "1"
# Scores of another sample may be used where this is the same.
OF_THE_LLM = (
    "llm", "commit_sha", "dtype", "device", "tokenizer_sha256", "overlong", "scoring_version",
    "attn_implementation",
)  # fmt: skip
IDENTITY = (
    "attn_implementation", "sample", "llm", "chunks_sha256", "commit_sha", "dtype", "device",
    "tokenizer_sha256", "batch_tokens", "batch_plan_sha256", "overlong", "scoring_version", SLICE,
)  # fmt: skip


@dataclass(frozen=True)
class ChunkTexts:
    """The chunks to score, in their order: ids, texts, UTF-8 lengths (int64), table hash.

    `first` (bool) marks those that are planned before the others, in batches of their own.
    """

    sample: str
    chunk_ids: Sequence[str]
    texts: Sequence[str]
    byte_count: np.ndarray
    sha256: str
    first: np.ndarray | None = None


@dataclass(frozen=True)
class KnownScores:
    """Scores of some chunks from elsewhere, in the order of the chunks.

    `is_known` (bool) says which have one, `loss` and `bpb` are theirs (NaN elsewhere), `notes`
    what their table notes beside the rows.
    """

    is_known: np.ndarray
    loss: np.ndarray
    bpb: np.ndarray
    notes: Mapping[str, str]


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
    forward pass. `shard_folder` is where finished batches are kept until `finish`. With an
    `agreement` the sizes of batches and slices are those of all who score the same table; without
    one they are found out for this scoring alone.

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
        agreement: Agreement | None = None,
    ) -> None:
        self.resolved = resolved
        self.model = model
        self.tokenizer = tokenizer
        self.chunks = chunks
        self.shard_folder = shard_folder
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
        plan = partial(plan_batches, self.tokens.token_count, scored, context=window)
        self.asked = None if settings.finds_batch_tokens else settings.batch_tokens
        self.of_the_llm = self._of_the_llm(settings)
        self.sizes = self._sizes(plan(DEFAULT_BATCH_TOKENS), settings.helpers, agreement)
        self.settings = replace(settings, **asdict(self.sizes))
        self.plan = plan(self.sizes.batch_tokens, first=chunks.first)
        self.known: KnownScores | None = None
        self.identity = self._identity()

    def _sizes(self, plan: BatchPlan, helpers: Sequence[str], agreement: Agreement | None) -> Sizes:
        if self.asked is not None and self.model.device.type != "cuda":
            return Sizes(self.asked)
        if not plan.batch_count:
            return Sizes(self.asked or DEFAULT_BATCH_TOKENS)
        unit = PlannedTexts(plan, self.tokens.ids, self.tokens.offsets).unit(0)
        measure = partial(measured, self.model, unit, self.resolved.label, self.asked, helpers)
        if agreement is None:
            return measure()
        return agreement.sizes(self.shard_folder, self.of_the_llm, self.asked, measure)

    def _of_the_llm(self, settings: ScoringSettings) -> dict[str, str]:
        attention = self.resolved.spec.attn_implementation
        return {
            # Not stated where it is not set: shards from before it could be still hold.
            **({"attn_implementation": attention} if attention else {}),
            "llm": self.resolved.spec.key,
            "commit_sha": self.resolved.commit_sha,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.model.device.type,
            "tokenizer_sha256": tokenizer_sha256(self.tokenizer),
            "overlong": settings.overlong,
            "scoring_version": SCORING_VERSION,
        }

    def _identity(self) -> dict[str, str]:
        stated = {
            **self.of_the_llm,
            "sample": self.chunks.sample,
            "chunks_sha256": self.chunks.sha256,
            # The number that was found is in the plan: what was asked for is the same everywhere.
            "batch_tokens": AUTO if self.asked is None else str(self.asked),
            "batch_plan_sha256": self.plan.sha256(),
            **identity_of(self.sizes),
        }
        # In one order, since it is part of the bytes of a table.
        return {name: stated[name] for name in IDENTITY if name in stated}

    @property
    def notes(self) -> dict[str, str]:
        """What a table notes: its identity, and the sizes that were found."""
        return {**self.identity, **notes_of(self.sizes, self.asked)}

    def take_over(self, known: KnownScores) -> bool:
        """Use scores of the same LLM from another sample; False if they are of another.

        What is taken over are whole batches, so that the others are as they would be without.
        """
        mine = {name: self.of_the_llm.get(name) for name in OF_THE_LLM}
        theirs = {name: known.notes.get(name) for name in OF_THE_LLM}
        self.known = known if mine == theirs else None
        return self.known is not None

    def _known(self) -> Known | None:
        if self.known is None:
            return None
        lowered = self.known.notes.get(EFFECTIVE_BUDGET)
        mask = self.known.notes.get("attention_mask", LEFT_OUT)
        return Known(self._known_batches(), int(lowered) if lowered else None, mask)

    def _known_batches(self) -> np.ndarray:
        done = np.zeros(self.plan.batch_count, dtype=bool)
        if self.known is not None:
            unknown = ~self.known.is_known[self.plan.chunk]
            batch = np.repeat(np.arange(len(done)), np.diff(self.plan.bounds))
            done[:] = np.bincount(batch, weights=unknown, minlength=len(done)) == 0
        return done

    def run(self, stop: Callable[[], bool] = lambda: False) -> ChunkScores:
        """Score what no shard holds yet, and combine everything.

        `stop` is asked between batches; when it says yes, what is finished is written and
        `StoppedError` raised.

        Raises:
            PcorrError: not even one chunk fits into memory; or see `forward.prepare`.
        """
        work = self.work(stop)
        scores = combine(self.chunks, self.tokens, self.plan, work.finished.nll, self.identity)
        taken = self._take(scores)
        scores.report = {**work.report, **self._report(scores), "taken_over_chunks": taken}
        return scores

    def _take(self, scores: ChunkScores) -> int:
        """Put the scores of chunks that are known into their places; how many there are."""
        if self.known is None:
            return 0
        batch = np.repeat(np.arange(self.plan.batch_count), np.diff(self.plan.bounds))
        is_scored = np.zeros(len(scores.loss), dtype=bool)
        is_scored[self.plan.chunk[~self._known_batches()[batch]]] = True
        taken = self.known.is_known & ~is_scored
        scores.loss[taken] = self.known.loss[taken]
        scores.bpb[taken] = self.known.bpb[taken]
        return int(taken.sum())

    def work(self, stop: Callable[[], bool] = lambda: False) -> Work:
        """Score what no shard holds yet; see `run`."""
        texts = PlannedTexts(self.plan, self.tokens.ids, self.tokens.offsets)
        session = Session(
            self.resolved, self.model, texts, self.identity, self.settings, self._known()
        )
        return session.run(self.shard_folder, stop)

    def finish(self) -> None:
        """Remove the shards, once the scores are safe elsewhere."""
        (self.shard_folder / PLAN_FILE).unlink(missing_ok=True)
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
