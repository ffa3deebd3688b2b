"""`python -m pcorr_assets.demo`: the whole pipeline on the embedded world, through Dagster.

Belongs here: building the world, materialising every asset in process on the Dagster
home that `--ui` serves, and printing what came out. Does not belong here: the world
(`world`) and what is printed of it (`summary`). It is a user of the platform like any
other, which is why it may import Dagster.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, redirect_stdout
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import dagster as dg

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.partitions import LLM, POOL, SAMPLE, SHARD, TARGET
from pcorr_assets.defs.registration import register_llms, register_shards
from pcorr_assets.demo.summary import summarise
from pcorr_assets.demo.world import World, build_world, read_world
from pcorr_assets.errors import PcorrError

INSTANCE = Path(__file__).parent / "dagster.yaml"
PARALLEL = ("chunk_bpb", "benchmark_errors")
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


Partition = str | dict[str, str]

# The LLMs run on one thread each, so that every core takes one.
WORKERS = max(1, min(4, os.cpu_count() or 1))


def stages(settings: Settings, instance: dg.DagsterInstance) -> Iterator[tuple[str, list]]:
    """The assets in their order, each with the partitions to materialise."""
    samples, targets = settings.text_samples, list(settings.targets)
    llms, pools = list(settings.llm_specs), list(settings.pools)
    shards = sorted(instance.get_dynamic_partitions(SHARD))

    def pairs(first: str, keys: list[str], second: str, others: list[str]) -> list[dict[str, str]]:
        return [{first: key, second: other} for key in keys for other in others]

    yield "chunked_dataset", samples
    yield "chunk_bpb", pairs(LLM, llms, SAMPLE, samples)
    yield "benchmark_errors", llms
    yield "bpb_matrix", samples
    yield "error_vector", targets
    for asset in ("estimate", "rank_prediction", "sampling_distribution", "fasttext_filter"):
        yield asset, pairs(SAMPLE, samples, TARGET, targets)
    yield "pool_scores", pairs(SHARD, shards, TARGET, targets)
    yield "selected_data", pairs(POOL, pools, TARGET, targets)


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


def run(settings: Settings, instance: dg.DagsterInstance) -> None:
    """The whole chain; PcorrError at the first asset that fails."""
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
            seconds = time.monotonic() - started
            say(f"  {asset:22} {len(partitions):3} partition(s)  {seconds:6.1f} s")


def _reason(result: dg.ExecuteInProcessResult) -> str:
    """What the failed step raised, without the traceback, which the UI shows."""
    for event in result.get_step_failure_events():
        error = event.step_failure_data.error
        while error is not None and error.cause is not None:
            error = error.cause
        if error is not None:
            return error.message.strip()
    return "the run failed before its first step"


def say(line: str = "") -> None:
    """Print a line at once, also into a pipe."""
    print(line, flush=True)


@contextmanager
def environment(world: World) -> Iterator[dg.DagsterInstance]:
    """The world's own Dagster instance and configuration, for this process and its children."""
    home = world.folder / "dagster_home"
    home.mkdir(exist_ok=True)
    shutil.copyfile(INSTANCE, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["PCORR_CONFIG"] = str(world.config_path)
    with dg.DagsterInstance.get() as instance:
        yield instance


def serve(world: World, port: int) -> None:
    """Replace this process by `dagster dev` on what the demo materialised."""
    with environment(world):
        pass
    say(f"http://127.0.0.1:{port}   (Ctrl-C ends it)")
    command = ["dagster", "dev", "-m", "pcorr_assets.definitions"]
    os.execv(sys.executable, [sys.executable, "-m", *command, "-h", "127.0.0.1", "-p", str(port)])


def quieten_libraries() -> None:
    """Show this project's progress and warnings only; the rest is in the logs of the runs."""
    os.environ.update(TQDM_DISABLE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(level=logging.ERROR, format="  %(message)s")
    logging.getLogger("pcorr_assets").setLevel(logging.INFO)
    logging.getLogger("alembic").setLevel(logging.ERROR)


def main() -> int:
    """Exit status 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m pcorr_assets.demo", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo_world"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ui", action="store_true", help="serve the Dagster UI on the world")
    parser.add_argument("--port", type=int, default=3000)
    options = parser.parse_args()
    quieten_libraries()
    try:
        if options.ui:
            serve(read_world(options.folder), options.port)
        say(f"The demo world, in {options.folder}:")
        started = time.monotonic()
        world = build_world(options.folder, options.seed)
        say(f"  world with its tiny LLMs                {time.monotonic() - started:6.1f} s")
        settings = load_settings(world.config_path)
        with environment(world) as instance:
            register_llms(instance, settings)
            register_shards(instance, settings)
            run(settings, instance)
        for line in summarise(world, settings):
            say(line)
    except PcorrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
