"""The world that faults happen to: so small that each stage takes a moment, yet every file.

Belongs here: its inputs, its project folder, and its stages in the order of the pipeline.
Does not belong here: running a stage, and any fault.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from pcorr_assets_tests.defs.conftest import write_matrix
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.operation.small_world import DOMAINS, PAGES, WORDS, page
from pcorr_assets_tests.slurm.worlds import COLOURS_TASK

ARCHITECTURES = ("gpt2", "llama", "gpt_neox", "opt")
LLMS = tuple(f"tiny-{number}" for number in range(len(ARCHITECTURES)))
BENCHMARKS = ("colours", "shades")
SHARDS = ("a.jsonl", "b.jsonl")
SAMPLE, IMPORTED, TARGET, POOL = "web", "published", "colour", "crawl"
# Of the imported matrix, whose many LLMs can be held out.
IMPORTED_TARGET = "signal"
CONFIG = "pcorr.yaml"

Partition = str | dict[str, str] | None


@dataclass(frozen=True)
class Stage:
    """One partition of one asset. `faults`: whether faults happen to it, or only to its like.

    `tables` are those whose rows it makes.
    """

    name: str
    asset: str
    partition: Partition
    tables: tuple[str, ...] = ()
    faults: bool = True


def _stages() -> list[Stage]:
    pair: Partition = {"sample": SAMPLE, "target": TARGET}
    imported: Partition = {"sample": IMPORTED, "target": IMPORTED_TARGET}
    validated = ("rank_predictions", "verdicts")
    scored = [
        Stage(f"chunk_bpb {llm}", "chunk_bpb", {"llm": llm, "sample": SAMPLE}, ("chunk_bpb",))
        for llm in LLMS
    ]
    evaluated = [
        Stage(f"benchmark_errors {llm}", "benchmark_errors", llm, ("benchmark_errors",))
        for llm in LLMS
    ]
    groups = [
        Stage(
            f"pool_scores {name}",
            "pool_scores",
            f"{POOL}/{number:04d}",
            ("pool_documents", "pool_scores"),
        )
        for number, name in enumerate(SHARDS)
    ]
    return [
        Stage("chunked_dataset", "chunked_dataset", SAMPLE, ("chunks",)),
        *_only_first(scored),
        *_only_first(evaluated),
        Stage("bpb_matrix", "bpb_matrix", SAMPLE, ("bpb_matrix", "matrix_coverage")),
        Stage("import", "bpb_matrix", IMPORTED, ("bpb_matrix", "matrix_coverage")),
        Stage("error_vector", "error_vector", TARGET, ("error_vectors",)),
        Stage("estimate", "estimate", pair, ("estimates",)),
        Stage("benchmark_ngrams", "benchmark_ngrams", TARGET, ("benchmark_ngrams",)),
        Stage("clean_estimate", "clean_estimate", pair, ("clean_estimates", "contaminated_chunks")),
        Stage("rank_prediction web", "rank_prediction", pair, validated, False),
        Stage("errors of the import", "error_vector", IMPORTED_TARGET, ("error_vectors",), False),
        Stage("rank_prediction", "rank_prediction", imported, validated),
        Stage("sampling_distribution", "sampling_distribution", pair, ("sampling_distributions",)),
        Stage("fasttext_filter", "fasttext_filter", pair, ("fasttext_filters",)),
        *_only_first(groups),
        Stage("selected_data", "selected_data", {"pool": POOL, "target": TARGET}, ("selections",)),
        Stage("report", "report", pair, ("changes",)),
        Stage("comparison", "comparison", None),
        Stage("exported_database", "exported_database", None),
        Stage("published_export", "published_export", SAMPLE),
    ]


def _only_first(stages: list[Stage]) -> list[Stage]:
    """Faults happen to the first of some stages that are alike; it keeps the asset's name."""
    first, *others = stages
    named = Stage(first.asset, first.asset, first.partition, first.tables)
    return [named, *(Stage(s.name, s.asset, s.partition, s.tables, faults=False) for s in others)]


