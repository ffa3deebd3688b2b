"""Tokens per second of scoring on one GPU: this way, with a mask, and the straightforward way.

    .venv/bin/python scripts/bench_gpu.py                       # 160M, 1B and 7B in bfloat16
    .venv/bin/python scripts/bench_gpu.py --small --device cpu  # the same in seconds, on a CPU

LLMs with random weights are made on the device from a configuration; texts are random tokens with
the lengths that chunks of 512 tokens have: most are full, the last of each page is shorter. Ways:

- ours: batches of like lengths, no mask where the trial proves it, the output layer by slices, and
  the next batch made ready while one is scored
- in turn: the same with nothing made ready
- masked: the same in turn, with the mask, as it was before that was tried
- plain: padded batches of two in the order of the texts, all logits at once in float32

Belongs here: what needs a GPU. Does not belong here: what `make bench` measures on CPUs. Prints a
table for docs/performance.md, or one line where there is no GPU.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1])]

from scripts.benchmarks._scoring_ways import Units, batched, former, plain  # noqa: E402

CHUNK_TOKENS = 512
SHARE_OF_WHOLE_CHUNKS = 0.7
BATCH_TOKENS = 16_384
VOCABULARY = 50_304
# Width, layers, heads and inner width of Llama shapes; how many tokens are scored of each.
SHAPES = {
    "160M": ((768, 12, 12, 2048), 2_000_000),
    "1B": ((2048, 18, 16, 5632), 1_000_000),
    "7B": ((4096, 32, 32, 11008), 300_000),
}
SMALL = {"tiny": ((64, 2, 2, 128), 4_000)}


@dataclass(frozen=True)
class Way:
    """How texts are scored: `run` gives the sum of losses in nats."""

    name: str
    run: Callable[[Units], float]


def texts(token_count: int, vocabulary: int) -> list[np.ndarray]:
    """Random token ids (int32), of lengths as chunks have them, in the order of pages."""
    draw = np.random.default_rng(0)
    found: list[np.ndarray] = []
    total = 0
    while total < token_count:
        is_whole = draw.random() < SHARE_OF_WHOLE_CHUNKS
        length = CHUNK_TOKENS if is_whole else int(draw.integers(16, CHUNK_TOKENS))
        found.append(draw.integers(0, vocabulary, length).astype(np.int32))
        total += length
    return found


def ways(model: Any, sample: np.ndarray) -> Iterator[Way]:
    """Those that the docstring of the module names."""
    from pcorr_assets.lm.forward import prepare

    prepared = prepare(model, sample, "the benchmark's LLM")
    yield Way("ours", lambda units: ahead(prepared, units))
    yield Way("in turn", lambda units: batched(prepared, units, BATCH_TOKENS))
    yield Way("masked", lambda units: former(prepared, units, BATCH_TOKENS))
    yield Way("plain", lambda units: plain(model, units))


def ahead(prepared: Any, units: Units) -> float:
    """As the platform scores: the next batch made ready, losses fetched a batch late."""
    from pcorr_assets.lm.batching import plan_batches
    from pcorr_assets.lm.shards import ShardFolder
    from pcorr_assets.lm.work import PlannedTexts, Worker

    lengths = np.array([len(unit) for unit in units])
    plan = plan_batches(lengths, np.ones(len(units), dtype=bool), BATCH_TOKENS)
    texts = PlannedTexts(plan, np.concatenate(units), np.cumsum(lengths) - lengths)
    with tempfile.TemporaryDirectory() as folder:
        shards = ShardFolder(Path(folder), {}, plan)
        options = {"batch_tokens": BATCH_TOKENS, "seconds_per_shard": 30.0}
        worker = Worker(texts, prepared, shards, "the benchmark's LLM", **options)
        worker.run(iter(range(plan.batch_count)), lambda: False)
    return float(worker.nll.sum())


def make_model(shape: tuple[int, int, int, int], vocabulary: int, device: str) -> Any:
    """A Llama with random weights, in bfloat16 on a GPU and float32 on a CPU."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    width, layers, heads, inner = shape
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=inner,
        max_position_embeddings=2 * CHUNK_TOKENS,
        dtype=dtype,
        use_cache=False,
    )
    torch.manual_seed(0)
    with torch.device(device):
        model: Any = LlamaForCausalLM(config)
        return model.to(dtype).eval()


def measured(device: str, *, small: bool) -> Iterator[str]:
    """Rows of the table, as they are measured."""
    import torch

    from pcorr_assets.lm.cost import utilisation

    name = torch.cuda.get_device_name() if device == "cuda" else device
    vocabulary = 512 if small else VOCABULARY
    yield f"{name}, torch {torch.__version__}, batches of {BATCH_TOKENS:,} tokens\n"
    yield "| LLM | way | tokens/s | utilisation | peak memory above weights | against plain |"
    yield "|---|---|---:|---:|---:|---:|"
    for label, (shape, token_count) in (SMALL if small else SHAPES).items():
        model = make_model(shape, vocabulary, device)
        parameters = sum(weights.numel() for weights in model.parameters())
        units = texts(token_count, vocabulary)
        count = sum(map(len, units))
        rows: dict[str, tuple[float, float | None]] = {}
        expected: float | None = None
        for way in ways(model, next(unit for unit in units if len(unit) == CHUNK_TOKENS)):
            way.run(units[:8])  # kernels are chosen, memory is had
            seconds, peak, loss = timed(way, units, device)
            expected = loss if expected is None else expected
            if abs(loss / expected - 1) > 1e-3:
                raise SystemExit(f"{label}, {way.name}: the losses differ: {loss} and {expected}")
            rows[way.name] = (count / seconds, peak)
        for way, (rate, peak) in rows.items():
            used = utilisation(name, parameters, rate)
            yield (
                f"| {label} ({parameters / 1e6:,.0f}M) | {way} | {rate:,.0f} | "
                f"{'' if used is None else f'{used:.0%}'} | "
                f"{'' if peak is None else f'{peak / 2**30:.1f} GiB'} | "
                f"{rate / rows['plain'][0]:.1f} x |"
            )
        del model
        if device == "cuda":
            torch.cuda.empty_cache()


def timed(way: Way, units: Units, device: str) -> tuple[float, float | None, float]:
    """Seconds, peak memory in bytes above what was there (None on a CPU), and the loss."""
    import torch

    on_gpu = device == "cuda"
    before = torch.cuda.memory_allocated() if on_gpu else 0
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    started = time.perf_counter()
    loss = way.run(units)
    if on_gpu:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    return seconds, torch.cuda.max_memory_allocated() - before if on_gpu else None, loss


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--small", action="store_true", help="seconds, to see that it runs")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("No GPU is here, so nothing was measured.")
        return
    for line in measured(options.device, small=options.small):
        print(line, flush=True)


if __name__ == "__main__":
    main()
