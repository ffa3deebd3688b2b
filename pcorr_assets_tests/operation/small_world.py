"""A world so small that each of its runs takes seconds: local mode, tiny random LLMs.

Belongs here: writing it, materialising it in process, and adding an LLM to its file. Does
not belong here: `dagster dev` (`dagster_ui`) and what is expected of it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import yaml

from pcorr_assets.config import find_config, load_settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.registration import register_llms
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.slurm.worlds import COLOURS_TASK

SAMPLE = "web"
TARGETS = ("colour",)
PAIRS = tuple(f"{SAMPLE}|{target}" for target in TARGETS)
WORDS = (
    ["red", "wine", "apple", "rose", "fire", "brick"],
    ["blue", "sea", "sky", "whale", "ice", "moon"],
)
DOMAINS, PAGES = 8, 3
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def page(words: Sequence[str], seed: int) -> str:
    rng = random.Random(seed)
    return "\n".join(" ".join(rng.choices(words, k=5)) for _ in range(6))


class SmallWorld:
    """Texts, LLMs `tiny-0`, `tiny-1`, ... of several architectures, one benchmark, one target."""

    def __init__(
        self,
        folder: Path,
        architectures: Sequence[str],
        listed: int,
        max_parallel_llms: int = 2,
        **of_sample: Any,
    ) -> None:
        """`listed`: so many of the LLMs stand in the file; the others can be added to it.

        `of_sample` are further keys of the sample.
        """
        self._of_sample = of_sample
        self.folder = folder
        self._max_parallel_llms = max_parallel_llms
        self.config = folder / "pcorr.yaml"
        self._architectures = list(architectures)
        self._write_texts()
        self._write_task()
        for seed, architecture in enumerate(architectures):
            tiny.save_llm(folder / "zoo" / f"tiny-{seed}", architecture, seed=seed)
        self.llms = [f"tiny-{number}" for number in range(listed)]
        self._write_config()

    @property
    def home(self) -> Path:
        return self.folder / "home"

    def add_llm(self) -> str:
        """List one more LLM in `pcorr.yaml`; returns its key."""
        self.llms.append(f"tiny-{len(self.llms)}")
        self._write_config()
        return self.llms[-1]

    def materialise(self, instance: dg.DagsterInstance, assets: Sequence[str]) -> None:
        """All partitions of some assets, in process; those of LLMs for all that are listed."""
        settings = load_settings(self.config)
        register_llms(instance, settings)
        job = build_definitions(settings).resolve_implicit_global_asset_job_def()
        partitions: dict[str, list[Any]] = {
            "chunked_dataset": [SAMPLE],
            "chunk_bpb": [{"llm": llm, "sample": SAMPLE} for llm in self.llms],
            "benchmark_errors": self.llms,
            "bpb_matrix": [SAMPLE],
            "error_vector": list(TARGETS),
        }
        pairs = [{"sample": SAMPLE, "target": target} for target in TARGETS]
        for asset in assets:
            for key in partitions.get(asset, pairs):
                result = job.execute_in_process(
                    partition_key=dg.MultiPartitionKey(key) if isinstance(key, dict) else key,
                    asset_selection=[dg.AssetKey(asset)],
                    instance=instance,
                    run_config=QUIET,
                )
                assert result.success, (asset, key)

    def _write_texts(self) -> None:
        rows = [
            {"id": f"{d}/{p}", "domain": f"site-{d}", "text": page(WORDS[d % 2], 10 * d + p)}
            for d in range(DOMAINS)
            for p in range(PAGES)
        ]
        path = self.folder / "texts.jsonl"
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def _write_task(self) -> None:
        tasks = self.folder / "tasks"
        tasks.mkdir()
        items = [
            {
                "context": page([*WORDS[0], *WORDS[1]], 5000 + i),
                "choices": ["red", "green", "blue"],
                "label": i % 3,
            }
            for i in range(60)
        ]
        (tasks / "items.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
        (tasks / "colours.yaml").write_text(COLOURS_TASK.format(data=tasks / "items.jsonl"))

    def _write_config(self) -> None:
        config = {
            "home": str(self.home),
            "samples": {
                SAMPLE: {
                    "files": [str(self.folder / "texts.jsonl")],
                    "domain_column": "domain",
                    "reference_tokenizer": str(self.folder / "zoo" / "tiny-0"),
                    "chunk_tokens": 32,
                    **self._of_sample,
                }
            },
            "llms": [
                {
                    "family": f"{self._architectures[number]}-{number}",
                    "dtype": "float32",
                    "models": [{"key": key, "path": str(self.folder / "zoo" / key)}],
                }
                for number, key in enumerate(self.llms)
            ],
            "benchmarks": {"colours": {"metric": "acc", "task_path": str(self.folder / "tasks")}},
            "targets": {target: {"benchmarks": ["colours"]} for target in TARGETS},
            "selection": {
                "tokenizer": str(self.folder / "zoo" / "tiny-0"),
                "keep_ratio": 0.5,
                "fasttext": {"dim": 4, "bucket": 100, "epoch": 5, "test_fraction": 0.3},
            },
            "validation": {"bootstrap": 5, "halvings": 3, "permutations": 10},
            "compute": {"threads": 1, "max_parallel_llms": self._max_parallel_llms},
            "automation": {"refresh": "* * * * *"},
        }
        self.config.write_text(yaml.safe_dump(config, sort_keys=False))


def score(llm: str) -> bool:
    """Score an LLM of the world in `PCORR_CONFIG`, for worker processes; whether it succeeded."""
    definitions = build_definitions(load_settings(find_config()))
    with dg.DagsterInstance.get() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            partition_key=dg.MultiPartitionKey({"llm": llm, "sample": SAMPLE}),
            asset_selection=[dg.AssetKey("chunk_bpb")],
            instance=instance,
            run_config=QUIET,
            raise_on_error=False,
        )
    return result.success
