"""Jobs that die in every way: how the run ends, and that the next one loses nothing."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pcorr_assets.config import load_settings
from pcorr_assets.defs import llms
from pcorr_assets.defs.slurm import REQUEST_TAG
from pcorr_assets.jobs import node as node_room
from pcorr_assets.progress import SECONDS_BETWEEN_LINES
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.slurm import demo_world, worlds
from pcorr_assets_tests.slurm.worlds import LLM, SAMPLE, failure, metadata, slurm
from pcorr_assets_tests.waiting import wait_for

pytestmark = pytest.mark.slurm

KEY = f"{LLM}|{SAMPLE}"
Changed = Callable[..., Path]


@pytest.fixture
def config(folder: Path, zoo: Path, cluster: dict[str, Any], long_work: str) -> Changed:
    """A function that writes a world with the long sample; its arguments change `slurm`."""
    del long_work

    def write(name: str = "home", **changes: Any) -> Path:
        compute = {**cluster, **worlds.SHORT_BATCHES, "slurm": {**cluster["slurm"], **changes}}
        if (folder / f"{name}.yaml").is_file():
            document = yaml.safe_load((folder / f"{name}.yaml").read_text())
            (folder / f"{name}.yaml").write_text(yaml.safe_dump({**document, "compute": compute}))
            return folder / f"{name}.yaml"
        return worlds.write_world(folder, zoo, compute, worlds.long_texts(), name)

    return write


@pytest.fixture(autouse=True)
def shards_every_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llms, "score_job", worlds.flush_shards_often(0.3))


@pytest.fixture(autouse=True)
def no_jobs_left(cluster: dict[str, Any]) -> Iterator[None]:
    del cluster
    yield
    for job in worlds.live_jobs():
        slurm("scancel", job)
    wait_for("the end of all jobs", lambda: not worlds.live_jobs(""))


def assert_equal_to_undisturbed(config: Path, undisturbed: str) -> None:
    home = load_settings(config).home
    assert sha256_file(Warehouse(home).path("chunk_bpb", LLM, SAMPLE)) == undisturbed
    assert worlds.shards(config) == []


def assert_relaunch_goes_on(config: Path, instance: Any, undisturbed: str) -> None:
    """The next run takes over what the last one finished, and ends with the same table."""
    again = worlds.materialise(config, "chunk_bpb", KEY, instance)
    assert again.success, failure(again)
    assert metadata(again, "chunk_bpb")["resumed_batches"] > 0
    assert_equal_to_undisturbed(config, undisturbed)


def messages(instance: dg.DagsterInstance) -> list[str]:
    """What the log of the latest run says."""
    (latest, *_) = instance.get_runs()
    return [entry.user_message for entry in instance.all_logs(latest.run_id)]


def test_scancel(config: Changed, instance: dg.DagsterInstance, long_work: str) -> None:
    path = config()
    with worlds.once_it_works(path, lambda job: slurm("scancel", job)) as jobs:
        result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    assert f"Slurm job {jobs[0]} (chunk_bpb|{KEY}) was cancelled on the cluster" in failure(result)
    foreign = worlds.shards(path)[0].with_name("foreign.parquet")
    foreign.write_text("not a Parquet file")
    assert_relaunch_goes_on(path, instance, long_work)
    assert any(f"shard {foreign} is not used" in line for line in messages(instance)), (
        "warnings of the node stream back to the log of the run"
    )


def test_requeue_and_node_failure_go_unnoticed(
    config: Changed, instance: dg.DagsterInstance, long_work: str
) -> None:
    path = config()
    node = socket.gethostname().partition(".")[0]

    def in_service() -> bool:
        # It may come back by itself at any moment, and then refuses to be resumed.
        with contextlib.suppress(subprocess.CalledProcessError):
            slurm("scontrol", "update", f"nodename={node}", "state=resume")
        return "down" not in slurm("sinfo", "-h", "-n", node, "-o", "%t")

    def disturb(job: str) -> None:
        slurm("scontrol", "requeue", job)
        wait_for("the queue", lambda: slurm("squeue", "-h", "-j", job, "-o%T") == "PENDING")
        finished = len(worlds.shards(path))
        wait_for("more shards", lambda: len(worlds.shards(path)) > finished)
        assert not (_folder(job) / node_room.SIGNAL_MARKER).exists(), "of its former self"
        slurm("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
        wait_for("the node", in_service)

    with worlds.once_it_works(path, disturb) as jobs:
        result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert result.success, failure(result)
    found = metadata(result, "chunk_bpb")
    assert str(found["slurm_job_id"]) == jobs[0]
    assert found["resumed_batches"] > 0
    assert_equal_to_undisturbed(path, long_work)


def test_terminating_a_run_cancels_its_job(
    config: Changed, instance: dg.DagsterInstance, long_work: str
) -> None:
    path = config()
    ended: list[float] = []

    def terminate(job: str) -> None:
        (run,) = instance.get_runs()
        with worlds.halted(job):
            instance.report_run_canceling(run)
            wait_for("the end", lambda: job not in worlds.live_jobs())
        ended.append(time.monotonic())

    with worlds.once_it_works(path, terminate) as jobs:
        result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    assert ended
    assert "was cancelled, because its run was terminated" in failure(result)
    wait_for("accounting", lambda: worlds.state_of(jobs[0]) == "CANCELLED")
    assert_relaunch_goes_on(path, instance, long_work)


def test_the_signal_before_the_time_limit_stops_a_job_cleanly(
    config: Changed, instance: dg.DagsterInstance, long_work: str
) -> None:
    path = config()

    def let_time_run_out(job: str) -> None:
        with worlds.halted(job):
            slurm("scontrol", "update", f"job={job}", "EndTime=now+100")
            marker = _folder(job) / node_room.SIGNAL_MARKER
            wait_for("Slurm's signal", marker.is_file)

    with worlds.once_it_works(path, let_time_run_out):
        result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    said = failure(result)
    assert "stopped cleanly" in said
    assert "time limit of 00:10:00" in said
    assert "`compute.slurm.overrides.chunk_bpb`" in said
    assert_relaunch_goes_on(path, instance, long_work)


def test_a_stopped_evaluation_keeps_finished_benchmarks(
    demo: Path, folder: Path, cluster: dict[str, Any], instance: dg.DagsterInstance
) -> None:
    path = demo_world.write_world(demo, folder, cluster)
    llm, tasks = demo_world.LLMS[0], demo_world.BENCHMARKS

    def finished() -> list[Path]:
        return sorted((folder / "home" / "evaluations").rglob("*.json"))

    def stop(job: str) -> None:
        with worlds.halted(job, when=finished):
            slurm("scancel", "--batch", "--signal=TERM", job)

    with worlds.once(lambda: worlds.live_jobs(""), stop):
        result = worlds.materialise(path, "benchmark_errors", llm, instance)
    assert not result.success
    assert "stopped cleanly: The job was told to stop (SIGTERM)" in failure(result)
    assert len(finished()) == 1
    again = worlds.materialise(path, "benchmark_errors", llm, instance)
    assert again.success, failure(again)
    found = metadata(again, "benchmark_errors")
    assert (found["reused"], found["evaluated"]) == ([tasks[0]], [tasks[1]])


def test_a_job_without_warning_runs_into_its_time_limit(
    config: Changed, instance: dg.DagsterInstance, long_work: str
) -> None:
    path = config(signal_before_timeout=None)

    def let_time_run_out(job: str) -> None:
        with worlds.halted(job):
            slurm("scontrol", "update", f"job={job}", "EndTime=now+2")
            wait_for("the end", lambda: job not in worlds.live_jobs())

    with worlds.once_it_works(path, let_time_run_out):
        result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    assert "ran into its time limit of 00:10:00. Raise `time_limit`" in failure(result)
    assert_relaunch_goes_on(path, instance, long_work)


def test_out_of_memory_names_the_setting(config: Changed, instance: dg.DagsterInstance) -> None:
    result = worlds.materialise(config(memory="150M"), "chunk_bpb", KEY, instance)
    assert not result.success
    said = failure(result)
    assert "ran out of memory on its node (it had asked for 150M). Raise `memory`" in said


def test_what_slurm_refuses(config: Changed, instance: dg.DagsterInstance) -> None:
    result = worlds.materialise(config(memory="900G", gpus=7), "chunk_bpb", KEY, instance)
    assert not result.success
    said = failure(result)
    assert "Slurm did not take the job" in said
    assert "memory: 900G" in said
    assert "gpus: 7" in said


def test_a_login_node_that_is_not_there(config: Changed, instance: dg.DagsterInstance) -> None:
    path = config()
    document = yaml.safe_load(path.read_text())
    document["compute"]["slurm"]["ssh"]["port"] = 1
    path.write_text(yaml.safe_dump(document))
    result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    assert "The cluster's login node cannot be reached" in failure(result)


def test_what_the_node_refuses_reaches_the_run(
    config: Changed, zoo: Path, instance: dg.DagsterInstance
) -> None:
    path = config()
    document = yaml.safe_load(path.read_text())
    document["llms"][0]["models"] = [{"key": LLM, "path": str(zoo / "elsewhere")}]
    path.write_text(yaml.safe_dump(document))
    result = worlds.materialise(path, "chunk_bpb", KEY, instance)
    assert not result.success
    assert "Slurm job" in failure(result)
    assert str(zoo / "elsewhere") in failure(result)


def test_a_killed_run_worker(
    config: Changed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    long_work: str,
) -> None:
    """The next run of the partition takes its job over; another partition does not."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    path = config()
    worker = subprocess.Popen(
        [sys.executable, worlds.__file__, path, "chunk_bpb", KEY, "0.3"],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    wait_for("the first shard", lambda: worlds.shards(path))
    worker.kill()
    worker.wait()
    (orphan,) = worlds.live_jobs()
    with dg.DagsterInstance.get() as instance, contextlib.ExitStack() as halt:

        def looked_for_jobs() -> int:
            return sum(REQUEST_TAG in run.tags for run in instance.get_runs())

        def let_go_once_taken_over(before: int) -> None:
            wait_for("the run that takes it over", lambda: looked_for_jobs() > before)
            halt.close()

        halt.enter_context(worlds.halted(orphan))
        silent_until = time.monotonic() + SECONDS_BETWEEN_LINES
        other = worlds.materialise(path, "chunk_bpb", f"tiny-gpt2|{SAMPLE}", instance)
        time.sleep(max(0.0, silent_until - time.monotonic()))
        with ThreadPoolExecutor() as pool:
            # Let go before, a fast machine would end the job before anybody looks for it.
            letting_go = pool.submit(let_go_once_taken_over, looked_for_jobs())
            same = worlds.materialise(path, "chunk_bpb", KEY, instance)
            letting_go.result()
        said = messages(instance)
    assert other.success, failure(other)
    assert same.success, failure(same)
    assert str(metadata(other, "chunk_bpb")["slurm_job_id"]) != orphan
    assert metadata(other, "chunk_bpb")["llm"] == "tiny-gpt2"
    assert str(metadata(same, "chunk_bpb")["slurm_job_id"]) == orphan
    assert any(re.search(r"tokens \(\d+%\), [\d,]+/s, [\d,]+ s left", line) for line in said), (
        "progress of the node streams to the log of the run"
    )
    assert_equal_to_undisturbed(path, long_work)


def _folder(job: str) -> Path:
    return Path(slurm("squeue", "-h", "-j", job, "-o", "%Z"))
