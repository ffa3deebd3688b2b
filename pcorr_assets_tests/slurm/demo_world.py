"""Six LLMs of the demo, its sample, benchmarks and pool, on the folder that jobs see.

The parts are the demo's own, through its public functions; only the LLMs are fewer, and
trained for a moment instead of minutes.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import yaml

from pcorr_assets.config import load_settings
from pcorr_assets.demo import corpus, tasks, zoo
from pcorr_assets.filters.training import build_filter
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets_tests.slurm import worlds

SAMPLE, POOL, TARGET = "demo", "crawl", "sailing"
SEED = 0
STEPS = 30
# The small LLMs of six families.
ZOO = zoo.ZOO[:12:2]
LLMS = tuple(llm.key for llm in ZOO)
BENCHMARKS = tasks.task_names(TARGET)
PREPARED = "prepared"
# What one of the LLMs asks for on a cluster, instead of what all do.
LARGE, LARGE_MEMORY = LLMS[-1], "2500M"


def write(folder: Path) -> None:
    """Corpus, pool, tasks, LLMs; a home with chunks and a filter, to make others from."""
    truth = corpus.write_corpus(folder, SEED)
    tasks.write_tasks(folder / "tasks", (TARGET,), SEED)
    (folder / "zoo").mkdir()
    for llm in ZOO:
        short = replace(llm, schedule=replace(llm.schedule, step_count=STEPS))
        zoo.train_llm(folder / "zoo", short, SEED)
    config = _write_config(folder, folder, PREPARED, {"mode": "local"})
    with dg.DagsterInstance.ephemeral() as instance:
        result = worlds.materialise(config, "chunked_dataset", SAMPLE, instance)
    assert result.success, worlds.failure(result)
    settings = load_settings(config)
    wh = Warehouse(settings.home)
    included = {domain: shares.get(TARGET, 0) > 0.5 for domain, shares in truth.domains.items()}
    wh.write("sampling_distributions", (SAMPLE, TARGET), _distribution(included))
    build_filter(wh, SAMPLE, TARGET, settings.selection_for(TARGET))


def write_world(world: Path, folder: Path, compute: dict[str, Any], name: str = "home") -> Path:
    """A home in `folder` with a copy of what was prepared, and its configuration."""
    shutil.copytree(world / PREPARED, folder / name)
    return _write_config(world, folder, name, compute)


def groups(config: Path) -> list[str]:
    """The keys of the pool's groups, a file each, as partitions."""
    from pcorr_assets.filters.groups import refresh_groups

    settings = load_settings(config)
    return refresh_groups(Warehouse(settings.home), POOL, settings.pools[POOL]).keys


def _write_config(world: Path, folder: Path, name: str, compute: dict[str, Any]) -> Path:
    tokenizer = str(world / "zoo" / ZOO[0].folder_name)
    config = {
        "home": str(folder / name),
        "samples": {
            SAMPLE: {
                "files": [str(world / "corpus" / "*.jsonl.gz")],
                "text_column": "text",
                "id_column": "url",
                "domain_column": "domain",
                "pages_per_domain": corpus.PAGES_PER_DOMAIN,
                "reference_tokenizer": tokenizer,
                "chunk_tokens": 96,
            }
        },
        "llms": [
            {
                "family": llm.family,
                "dtype": "float32",
                "models": [{"key": llm.key, "path": str(world / "zoo" / llm.folder_name)}],
                "slurm": {"memory": LARGE_MEMORY} if llm.key == LARGE else {},
            }
            for llm in ZOO
        ],
        "benchmarks": {
            task: {"metric": "acc", "task_path": str(world / "tasks")} for task in BENCHMARKS
        },
        "targets": {TARGET: {"benchmarks": list(BENCHMARKS)}},
        "selection": {
            "tokenizer": tokenizer,
            "fasttext": {"dim": 16, "bucket": 50_000, "epoch": 25, "lr": 0.5},
        },
        "pools": {
            POOL: {
                "sample": SAMPLE,
                "files": [str(world / "pool" / pattern) for pattern in ("*.jsonl.gz", "*.parquet")],
                "text_column": "text",
                "id_column": "id",
                "token_budget": 35_000,
                "group_bytes": 1,
            }
        },
        "compute": compute,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def _distribution(included: dict[str, bool]) -> pa.Table:
    """The sampling distribution that a perfect estimate would give."""
    weight = 1 / sum(included.values())
    rows = [
        {
            "sample": SAMPLE,
            "target": TARGET,
            "level": "domain",
            "unit": domain,
            "token_count": 1000,
            "tau": weight,
            "weight": weight if chosen else 0.0,
            "included": chosen,
        }
        for domain, chosen in included.items()
    ]
    return pa.Table.from_pylist(rows, schema=TABLES["sampling_distributions"].schema)
