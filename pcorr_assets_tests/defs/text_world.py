"""A small world of pages, tiny LLMs, a benchmark and a pool, for tests of the whole chain.

Belongs here: its files and its configuration. Does not belong here: running anything.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.slurm import worlds

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt")
RED, BLUE = (
    ["red", "wine", "apple", "rose", "fire", "brick"],
    ["blue", "sea", "sky", "whale", "ice", "moon"],
)


def page(words: list[str], index: int) -> str:
    rng = random.Random(index)
    return "\n".join(" ".join(rng.choices(words, k=5)) for _ in range(6))


def write_world(folder: Path) -> None:
    """LLMs in `zoo`, pages in `texts.jsonl`, a pool of two files, and a benchmark in `tasks`."""
    for seed, architecture in enumerate(ARCHITECTURES):
        tiny.save_llm(folder / "zoo" / architecture, architecture, seed=seed)
    rows = [
        {"id": f"{d}/{p}", "domain": f"site-{d}", "text": page(RED if d % 2 else BLUE, 10 * d + p)}
        for d in range(8)
        for p in range(3)
    ]
    (folder / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for shard in range(2):
        pool = [
            {"id": f"{shard}-{i}", "text": page(RED if i % 2 else BLUE, 1000 + 7 * i + shard)}
            for i in range(6)
        ]
        (folder / f"pool-{shard}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in pool))
    tasks = folder / "tasks"
    tasks.mkdir()
    items = [
        {"context": page(RED + BLUE, 5000 + i), "choices": ["red", "green", "blue"], "label": i % 3}
        for i in range(60)
    ]
    (tasks / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (tasks / "colours.yaml").write_text(worlds.COLOURS_TASK.format(data=tasks / "items.jsonl"))


def configuration(world: Path, home: Path) -> dict[str, Any]:
    """`pcorr.yaml` over the files of a world."""
    return {
        "home": str(home),
        "samples": {
            "web": {
                "files": [str(world / "texts.jsonl")],
                "domain_column": "domain",
                "reference_tokenizer": str(world / "zoo" / "gpt2"),
                "chunk_tokens": 32,
            }
        },
        "llms": [
            {
                "family": name,
                "dtype": "float32",
                "models": [{"key": f"tiny-{name}", "path": str(world / "zoo" / name)}],
            }
            for name in ARCHITECTURES
        ],
        "benchmarks": {"colours": {"metric": "acc", "task_path": str(world / "tasks")}},
        "targets": {"colour": {"benchmarks": ["colours"]}},
        "selection": {
            "tokenizer": str(world / "zoo" / "gpt2"),
            "keep_ratio": 0.5,
            "fasttext": {"dim": 4, "bucket": 100, "epoch": 5, "test_fraction": 0.3},
        },
        "validation": {"bootstrap": 5, "halvings": 3, "permutations": 10},
        "pools": {"crawl": {"sample": "web", "files": [str(world / "pool-*.jsonl")],
                            "token_budget": 60}},
        "compute": {"threads": 1},
    }  # fmt: skip
