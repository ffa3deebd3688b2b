"""The job that evaluates one LLM on the configured benchmarks.

Belongs here: keeping results, writing `benchmark_errors`, and the result of the job.
Does not belong here: the evaluation (`lm.evaluation`).
"""

from __future__ import annotations

import json
import time
from typing import Any

from pcorr_assets.config import Benchmark
from pcorr_assets.jobs.description import EvaluateJob, read_job
from pcorr_assets.warehouse import TABLES, Warehouse

# Beside the rows of `benchmark_errors`: the share of items that a guess gets right, as JSON.
CHANCE = "chance_scores"
# And hashes of the scores of items, which are kept with the results: other scores, another file.
ITEMS = "item_scores"


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Evaluate what is missing and write the LLM's partition of `benchmark_errors`.

    Each benchmark's result is kept as soon as it is there, and evaluated again only if
    the LLM or a setting that it depends on has changed. The partition is made of all kept
    results of the LLM's present commit and dtype, and is written before failures are
    raised.

    Returns `table`, `partition`, `path`, `row_count`, `byte_count`, `sha256` (of the file)
    and `metadata` (what was evaluated, what was kept, seconds, device, warnings).

    Raises:
        PcorrError: one or more benchmarks failed (all of them are named), or the LLM
            cannot be loaded.
    """
    from pcorr_assets.jobs.record import JobLLM
    from pcorr_assets.lm.evaluation import Evaluator, missing_benchmarks
    from pcorr_assets.lm.loading import peak_memory_bytes
    from pcorr_assets.lm.results import KeptResults, rows_to_table
    from pcorr_assets.lm.task_folders import fetch_tasks

    description = read_job(job, EvaluateJob)
    benchmarks, unreachable = fetch_tasks(
        {name: Benchmark.model_validate(fields) for name, fields in description.benchmarks.items()},
        description.home,
    )
    wh = Warehouse(description.home, with_database=False)
    key = description.llm.key
    llm = JobLLM(description, wh)
    kept = KeptResults.of(description.home, key)
    started = time.monotonic()
    missing = missing_benchmarks(benchmarks, kept, llm.resolved.commit_sha, llm.dtype)
    model, tokenizer = llm.load() if missing else (None, None)
    evaluator = Evaluator(llm.resolved, model, tokenizer, llm.dtype, description.batch_size)
    helpers = llm.helpers(model, description.scoring_workers) if len(missing) > 1 else ()
    outcome = evaluator.run(benchmarks, kept, helpers)
    outcome.failures |= unreachable
    metadata = {
        "commit_sha": llm.resolved.commit_sha,
        "dtype": llm.dtype,
    }
    table = rows_to_table(outcome.rows, TABLES["benchmark_errors"].schema)
    noted = {
        **metadata,
        CHANCE: json.dumps(outcome.chance, sort_keys=True),
        ITEMS: json.dumps(outcome.items_sha256, sort_keys=True),
    }
    written = wh.write("benchmark_errors", (key,), table, noted)
    outcome.raise_failures(key)
    return {
        "table": "benchmark_errors",
        "partition": [key],
        "path": str(written.path),
        "row_count": written.row_count,
        "byte_count": written.byte_count,
        "sha256": written.sha256,
        "metadata": {
            **metadata,
            "evaluated": outcome.evaluated,
            "reused": outcome.reused,
            "warnings": outcome.warnings,
            "seconds": time.monotonic() - started,
            "device": llm.device,
            "processes": outcome.processes,
            "batch_sizes": outcome.batch_sizes,
            "peak_memory_bytes": peak_memory_bytes(llm.device),
        },
    }
