"""Runs whose process was killed are ended and free their slots; the living keep theirs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.execution.api import create_execution_plan
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.instance_concurrency_context import InstanceConcurrencyContext
from dagster._core.execution.retries import RetryMode

from pcorr_assets.config import Settings
from pcorr_assets.defs import executor
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.executor import EXECUTOR, IN_ONE_PROCESS
from pcorr_assets.defs.instance import INSTANCE
from pcorr_assets.defs.run_processes import (
    FOLDER,
    PROCESS_TAG,
    end_dead_runs,
    join_run,
    processes,
)
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.defs.command_world import CommandWorld
from pcorr_assets_tests.waiting import wait_for

PROJECT = Path(__file__).parents[2]
# An asset of the pool `llm` that works until it is told to stop.
LIGHT = """
import os, time
from pathlib import Path
import dagster as dg
from pcorr_assets.defs.executor import EXECUTOR
from pcorr_assets.defs.run_processes import join_run

FOLDER = Path(__file__).parent

@dg.asset(pool="llm", partitions_def=dg.StaticPartitionsDefinition(["a", "b", "c"]))
def work(context: dg.AssetExecutionContext):
    join_run(context.instance, context.run_id)
    (FOLDER / "new").write_text(str(os.getpid()))
    (FOLDER / "new").rename(FOLDER / f"began-{context.partition_key}")
    while not (FOLDER / f"end-{context.partition_key}").exists():
        time.sleep(0.1)

