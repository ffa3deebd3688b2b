"""Backfills launched through the API of the Dagster UI, with the demo instance's limits."""

from __future__ import annotations

import shutil
import threading
import time
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
from pcorr_assets_tests.dagster_ui import PROJECT, DagsterUI, wait_for
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.slurm import worlds
from pcorr_assets_tests.slurm.worlds import LLMS, SAMPLE, slurm

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


@pytest.fixture
def config(folder: Path, zoo: Path, cluster: dict[str, Any]) -> Path:
    overrides = {"chunk_bpb": {"gpus": 1}, "benchmark_errors": {"gpus": 1}}
    compute = {**cluster, "slurm": {**cluster["slurm"], "overrides": overrides}}
    return worlds.write_world(folder, zoo, compute, tiny.TEXTS)


@pytest.fixture
def ui(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DagsterUI]:
    shutil.copy(PROJECT / "dagster.yaml", tmp_path / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        register_llms(instance, load_settings(config))
    ui = DagsterUI(tmp_path, config)
    ui.start()
    yield ui
    ui.stop()


def local_files(folder: Path, zoo: Path) -> dict[str, str]:
    """Hashes of all partition files of the same world, made in this process on one thread."""
    import torch

    settings = load_settings(
        worlds.write_world(folder, zoo, {"mode": "local"}, tiny.TEXTS, "local")
    )
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


def ended(ui: DagsterUI, count: int) -> bool:
    runs = ui.runs()
    over = [run for run in runs if run["status"] in ("SUCCESS", "FAILURE", "CANCELED")]
    return len(over) == count


def test_backfills_of_six_llms(ui: DagsterUI, folder: Path, zoo: Path, config: Path) -> None:
    """All succeed across a restart of `dagster dev`, within the limits, as in local mode."""
    watcher = QueueWatcher()
    watcher.start()
    ui.backfill("chunk_bpb", [f"{llm}|{SAMPLE}" for llm in LLMS])
    ui.backfill("benchmark_errors", list(LLMS))
    wait_for("the first job", lambda: watcher.most, seconds=180)
    ui.stop()
    ui.start()
    expected = local_files(folder, zoo)
    wait_for("the end of all runs", lambda: ended(ui, 2 * len(LLMS)), seconds=900)
    assert watcher.finish() <= 2

    assert {run["status"] for run in ui.runs()} == {"SUCCESS"}
    jobs = []
    with dg.DagsterInstance.get() as instance:
        for asset in ("chunk_bpb", "benchmark_errors"):
            records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
            for record in records:
                assert record.asset_materialization is not None
                found = record.asset_materialization.metadata
                assert found["slurm_state"].value == "COMPLETED"
                jobs.append(found["slurm_job_id"].value)
    assert len(set(jobs)) == 2 * len(LLMS), "each partition has a job of its own"
    allocated = slurm("sacct", "-X", "-n", "-P", "-o", "AllocTRES", "-j", ",".join(map(str, jobs)))
    assert all("gres/gpu=1" in line for line in allocated.splitlines())
    assert hashes(load_settings(config).home) == expected


def test_terminating_a_run_in_the_ui(ui: DagsterUI) -> None:
    ui.backfill("chunk_bpb", [f"{worlds.LLM}|{SAMPLE}"])
    (job,) = wait_for("its job", worlds.live_jobs, seconds=180)
    (run,) = ui.runs()
    ui.terminate(run["runId"])
    start = time.monotonic()
    wait_for("the job's end", lambda: job not in worlds.live_jobs(), seconds=60)
    assert time.monotonic() - start < 60
    wait_for("the run's end", lambda: ended(ui, 1), seconds=120)
    assert ui.runs()[0]["status"] == "CANCELED"
    assert worlds.state_of(job) == "CANCELLED"
