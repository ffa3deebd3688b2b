"""Backfills launched through the API of the Dagster UI, with the demo instance's limits."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.defs.registration import register_llms
from pcorr_assets.jobs import dispatch
from pcorr_assets.jobs.description import evaluate_job, score_job
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.dagster_ui import PROJECT, DagsterUI
from pcorr_assets_tests.slurm import demo_world, worlds
from pcorr_assets_tests.slurm.demo_world import LLMS, SAMPLE
from pcorr_assets_tests.slurm.worlds import slurm
from pcorr_assets_tests.waiting import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(1200)]


class QueueWatcher(threading.Thread):
    """The most jobs that ran at once, as squeue saw them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(0.5):
            running = slurm("squeue", "-h", "-t", "RUNNING,PENDING", "-o", "%i").split()
            self.most = max(self.most, len(running))

    def finish(self) -> int:
        self._finished.set()
        self.join()
        return self.most


@pytest.fixture(scope="module")
def folder(shared: Path) -> Path:
    (shared / "ui").mkdir()
    return shared / "ui"


@pytest.fixture(scope="module")
def config(folder: Path, demo: Path, cluster: dict[str, Any]) -> Path:
    overrides = {"chunk_bpb": {"gpus": 1}, "benchmark_errors": {"gpus": 1}}
    compute = {**cluster, "slurm": {**cluster["slurm"], "overrides": overrides}}
    return demo_world.write_world(demo, folder, compute)


@pytest.fixture(scope="module")
def ui(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagsterUI]:
    """`dagster dev` for all tests here: it takes longer to come up than they do."""
    home = tmp_path_factory.mktemp("dagster")
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(home)) as instance:
        register_llms(instance, load_settings(config))
    ui = DagsterUI(home, config)
    ui.start()
    yield ui
    ui.stop()


def local_files(folder: Path, demo: Path) -> dict[str, str]:
    """Hashes of all partition files of the same world, made in this process on one thread."""
    import torch

    settings = load_settings(demo_world.write_world(demo, folder, {"mode": "local"}, "local"))
    before = torch.get_num_threads()
    for llm in LLMS:
        dispatch.run(score_job(settings, SAMPLE, llm, threads=1))
        dispatch.run(evaluate_job(settings, llm, threads=1))
    torch.set_num_threads(before)
    return hashes(settings.home)


def hashes(home: Path) -> dict[str, str]:
    root = Warehouse(home).root
    names = ("chunk_bpb", "benchmark_errors", "llms")
    paths = [path for name in names for path in sorted((root / name).rglob("*.parquet"))]
    return {path.relative_to(root).as_posix(): sha256_file(path) for path in paths}


def test_backfills_of_six_llms(ui: DagsterUI, folder: Path, demo: Path, config: Path) -> None:
    """All succeed across a restart of `dagster dev`, within the limits, as in local mode."""
    watcher = QueueWatcher()
    watcher.start()
    backfills = (
        ui.backfill("chunk_bpb", [f"{llm}|{SAMPLE}" for llm in LLMS]),
        ui.backfill("benchmark_errors", list(LLMS)),
    )
    expected = local_files(folder, demo)
    wait_for("the first job", lambda: watcher.most)
    ui.stop()
    ui.start()
    wait_for("the end of all runs", lambda: ui.ended(2 * len(LLMS), *backfills), seconds=900)
    assert watcher.finish() <= 2

    runs = ui.runs(*backfills)
    assert {run["status"] for run in runs} == {"SUCCESS"}
    jobs: dict[str, str] = {}
    with dg.DagsterInstance.from_config(str(ui.home)) as instance:
        for run in runs:
            (record,) = instance.get_records_for_run(
                run["runId"], of_type=dg.DagsterEventType.ASSET_MATERIALIZATION
            ).records
            made = record.asset_materialization
            assert made is not None
            assert made.metadata["slurm_state"].value == "COMPLETED"
            jobs[str(made.metadata["slurm_job_id"].value)] = str(made.partition)
    assert len(jobs) == 2 * len(LLMS), "each partition has a job of its own"
    asked = slurm("sacct", "-X", "-n", "-P", "-o", "JobID,ReqMem,AllocTRES", "-j", ",".join(jobs))
    for line in asked.splitlines():
        job, memory, allocated = line.split("|")
        assert "gres/gpu=1" in allocated
        of_large = jobs[job].startswith(demo_world.LARGE)
        assert memory == (demo_world.LARGE_MEMORY if of_large else "2G")
    assert hashes(load_settings(config).home) == expected


def test_terminating_a_run_in_the_ui(ui: DagsterUI) -> None:
    wait_for("an empty queue", lambda: not worlds.live_jobs(""))
    backfill = ui.backfill("chunk_bpb", [f"{LLMS[0]}|{SAMPLE}"])
    (job,) = wait_for("its job", lambda: worlds.live_jobs(""))
    (run,) = ui.runs(backfill)
    with worlds.halted(job):
        ui.terminate(run["runId"])
        wait_for("the job's end", lambda: job not in worlds.live_jobs(""))
    wait_for("the run's end", lambda: ui.ended(1, backfill))
    assert ui.runs(backfill)[0]["status"] == "CANCELED"
    wait_for("accounting", lambda: worlds.state_of(job) == "CANCELLED")