defs = dg.Definitions(assets=[work], executor=EXECUTOR)
"""
# A process that carries a run, and nothing else.
CARRIER = """
import sys, time
import dagster as dg
from pcorr_assets.defs.run_processes import note_process
with dg.DagsterInstance.get() as instance:
    note_process(instance, sys.argv[1])
    print("noted", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_bytes(INSTANCE.read_bytes())
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return home


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.get() as instance:
        yield instance


class Light:
    """`dagster asset materialize` of the asset above, each in a process group of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "light.py"
        self.file.write_text(LIGHT)
        self.started: list[subprocess.Popen[bytes]] = []

    def start(self, partition: str) -> subprocess.Popen[bytes]:
        command = ["-m", "dagster", "asset", "materialize", "-f", str(self.file)]
        with self.log(partition).open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, *command, "--select", "work", "--partition", partition],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def log(self, partition: str) -> Path:
        return self.folder / f"{partition}.log"

    def step_began(self, partition: str) -> int:
        """Waits for it; the id of the process of the step."""
        path = self.folder / f"began-{partition}"
        wait_for(f"the step of {partition}", path.exists)
        return int(path.read_text())

    def kill_all(self) -> None:
        for process in self.started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture
def light(tmp_path: Path, home: Path) -> Iterator[Light]:
    light = Light(tmp_path)
    yield light
    light.kill_all()


def slots(instance: dg.DagsterInstance) -> set[str]:
    return set(instance.event_log_storage.get_concurrency_run_ids())


def run_of(instance: dg.DagsterInstance, partition: str) -> dg.DagsterRun:
    (run,) = instance.get_runs(dg.RunsFilter(tags={"dagster/partition": partition}))
    return run


def test_a_killed_run_holds_no_slot_that_the_next_waits_for(
    light: Light, instance: dg.DagsterInstance
) -> None:
    killed = light.start("a")
    light.step_began("a")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert slots(instance) == {run_of(instance, "a").run_id}

    # The next begins, without a daemon; then only the process that launched its step is killed.
    outlived = light.start("b")
    step = light.step_began("b")
    assert run_of(instance, "a").status is dg.DagsterRunStatus.FAILURE
    os.kill(outlived.pid, signal.SIGKILL)
    outlived.wait()

    waiting = light.start("c")
    wait_for("the message", lambda: "Waiting for a slot of the pool llm" in log_of(light, "c"))
    held_by = run_of(instance, "b")
    assert f"held by run {held_by.run_id[:8]} (work b; process {outlived.pid}" in log_of(light, "c")
    assert end_dead_runs(instance) == []
    assert run_of(instance, "b").status is dg.DagsterRunStatus.STARTED

    os.kill(step, signal.SIGKILL)
    light.step_began("c")
    assert run_of(instance, "b").status is dg.DagsterRunStatus.FAILURE
    (light.folder / "end-c").touch()
    assert waiting.wait(timeout=300) == 0, log_of(light, "c")
    assert run_of(instance, "c").status is dg.DagsterRunStatus.SUCCESS
    assert slots(instance) == set()
    end_dead_runs(instance)
    assert list((light.folder / "dagster_home" / FOLDER).iterdir()) == []


def log_of(light: Light, partition: str) -> str:
    return light.log(partition).read_text()


@dg.job
def some_job() -> None:
    pass


def begun_run(instance: dg.DagsterInstance, tags: dict[str, str] | None = None) -> dg.DagsterRun:
    run = instance.create_run_for_job(some_job, tags=tags)
    event = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, "some_job", message="begun")
    instance.report_dagster_event(event, run.run_id)
    return run


@pytest.fixture
def carried(instance: dg.DagsterInstance) -> Iterator[tuple[dg.DagsterRun, subprocess.Popen[str]]]:
    """A run that has begun and holds the one slot of a pool, and the process that carries it."""
    run = begun_run(instance)
    instance.event_log_storage.set_concurrency_slots("llm", 1)
    instance.event_log_storage.claim_concurrency_slot("llm", run.run_id, "step")
    process = subprocess.Popen(
        [sys.executable, "-c", CARRIER, run.run_id], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "noted\n"
    yield run, process
    process.kill()
    process.wait()
    process.stdout.close()


def test_of_another_host_nothing_is_decided(
    carried: tuple[dg.DagsterRun, subprocess.Popen[str]],
    instance: dg.DagsterInstance,
    home: Path,
    whole: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, process = carried
    monkeypatch.setenv("PCORR_CONFIG", str(whole / "pcorr.yaml"))
    world = CommandWorld(whole)
    name = f"run {run.run_id[:8]} (some_job; process {process.pid}"
    assert f"left, it lives: {name}" in world.run("free-slots")
    assert "lives; terminate it" in world.run("free-slots", "--run", run.run_id[:8], status=1)
    assert "its process is gone" not in world.run("status")
    process.kill()
    process.wait()
    assert f"because its process is gone: {name}" in world.run("status")
    (note,) = (home / FOLDER).iterdir()
    noted = json.loads(note.read_text())
    note.write_text(json.dumps(noted | {"host": "elsewhere", "boot": "another"}))
    assert [seen.life for seen in processes(instance)] == ["unknown"]
    assert end_dead_runs(instance) == []
    listed = world.run("free-slots")
    assert "whether it lives cannot be told from here" in listed
    assert f"pcorr free-slots --run {run.run_id[:8]}" in listed
    assert slots(instance) == {run.run_id}
    assert "Ended" in world.run("free-slots", "--run", run.run_id[:8])
    assert slots(instance) == set()
    assert world.run("free-slots").startswith("No run has begun")


@pytest.mark.parametrize("rebooted", [False, True])
def test_a_dead_process_of_this_host_is_told_also_after_a_restart(
    carried: tuple[dg.DagsterRun, subprocess.Popen[str]],
    instance: dg.DagsterInstance,
    home: Path,
    rebooted: bool,
) -> None:
    run, process = carried
    assert end_dead_runs(instance) == []
    process.kill()
    process.wait()
    (note,) = (home / FOLDER).iterdir()
    if rebooted:
        note.write_text(json.dumps(json.loads(note.read_text()) | {"boot": "an earlier one"}))
    assert [ended.run.run_id for ended in end_dead_runs(instance)] == [run.run_id]
    now = instance.get_run_by_id(run.run_id)
    assert now is not None
    assert now.status is dg.DagsterRunStatus.FAILURE
    assert slots(instance) == set()
    assert end_dead_runs(instance) == []
    with pytest.raises(PcorrError, match="before this step of it began"):
        join_run(instance, run.run_id)


def test_a_tag_that_a_run_was_copied_with_says_nothing_of_it(
    carried: tuple[dg.DagsterRun, subprocess.Popen[str]], instance: dg.DagsterInstance
) -> None:
    run, process = carried
    now = instance.get_run_by_id(run.run_id)
    assert now is not None
    process.kill()
    process.wait()
    again = begun_run(instance, {PROCESS_TAG: now.tags[PROCESS_TAG]})
    assert [ended.run.run_id for ended in end_dead_runs(instance)] == [run.run_id]
    assert {seen.run.run_id: seen.life for seen in processes(instance)} == {again.run_id: "unknown"}


def test_a_run_that_waits_for_a_slot_sleeps_between_its_looks(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dg.op(pool="llm")
    def step() -> None:
        pass

    @dg.job(executor_def=IN_ONE_PROCESS)
    def pooled() -> None:
        step()

    storage = instance.event_log_storage
    storage.set_concurrency_slots("llm", 1)
    storage.claim_concurrency_slot("llm", begun_run(instance).run_id, "step")
    run = instance.create_run_for_job(pooled)
    pauses: list[float] = []
    monkeypatch.setattr(executor, "time", SimpleNamespace(sleep=pauses.append))
    plan = create_execution_plan(pooled)
    with (
        InstanceConcurrencyContext(instance, run) as slots_of_run,
        ActiveExecution(
            plan, RetryMode.DISABLED, instance_concurrency_context=slots_of_run
        ) as active,
    ):
        assert [active.get_next_step() for _ in range(3)] == [None] * 3
        assert pauses == [executor.SECONDS_BETWEEN_STEPS] * 3
        storage.set_concurrency_slots("llm", 2)
        wait_for("the step", lambda: active.get_next_step())
        pauses.clear()
        # A step that runs is not kept waiting for its events.
        assert active.get_next_step() is None
        assert pauses == []
        active.mark_success("step")


def test_every_run_of_the_platform_notes_its_process(matrix_settings: Settings) -> None:
    repository = build_definitions(matrix_settings).get_repository_def()
    for job in repository.get_all_jobs():
        assert job.executor_def in (EXECUTOR, IN_ONE_PROCESS), job.name
    assert "free_slots" in {sensor.name for sensor in repository.sensor_defs}