STAGES = tuple(_stages())


def write_inputs(folder: Path) -> None:
    """LLMs and benchmarks, which stay where they are; faults happen to the project's folder."""
    for seed, (llm, architecture) in enumerate(zip(LLMS, ARCHITECTURES, strict=True)):
        tiny.save_llm(folder / "zoo" / llm, architecture, seed=seed)
    tasks = folder / "tasks"
    tasks.mkdir()
    for number, name in enumerate(BENCHMARKS):
        items = [
            {
                "context": _question(number, item),
                "choices": ["red", "green", "blue"],
                "label": item % 3,
            }
            for item in range(40)
        ]
        _write_rows(tasks / f"{name}.jsonl", items)
        task = COLOURS_TASK.format(data=tasks / f"{name}.jsonl")
        (tasks / f"{name}.yaml").write_text(task.replace("task: colours", f"task: {name}"))


def _question(benchmark: int, item: int) -> str:
    return page([*WORDS[0], *WORDS[1]], 1000 * benchmark + item)[:60]


def write_project(folder: Path, inputs: Path) -> None:
    """`pcorr.yaml` with texts, a pool and a published matrix; all of its own paths relative."""
    (folder / "pool").mkdir(parents=True)
    rows = [
        {"id": f"{d}/{p}", "domain": f"site-{d}", "text": page(WORDS[d % 2], 10 * d + p)}
        for d in range(DOMAINS)
        for p in range(PAGES)
    ]
    # One page and one document hold an item, and one document is nearly the same as another.
    rows[4]["text"] += f"\n{_question(0, 3)} red"
    _write_rows(folder / "texts.jsonl", rows)
    for number, name in enumerate(SHARDS):
        documents = [
            {"id": f"{name}-{i}", "text": page(WORDS[i % 2], 7000 + 100 * number + i), "n": i}
            for i in range(20)
        ]
        documents[3]["text"] += f"\n{_question(1, 5)} blue"
        documents[7]["text"] = f"{documents[5]['text']} again"
        _write_rows(folder / "pool" / name, documents)
    write_matrix(folder)
    (folder / CONFIG).write_text(yaml.safe_dump(_config(inputs), sort_keys=False))


def _config(inputs: Path) -> dict[str, object]:
    tokenizer = str(inputs / "zoo" / LLMS[0])
    return {
        "home": "home",
        "samples": {
            SAMPLE: {
                "files": ["texts.jsonl"],
                "domain_column": "domain",
                "reference_tokenizer": tokenizer,
                "chunk_tokens": 32,
            },
            IMPORTED: {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv", "level": "page"}},
        },
        "llms": [
            {
                "family": architecture,
                "dtype": "float32",
                "models": [{"key": llm, "path": str(inputs / "zoo" / llm)}],
            }
            for llm, architecture in zip(LLMS, ARCHITECTURES, strict=True)
        ],
        "benchmarks": {
            name: {"metric": "acc", "task_path": str(inputs / "tasks")} for name in BENCHMARKS
        },
        "targets": {
            TARGET: {"benchmarks": list(BENCHMARKS)},
            IMPORTED_TARGET: {"benchmarks": ["signal"]},
        },
        "selection": {
            "tokenizer": tokenizer,
            "keep_ratio": 0.5,
            "fasttext": {"dim": 4, "bucket": 100, "epoch": 5, "test_fraction": 0.3},
        },
        "pools": {
            POOL: {
                "sample": SAMPLE,
                "files": ["pool/*.jsonl"],
                "text_column": "text",
                "id_column": "id",
                "keep_ratio": 0.5,
                "near_duplicates": {},
                "format": "jsonl",
                # A group for each file.
                "group_bytes": 1,
            }
        },
        "validation": {"bootstrap": 5, "halvings": 3, "permutations": 10},
        "compute": {"threads": 1, "batch_tokens": 512},
    }


def _write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
