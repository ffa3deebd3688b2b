"""Stage `llms`: the BPB and the benchmark errors of each LLM.

Belongs here: the assets `chunk_bpb` and `benchmark_errors`. Does not belong here: the
work itself, which is a job that a cluster node can run as well (`jobs`).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from pcorr_assets.config.keys import check_llm_key
from pcorr_assets.defs.bill import bill_metadata, kept_in_words
from pcorr_assets.defs.compute import run_job
from pcorr_assets.defs.costs import measured_llms, predicted_seconds
from pcorr_assets.defs.metadata import numbers, overview, rows_table, sentences
from pcorr_assets.defs.partitions import LLM, SAMPLE, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.plausibility_checks import evaluated_llm, scored_llm, specs
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.jobs.description import evaluate_job, score_job
from pcorr_assets.jobs.score_llm import shard_folder
from pcorr_assets.report.overviews import bpb_overview
from pcorr_assets.warehouse import WrittenPartition
from pcorr_assets.warehouse.files import clear_folder

POOL_OF_LLMS = LLM
SHOWN_OF_RESULTS = ("benchmark", "metric", "score", "stderr", "error", "sample_count")


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_chunk_bpb(platform), _benchmark_errors(platform)]


def _chunk_bpb(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("chunk_bpb",),
        rooms=(
            "lm/forward.py",
            "lm/scoring.py",
            "lm/work.py",
            "lm/batching.py",
            "lm/tokens.py",
            "lm/loading.py",
            "text/pilot.py",
        ),
        sections=("compute.overlong",),
        checks=specs("chunk_bpb", platform.partitions.llm_sample),
        deps=("chunked_dataset",),
        group_name="llms",
        partitions_def=platform.partitions.llm_sample,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool=POOL_OF_LLMS,
        kinds={"pytorch", "huggingface", "parquet"},
        note=kept_in_words(platform.settings.home),
    )
    def chunk_bpb(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The loss of one LLM on every chunk of a text sample, as bits-per-byte."""
        keys = keys_of(context.partition_key)
        llm, sample = check_llm_key(keys[LLM]), keys[SAMPLE]
        with (
            platform.lock(context, "chunk_bpb", llm, sample),
            _pilot_is_done(context, platform, llm, sample),
        ):
            job = score_job(platform.settings, sample, llm)
            spec = platform.settings.llm_spec(llm)
            result = run_job(context, platform, "chunk_bpb", (llm, sample), job, spec)
            # What other jobs of the partition wrote after the one that made the table.
            clear_folder(shard_folder(platform.warehouse.home, llm, sample), "*.parquet")
        checks = scored_llm(platform.warehouse, platform.settings, llm, sample)
        shown = overview(bpb_overview(platform.warehouse, (llm, sample)))
        result["metadata"]["predicted_seconds"] = _predicted(platform, llm, result)
        left = bill_metadata(platform.settings, platform.warehouse)
        return _materialised(platform, result, {**shown, **left}, checks)

    return chunk_bpb


@contextmanager
def _pilot_is_done(
    context: dg.AssetExecutionContext, platform: Platform, llm: str, sample: str
) -> Iterator[None]:
    """Wait for a run that scores the pilot of the sample, and keep others off it meanwhile.

    What one of the two has scored, the other takes over, so they go one after the other.
    """
    pilot = platform.settings.pilot_of(sample)
    if pilot is None:
        yield
        return
    with platform.warehouse.lock_when_free(
        "chunk_bpb", llm, pilot, holder=f"run {context.run.run_id}"
    ):
        yield


def _predicted(platform: Platform, llm: str, result: Mapping[str, Any]) -> float | None:
    """What `pcorr plan` would have said of the seconds that this took."""
    rows = platform.warehouse.read("llms", llm, columns=["parameter_count"]).to_pylist()
    if not rows or not rows[0]["parameter_count"]:
        return None
    measured = measured_llms(platform.warehouse)
    return predicted_seconds(measured, llm, rows[0]["parameter_count"], result["metadata"])


def _benchmark_errors(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("benchmark_errors",),
        rooms=(
            "config/metrics.py",
            "lm/evaluation.py",
            "lm/harness.py",
            "lm/item_scores.py",
            "lm/results.py",
            "lm/task_loading.py",
            "lm/benchmark_settings.py",
            "lm/loading.py",
        ),
        sections=("benchmarks",),
        checks=specs("benchmark_errors", platform.partitions.llm),
        group_name="llms",
        partitions_def=platform.partitions.llm,
        backfill_policy=dg.BackfillPolicy.multi_run(1),
        pool=POOL_OF_LLMS,
        kinds={"pytorch", "huggingface", "parquet"},
    )
    def benchmark_errors(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """The error of one LLM on every configured benchmark, evaluated by lm-eval."""
        llm = check_llm_key(context.partition_key)
        with platform.lock(context, "benchmark_errors", llm):
            job = evaluate_job(platform.settings, llm)
            spec = platform.settings.llm_spec(llm)
            result = run_job(context, platform, "benchmark_errors", (llm,), job, spec)
        rows = platform.warehouse.read("benchmark_errors", llm)
        shown = {"results": rows_table(rows, SHOWN_OF_RESULTS)}
        return _materialised(platform, result, shown, evaluated_llm(platform.warehouse, llm))

    return benchmark_errors


def _materialised(
    platform: Platform,
    result: Mapping[str, Any],
    shown: Mapping[str, Any],
    checks: Sequence[dg.AssetCheckResult],
) -> dg.MaterializeResult:
    written = WrittenPartition(
        Path(result["path"]), result["row_count"], result["byte_count"], result["sha256"]
    )
    metadata = dict(result["metadata"])
    warnings = metadata.pop("warnings", [])
    return materialised(
        platform,
        [(result["table"], tuple(result["partition"]), written)],
        {**numbers(metadata), "warnings": sentences(warnings), **shown},
        checks=checks,
    )
