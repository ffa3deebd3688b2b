"""Tokens per second and memory of scoring, against the straightforward way.

The straightforward way: texts in their order, padded batches of two, the model's full
logits as float32, one cross-entropy over them. Same model, texts, dtype and threads; each
way runs in a process of its own, so that its peak memory is its own. The model is that of
PCORR_SMOLLM2 (scripts/fetch_smollm2.py) or, without it, a random Llama of about its
proportions: a small body and a vocabulary of 49,152.
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
WAYS = ("ours", "plain")


def run(quick: bool = False) -> list[dict[str, Any]]:
    """One row: seconds of both ways, with tokens per second and peak memory in the note."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(os.environ.get("PCORR_SMOLLM2") or _random_llama(Path(temporary) / "llm"))
        texts = Path(temporary) / "texts.json"
        texts.write_text(json.dumps(_texts(12 if quick else 48)))
        ours, plain = (_measure(way, folder, texts) for way in WAYS)
    return [
        {
            "name": f"score {ours['tokens']:,} tokens, {folder.name}, float32, CPU",
            "ours_seconds": ours["seconds"],
            "other": "padded batches of 2, full float logits",
            "other_seconds": plain["seconds"],
            "ratio": plain["seconds"] / ours["seconds"],
            "note": (
                f"{ours['tokens'] / ours['seconds']:,.0f} against "
                f"{plain['tokens'] / plain['seconds']:,.0f} tokens/s; peak memory above the "
                f"loaded model {ours['megabytes']:,.0f} against {plain['megabytes']:,.0f} MB; "
                f"sums of losses differ by {abs(ours['nll'] / plain['nll'] - 1):.0e} relative"
            ),
        }
    ]


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


def _random_llama(folder: Path) -> Path:
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = sorted({word for text in _texts(40) for word in text.split()})
    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(["?", *words])}, "?"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="?").save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=49_152,
        hidden_size=384,
        intermediate_size=1024,
        num_hidden_layers=12,
        num_attention_heads=6,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def _work(way: str, folder: Path, texts: list[str]) -> dict[str, float]:
    import numpy as np
    import torch

    from pcorr_assets.config import LLMSpec
    from pcorr_assets.lm.loading import load_model, load_tokenizer, peak_memory_bytes, resolve

    torch.set_num_threads(THREADS)
    resolved = resolve(LLMSpec(key="model", family="benchmark", path=folder))
    model, tokenizer = load_model(resolved, "cpu", "float32"), load_tokenizer(resolved)
    before = peak_memory_bytes("cpu")
    if way == "plain":
        started = time.perf_counter()
        nll, tokens = _plain(model, tokenizer, texts)
        seconds = time.perf_counter() - started
    else:
        from pcorr_assets.lm.scoring import ChunkTexts, Scoring, ScoringSettings

        byte_count = np.asarray([len(text.encode()) for text in texts])
        chunks = ChunkTexts("benchmark", [str(i) for i in range(len(texts))], texts, byte_count, "")
        with tempfile.TemporaryDirectory() as shards:
            started = time.perf_counter()
            scoring = Scoring(resolved, model, tokenizer, chunks, ScoringSettings(), Path(shards))
            scores = scoring.run()
            seconds = time.perf_counter() - started
        nll = float((scores.loss * (scores.token_count - 1)).sum())
        tokens = int(scores.token_count.sum())
    megabytes = (peak_memory_bytes("cpu") - before) / 1e6
    return {"seconds": seconds, "tokens": tokens, "megabytes": megabytes, "nll": nll}


def _plain(model: Any, tokenizer: Any, texts: list[str]) -> tuple[float, int]:
    import torch

    nll, tokens = 0.0, 0
    for start in range(0, len(texts), 2):
        rows = [tokenizer(text)["input_ids"] for text in texts[start : start + 2]]
        width = max(map(len, rows))
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        labels = ids.masked_fill(mask == 0, -100)
        with torch.inference_mode():
            logits = model(input_ids=ids, attention_mask=mask).logits.float()
            loss = torch.nn.functional.cross_entropy(
                logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), reduction="sum"
            )
        nll += float(loss)
        tokens += int(mask.sum())
    return nll, tokens


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
