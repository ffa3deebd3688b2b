"""Tokens per second and memory of scoring, against the ways of `_scoring_ways`.

Same model, texts, dtype and threads; each way runs in a process of its own, so that its peak
memory is its own. The model is that of PCORR_SMOLLM2 (scripts/fetch_smollm2.py) or, without it,
a random Llama of about its proportions: a small body and a vocabulary of 49,152. A tiny one is
scored by one process of two threads and by two of one, whose loading counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

THREADS = 2
LONGEST_WORDS = 380
STOCK = """the of and to in a is that for it was on as with his they at be this from have or by one
had not but what all were when we there can an your which their said if do will each about how up
out them then she many some so these would other into has more her two"""
WAYS = ("ours", "two processes", "former", "plain")
WORKERS = {"two processes": 2}


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Our seconds against each other way; tokens per second and peak memory in the notes."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("PCORR_SMOLLM2") or _random_llama(Path(temporary) / "llm"))
        texts = Path(temporary) / "texts.json"
        texts.write_text(json.dumps(_texts(12 if quick else 48)))
        ours, former, plain = (_measure(way, folder, texts) for way in ("ours", "former", "plain"))
        tiny = _random_llama(Path(temporary) / "tiny", width=64, layers=2, vocabulary=2048)
        texts.write_text(json.dumps(_texts(200 if quick else 4000)))
        one, two = (_measure(way, tiny, texts) for way in ("ours", "two processes"))
    name = f"score {ours['tokens']:,.0f} tokens, {folder.name}, float32, CPU, 2 threads"
    return [
        _row(name, ours, "with a mask, no batch made ready", former),
        _row(name, ours, "padded batches of 2, full float logits", plain),
        _row(
            f"score {two['tokens']:,.0f} tokens, tiny Llama, 2 processes of 1 thread, one loaded",
            two,
            "1 process of 2 threads",
            one,
        ),
    ]


def _row(name: str, ours: dict[str, float], other: str, its: dict[str, float]) -> dict[str, Any]:
    return {
        "name": name,
        "ours_seconds": ours["seconds"],
        "other": other,
        "other_seconds": its["seconds"],
        "ratio": its["seconds"] / ours["seconds"],
        "note": (
            f"{ours['tokens'] / ours['seconds']:,.0f} against "
            f"{its['tokens'] / its['seconds']:,.0f} tokens/s; peak memory above the "
            f"loaded model {ours['megabytes']:,.0f} against {its['megabytes']:,.0f} MB; "
            f"sums of losses differ by {abs(ours['nll'] / its['nll'] - 1):.0e} relative"
        ),
    }


def _measure(way: str, folder: Path, texts: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, way, str(folder), str(texts)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    return json.loads(done.stdout.splitlines()[-1])


def _texts(count: int) -> list[str]:
    """English-like texts from 1/8 to the whole of a 512-token chunk."""
    import random

    stock = STOCK.split()
    draw = random.Random(0)
    return [
        " ".join(draw.choices(stock, k=draw.randint(LONGEST_WORDS // 8, LONGEST_WORDS)))
        for _ in range(count)
    ]


def _random_llama(
    folder: Path, width: int = 384, layers: int = 12, vocabulary: int = 49_152
) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = sorted({word for text in _texts(40) for word in text.split()})
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["?", *words])}, "?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        intermediate_size=width * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=max(1, width // 64),
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _work(way: str, folder: Path, texts: list[str]) -> dict[str, float]:
    import torch

    from pcorr_assets.config import LLMSpec
    from pcorr_assets.lm.forward import prepare
    from pcorr_assets.lm.loading import load_model, load_tokenizer, peak_memory_bytes, resolve
    from pcorr_assets.lm.session import ScoringSettings
    from pcorr_assets.lm.tokens import tokenise
    from scripts.benchmarks._scoring_ways import former, plain

    workers = WORKERS.get(way, 1)
    torch.set_num_threads(THREADS // workers)
    resolved = resolve(LLMSpec(key="model", family="benchmark", path=folder))
    model, tokenizer = load_model(resolved, "cpu", "float32"), load_tokenizer(resolved)
    before = peak_memory_bytes("cpu")
    started = time.perf_counter()
    if way in ("plain", "former"):
        tokens = tokenise(tokenizer, texts, "model")
        bounds = tokens.offsets.tolist()
        units = [tokens.ids[a : a + n] for a, n in zip(bounds, tokens.token_count, strict=False)]
        if way == "plain":
            nll = plain(model, units)
        else:
            longest = max(units, key=len)
            nll = former(prepare(model, longest, "model"), units, ScoringSettings.batch_tokens)
        count = int(tokens.token_count.sum())
    else:
        nll, count = _ours(resolved, model, tokenizer, texts, ("cpu",) * (workers - 1))
    seconds = time.perf_counter() - started
    megabytes = (peak_memory_bytes("cpu") - before) / 1e6
    return {"seconds": seconds, "tokens": count, "megabytes": megabytes, "nll": nll}


def _ours(
    resolved: Any, model: Any, tokenizer: Any, texts: list[str], helpers: tuple[str, ...]
) -> tuple[float, int]:
    import numpy as np

    from pcorr_assets.lm.scoring import ChunkTexts, Scoring, ScoringSettings

    byte_count = np.asarray([len(text.encode()) for text in texts])
    chunks = ChunkTexts("benchmark", [str(i) for i in range(len(texts))], texts, byte_count, "")
    with tempfile.TemporaryDirectory() as shards:
        settings = ScoringSettings(helpers=helpers)
        scores = Scoring(resolved, model, tokenizer, chunks, settings, Path(shards)).run()
    nll = float((scores.loss * (scores.token_count - 1)).sum())
    return nll, int(scores.token_count.sum())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("way", choices=WAYS, nargs="?", help="measure one way; else both")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("texts", type=Path, nargs="?")
    options = parser.parse_args()
    if options.way:
        print(json.dumps(_work(options.way, options.folder, json.loads(options.texts.read_text()))))
    else:
        print(json.dumps(run(), indent=1))
