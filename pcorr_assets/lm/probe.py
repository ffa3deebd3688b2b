"""Whether an LLM can be used here and what it will cost, before it is put on the list.

Belongs here: what its files say of it, how its tokenizer takes the chunks that there are,
and one short forward pass. Does not belong here: scoring (`scoring`), and the list of LLMs
(`config.editing`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.checkpoints import dtype_name, plain_dtype, text_parameter_count
from pcorr_assets.lm.cost import Measured, fit, usual_kind
from pcorr_assets.lm.hub import describe_repository
from pcorr_assets.lm.identity import ResolvedLLM, resolve
from pcorr_assets.lm.loading import ANY_TEXT, folder_of
from pcorr_assets.lm.placement import weight_bytes
from pcorr_assets.lm.tokens import check_context, check_vocabulary, embedding_count, tokenise
from pcorr_assets.lm.weights import weight_files
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from pcorr_assets.config import LLMSpec

LONGEST_CHUNKS = 500
EVEN_CHUNKS = 1500
FORWARD_TOKENS = 64


@dataclass(frozen=True)
class SampleCost:
    """The chunks of a sample as the LLM's tokenizer takes them.

    `token_count` is exact if all chunks were looked at, else scaled by bytes. The longest
    chunks in bytes are always among those looked at; `longest` is in tokens.
    """

    sample: str
    chunk_count: int
    looked_at: int
    token_count: int
    longest: int
    overlong_count: int


@dataclass(frozen=True)
class Finding:
    """What is known of an LLM without its weights.

    `weight_bytes` is the memory of its weights in `dtype` (that which `auto` means on this
    machine). `download_bytes` is what is not in the cache yet, None where the hub does not
    say. `text` is what a forward pass is tried on.
    """

    resolved: ResolvedLLM
    architecture: str
    parameter_count: int
    context_length: int | None
    dtype: str
    weight_bytes: int
    download_bytes: int | None
    samples: tuple[SampleCost, ...]
    warnings: tuple[str, ...]
    text: str = ANY_TEXT

    @property
    def token_count(self) -> int:
        """Tokens to score, over all samples."""
        return sum(sample.token_count for sample in self.samples)

    @property
    def operations(self) -> float:
        """Floating-point operations of scoring them: two for each parameter and token."""
        return 2.0 * self.parameter_count * self.token_count


def look_at(
    spec: LLMSpec, wh: Warehouse, chunk_tokens: Mapping[str, int], scratch: Path
) -> Finding:
    """Everything that can be told of an LLM without its weights.

    `chunk_tokens` are the text samples with their setting of that name; those that are
    chunked are tokenised. `scratch` is an empty folder for the LLM's small files.

    Raises:
        PcorrError: no such LLM, no access, not a causal language model, weights that may
            not be loaded, code that is not trusted, a tokenizer that does not fit, or
            chunks that are longer than its context while `overlong` is `error`.
    """
    from pcorr_assets.lm.loading import (
        choose_device,
        choose_dtype,
        context_length,
        load_skeleton,
        load_tokenizer,
        quantisation_of,
    )

    resolved = resolve(spec)
    described, download_bytes, file_bytes = _without_weights(resolved, scratch)
    skeleton = load_skeleton(described)
    tokenizer = load_tokenizer(described)
    context = context_length(skeleton.config)
    embeddings = embedding_count(skeleton)
    samples: list[SampleCost] = []
    warnings: list[str] = []
    text = ANY_TEXT
    for sample, setting in chunk_tokens.items():
        if wh.exists("chunks", sample):
            cost, texts = _sample_cost(wh, sample, tokenizer, spec, context, embeddings)
            samples.append(cost)
            text = next((found for found in texts if len(found) > 1), text)
            warnings += _overlong(cost, spec, context)
        else:
            warnings += _not_chunked(sample, setting, context)
    dtype = choose_dtype(spec.dtype, choose_device())
    return Finding(
        resolved=resolved,
        architecture=type(skeleton).__name__,
        parameter_count=text_parameter_count(skeleton),
        context_length=context,
        dtype=dtype_name(dtype, quantisation_of(described, skeleton.config)),
        weight_bytes=weight_bytes(skeleton, dtype, file_bytes),
        download_bytes=download_bytes,
        samples=tuple(samples),
        warnings=tuple(warnings),
        text=text,
    )


def try_out(finding: Finding) -> float:
    """Load the LLM in full and score a few tokens: their mean loss in nats.

    Raises:
        PcorrError: it does not fit into memory, cannot be loaded, or its loss is not finite.
    """
    from pcorr_assets.lm.forward import prepare
    from pcorr_assets.lm.loading import choose_device, load_model, load_tokenizer

    device = choose_device()
    _refuse_what_does_not_fit(finding, device)
    label = finding.resolved.label
    tokenizer = load_tokenizer(finding.resolved)
    ids = tokenise(tokenizer, [finding.text], label).ids
    ids = ids[: min(FORWARD_TOKENS, finding.context_length or FORWARD_TOKENS)]
    if len(ids) < 2:
        raise PcorrError(f"The tokenizer of {label} makes {len(ids)} tokens of a whole text.")
    dtype = plain_dtype(finding.dtype)
    model = prepare(load_model(finding.resolved, device, dtype), ids, label)
    loss = float(model.nll([ids])[0]) / (len(ids) - 1)
    if not math.isfinite(loss):
        raise PcorrError(
            f"The loss of {label} in {finding.dtype} on a few tokens is {loss}. Try another dtype "
            "(some LLMs overflow in float16); if it stays so, its weights are damaged."
        )
    return loss


def seconds_to_score(finding: Finding, measured: Sequence[Measured]) -> float | None:
    """Seconds of one device for scoring it, from LLMs that were scored; None if none was."""
    kind = usual_kind(measured)
    rate = fit(measured, kind) if kind else None
    return rate.seconds(finding.parameter_count, finding.token_count) if rate else None


def _without_weights(
    resolved: ResolvedLLM, scratch: Path
) -> tuple[ResolvedLLM, int | None, int | None]:
    """The LLM as a folder that need not have weights, bytes to be downloaded, and of its files.

    A GGUF file is downloaded: nothing else says what it holds.
    """
    spec = resolved.spec
    if spec.path is not None or spec.gguf_file is not None:
        folder = folder_of(resolved)
        files = weight_files(
            folder, resolved.label, allow_pickle=spec.allow_pickle, gguf_file=spec.gguf_file
        )
        return resolved, 0, sum((folder / file).stat().st_size for file in files)
    assert spec.name is not None
    repository = describe_repository(
        spec.name,
        resolved.commit_sha,
        scratch,
        allow_pickle=spec.allow_pickle,
        subfolder=spec.subfolder,
    )
    local = replace(spec, name=None, path=repository.folder, subfolder=None)
    described = ResolvedLLM(local, resolved.commit_sha)
    return described, repository.missing_bytes, repository.byte_count


def _sample_cost(
    wh: Warehouse,
    sample: str,
    tokenizer: PreTrainedTokenizerBase,
    spec: LLMSpec,
    context: int | None,
    embeddings: int | None,
) -> tuple[SampleCost, list[str]]:
    byte_count = wh.read("chunks", sample, columns=["byte_count"])[0].to_numpy()
    rows, even = _rows_to_look_at(byte_count)
    chunk_ids, texts = _chunks(wh, sample, rows)
    tokens = tokenise(tokenizer, texts, spec.key)
    check_vocabulary(tokens, embeddings, spec.key)
    too_long = check_context(tokens, chunk_ids, context, spec.overlong, spec.key)
    count = tokens.token_count
    total = int(count.sum())
    if len(rows) < len(byte_count):
        share = count[even].sum() / max(int(byte_count[rows[even]].sum()), 1)
        total = round(float(share) * int(byte_count.sum()))
    longest = int(count.max()) if len(count) else 0
    cost = SampleCost(sample, len(byte_count), len(rows), total, longest, int(too_long.sum()))
    return cost, texts


def _rows_to_look_at(byte_count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers (int64, ascending) and which of them (bool) are an even sample."""
    count = len(byte_count)
    if count <= LONGEST_CHUNKS + EVEN_CHUNKS:
        return np.arange(count), np.ones(count, dtype=bool)
    even = np.linspace(0, count - 1, EVEN_CHUNKS).astype(np.int64)
    longest = np.argpartition(byte_count, -LONGEST_CHUNKS)[-LONGEST_CHUNKS:]
    rows = np.union1d(even, longest)
    return rows, np.isin(rows, even)


