"""Three Slurm jobs for one partition: the bytes of one, whatever becomes of the two that help."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.defs import llms
from pcorr_assets.jobs import score_llm
from pcorr_assets.jobs.description import score_job
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.slurm import worlds
from pcorr_assets_tests.slurm.worlds import LLM, SAMPLE, failure, metadata, slurm
from pcorr_assets_tests.waiting import wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

KEY = f"{LLM}|{SAMPLE}"
TEXTS = tiny.words(1200, 30)


@pytest.fixture(scope="module")
def undisturbed(shared: Path, zoo: Path) -> str:
    """Hash of the partition, scored in this process, on one thread."""
    import torch

    config = worlds.write_world(shared, zoo, worlds.SHORT_BATCHES, TEXTS, "one-job")
    before = torch.get_num_threads()
    score_llm.run(score_job(load_settings(config), SAMPLE, LLM, threads=1))
    torch.set_num_threads(before)
    return hash_of(config)


@pytest.fixture
def config(folder: Path, zoo: Path, cluster: dict[str, Any]) -> Path:
    compute = {**cluster, **worlds.SHORT_BATCHES, "scoring_jobs": 3, "max_parallel_llms": 1}
    return worlds.write_world(folder, zoo, compute, TEXTS)


@pytest.fixture(autouse=True)
def shards_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llms, "score_job", worlds.flush_shards_often(0.2))


@pytest.fixture(autouse=True)
def no_jobs_left(cluster: dict[str, Any]) -> Iterator[None]:
    del cluster
    yield
    for job, _, _ in jobs():
        slurm("scancel", job)
    wait_for("the end of all jobs", lambda: not jobs())


def hash_of(config: Path) -> str:
    home = load_settings(config).home
    return sha256_file(Warehouse(home).path("chunk_bpb", LLM, SAMPLE))


def jobs() -> list[tuple[str, str, str]]:
    """Id, name and state of all jobs of the cluster."""
    lines = slurm("squeue", "-h", "-o", "%i|%j|%T").splitlines()
    return [(job, name, state) for job, name, state in (line.split("|") for line in lines)]


def helping() -> dict[str, str]:
    """Jobs that help: id and state, in the order of their parts."""
    named = sorted((name, job, state) for job, name, state in jobs() if "pcorr-part" in name)
    return {job: state for _, job, state in named}


def parts_of_shards(config: Path) -> set[int]:
    """Which of three parts the finished batches are of."""
    found: set[int] = set()
    for path in worlds.shards(config):
        try:
            found |= {batch % 3 for batch in pq.read_table(path)["batch"].to_pylist()}
        except FileNotFoundError:
            continue
    return found


def kill_work_of(job: str) -> None:
    for line in slurm("scontrol", "listpids", job).splitlines()[1:]:
        pid = line.split()[0]
        if pid.isdigit() and "pcorr_assets.jobs" in Path(f"/proc/{pid}/cmdline").read_text():
            os.kill(int(pid), signal.SIGKILL)


def test_one_is_killed_and_one_cancelled(
    config: Path, undisturbed: str, instance: dg.DagsterInstance
) -> None:
    seen: dict[str, str] = {}

    def disturb() -> None:
        wait_for("two helping jobs", lambda: len(helping()) == 2)
        first, second = helping()
        wait_for("work of a helping job", lambda: parts_of_shards(config) & {1, 2}, every=0.02)
        kill_work_of(first)
        slurm("scancel", second)
        seen.update({first: "killed", second: "cancelled"})

    with ThreadPoolExecutor() as pool:
        watching = pool.submit(disturb)
        result = worlds.materialise(config, "chunk_bpb", KEY, instance)
        watching.result()
    assert result.success, failure(result)
    assert hash_of(config) == undisturbed
    assert worlds.shards(config) == []
    assert not helping()
    killed, cancelled = seen
    assert worlds.state_of(killed) == "FAILED"
    assert worlds.state_of(cancelled).startswith("CANCELLED")
    assert metadata(result, "chunk_bpb")["slurm_state"] == "COMPLETED"


def test_the_runs_own_job_is_cancelled_and_the_next_run_goes_on(
    config: Path, undisturbed: str, instance: dg.DagsterInstance
) -> None:
    def disturb() -> None:
        wait_for("work of a helping job", lambda: parts_of_shards(config) & {1, 2}, every=0.02)
        (own,) = wait_for(
            "the run's own job",
            lambda: [job for job, name, _ in jobs() if "pcorr-part" not in name],
        )
        slurm("scancel", own)

    with ThreadPoolExecutor() as pool:
        watching = pool.submit(disturb)
        result = worlds.materialise(config, "chunk_bpb", KEY, instance)
        watching.result()
    assert not result.success
    assert "was cancelled on the cluster" in failure(result)
    assert not jobs()
    again = worlds.materialise(config, "chunk_bpb", KEY, instance)
    assert again.success, failure(again)
    assert metadata(again, "chunk_bpb")["resumed_batches"] > 0
    assert hash_of(config) == undisturbed
    assert worlds.shards(config) == []
