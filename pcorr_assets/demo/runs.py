"""Materialising the assets of a demo world through Dagster, without a daemon.

Belongs here: which partitions there are, and running them in this process or, for the
LLMs, on all cores. Does not belong here: the world, the command line (`__main__`) and what
is printed (`summary`). Functions that worker processes run cannot stand in `__main__`.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import dagster as dg

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partitions import LLM, POOL, POOL_GROUP, SAMPLE, TARGET
from pcorr_assets.errors import PcorrError

PARALLEL = ("chunk_bpb", "benchmark_errors")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

Partition = str | dict[str, str]

# The LLMs run on one thread each, so that every core takes one.
WORKERS = max(1, min(4, os.cpu_count() or 1))


def stages(settings: Settings, instance: dg.DagsterInstance) -> Iterator[tuple[str, list]]:
    """The assets in their order, each with the partitions to materialise."""
    samples, targets = settings.text_samples, list(settings.targets)
    llms, pools = list(settings.llm_specs), list(settings.pools)
    groups = sorted(instance.get_dynamic_partitions(POOL_GROUP))

    def pairs(first: str, keys: list[str], second: str, others: list[str]) -> list[dict[str, str]]:
        return [{first: key, second: other} for key in keys for other in others]

    yield "chunked_dataset", samples
    yield "chunk_bpb", pairs(LLM, llms, SAMPLE, samples)
    yield "benchmark_errors", llms
    yield "bpb_matrix", samples
    yield "error_vector", targets
    for asset in ("estimate", "rank_prediction", "sampling_distribution", "fasttext_filter"):
        yield asset, pairs(SAMPLE, samples, TARGET, targets)
    yield "pool_scores", groups
    yield "selected_data", pairs(POOL, pools, TARGET, targets)
    yield "report", pairs(SAMPLE, samples, TARGET, targets)


class Demo:
    """Materialises single partitions in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._job = build_definitions(settings).resolve_implicit_global_asset_job_def()

    def materialise(self, asset: str, partition: Partition) -> None:
        """One partition of an asset; PcorrError with the reason if the run fails."""
        key = dg.MultiPartitionKey(partition) if isinstance(partition, dict) else partition
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            result = self._job.execute_in_process(
                partition_key=key,
                asset_selection=[dg.AssetKey(asset)],
                instance=self._instance,
                run_config=QUIET,
                raise_on_error=False,
            )
        if not result.success:
            raise PcorrError(f"{asset} failed for {key}: {_reason(result)}")


@cache
def _demo_of_worker() -> Demo:
    """The demo of a worker process, which finds both homes in its environment."""
    quieten_libraries()
    return Demo(load_settings(find_config()), dg.DagsterInstance.get())


def _materialise_in_worker(asset: str, partition: Partition) -> None:
    _demo_of_worker().materialise(asset, partition)


def materialise_all(
    settings: Settings, instance: dg.DagsterInstance
) -> Iterator[tuple[str, int, float]]:
    """The whole chain: yields each asset with its number of partitions and seconds.

    Raises PcorrError at the first asset that fails.
    """
    demo = Demo(settings, instance)
    with ProcessPoolExecutor(WORKERS, mp_context=get_context("spawn")) as workers:
        for asset, partitions in stages(settings, instance):
            started = time.monotonic()
            if asset in PARALLEL:
                jobs = [workers.submit(_materialise_in_worker, asset, key) for key in partitions]
                for job in jobs:
                    job.result()
            else:
                for key in partitions:
                    demo.materialise(asset, key)
            yield asset, len(partitions), time.monotonic() - started


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step raised, without the traceback, which the UI shows."""
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return error.message.strip()
    return "the run failed before its first step"


def quieten_libraries() -> None:
    """Show this project's progress and warnings only; the rest is in the logs of the runs."""
    os.environ.update(TQDM_DISABLE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.ERROR, format="  %(message)s")
    logging.getLogger("pcorr_assets").setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.ERROR)