def _chunks(wh: Warehouse, sample: str, rows: np.ndarray) -> tuple[list[str], list[str]]:
    """Ids and texts of some chunks, never all texts at once."""
    chunk_ids: list[str] = []
    texts: list[str] = []
    start = 0
    with wh.open("chunks", sample) as file:
        for batch in file.iter_batches(columns=["chunk_id", "text"]):
            wanted = rows[(rows >= start) & (rows < start + batch.num_rows)] - start
            found = batch.take(wanted.tolist())
            chunk_ids += found["chunk_id"].to_pylist()
            texts += found["text"].to_pylist()
            start += batch.num_rows
    return chunk_ids, texts


def _overlong(cost: SampleCost, spec: LLMSpec, context: int | None) -> list[str]:
    if not cost.overlong_count:
        return []
    done = "left out (NaN)" if spec.overlong == "nan" else "scored in windows of the context"
    return [
        f"{cost.overlong_count} of the {cost.looked_at} chunks of {cost.sample} that were looked "
        f"at are longer than its context of {context} tokens; they will be {done}"
    ]


def _not_chunked(sample: str, chunk_tokens: int, context: int | None) -> list[str]:
    said = f"sample {sample} is not chunked yet, so its tokens were not counted"
    if context is not None and context < chunk_tokens:
        said += (
            f"; its chunks of {chunk_tokens} tokens will not fit the context of {context}, see "
            "`overlong`"
        )
    return [said]


def _refuse_what_does_not_fit(finding: Finding, device: str) -> None:
    free = free_memory_bytes(device)
    if free is not None and finding.weight_bytes > free:
        raise PcorrError(
            f"The weights of {finding.resolved.label} need {finding.weight_bytes / 1e9:.1f} GB in "
            f"{finding.dtype}, and {free / 1e9:.1f} GB are free on this machine ({device}). If "
            "it is to run elsewhere, add it without loading it here: --no-load."
        )


def free_memory_bytes(device: str) -> int | None:
    """Memory that is free on a device; None where that is not known."""
    import torch

    if device.startswith("cuda"):
        return int(torch.cuda.mem_get_info()[0])
    try:
        for line in Path("/proc/meminfo").read_text("utf-8").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return None
