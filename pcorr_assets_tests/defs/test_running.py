"""The loop of `pcorr run`: order, failures, what others do meanwhile; and how it is shown.

Runs are events here, made at once; with processes: `operation/test_pcorr_run.py`.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pyarrow as pa
import pytest
from dagster._core.test_utils import create_run_for_test

from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.plans import Part, name_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.running.launch import plan_lines, processes_at_once
from pcorr_assets.defs.running.outcome import Outcome, Stage
from pcorr_assets.defs.running.overview import Overview, overview
from pcorr_assets.defs.running.request import Request
from pcorr_assets.defs.running.runner import Runner
from pcorr_assets.defs.running.schedule import in_one_run
from pcorr_assets.defs.running.stopping import Stopping
from pcorr_assets.defs.running.workers import Answer, Task
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets_tests.defs import automation_world
from pcorr_assets_tests.defs.automation_world import AutomationWorld
from pcorr_assets_tests.defs.test_jobs import CONFIG, ONE, TEXTS, TWO

PAIRS = [f"{sample}|{target}" for sample in ("web", "books") for target in ("arc", "piqa")]
GROUP = "crawl/0000"


class InstantWorkers:
    """Processes whose runs are over as soon as somebody listens."""

    def __init__(self, world: AutomationWorld, at_most: int = 2) -> None:
        self.at_most = at_most
        self.begun: list[Part] = []
        self.most_at_once: dict[str, int] = {}
        self.failing: set[Part] = set()
        self.then: dict[Part, Callable[[], None]] = {}
        self._world = world
        self._carried: list[tuple[Any, list[dg.DagsterRun]]] = []

    @property
    def busy(self) -> list[Any]:
        return [worker for worker, _ in self._carried]

    @property
    def has_room(self) -> bool:
        return len(self._carried) < self.at_most

    def begin(self, task: Task) -> None:
        self.begun += task.parts
        runs = [self._world.begin(task.asset, str(partition)) for partition in task.partitions]
        self._carried.append((SimpleNamespace(task=task, progress=""), runs))
        now = sum(worker.task.asset == task.asset for worker in self.busy)
        self.most_at_once[task.asset] = max(now, self.most_at_once.get(task.asset, 0))

    def listen(self, seconds: float) -> Iterator[Answer]:
        worker, runs = self._carried.pop(0)
        status = "SUCCESS"
        for part, run in zip(worker.task.parts, runs, strict=True):
            self.then.get(part, lambda: None)()
            if part in self.failing:
                status = "FAILURE"
                self._world.fail(run)
            else:
                self._world.finish(run, *map(str, part))
        yield Answer(worker, status=status)

    def forget(self, worker: Any) -> None:
        raise AssertionError("no process is gone")


class World:
    """A fresh configuration of two samples, targets and LLMs, and a pool of one group."""

    def __init__(self, tmp_path: Path, instance: dg.DagsterInstance, **changes: Any) -> None:
        self.settings = settings_from({**CONFIG, **changes}, folder=tmp_path)
        self.events = AutomationWorld(self.settings, instance)
        self.events.add_llms(ONE, TWO)
        instance.add_dynamic_partitions("pool_group", [GROUP])
        self.events.materialise("pool_files", GROUP)
        self.workers = InstantWorkers(self.events)
        self.said = io.StringIO()

    def runner(self, request: Request | None = None, stopping: Stopping | None = None) -> Runner:
        self.workers.begun.clear()
        return Runner(
            Platform(self.settings),
            self.events.instance,
            self.events.definitions.resolve_asset_graph(),
            request or Request(),
            cast(Any, self.workers),
            Overview(lambda line: print(line, file=self.said)),
            stopping or Stopping(),
        )

    def run(self, **request: Any) -> Outcome:
        return self.runner(Request(**request)).run()

    def made(self, asset: str) -> list[str | None]:
        return [partition for name, partition in self.workers.begun if name == asset]


@pytest.fixture
def world(tmp_path: Path, instance: dg.DagsterInstance) -> World:
    return World(tmp_path, instance)


def test_everything_is_made_once_after_what_it_is_made_from(world: World) -> None:
    outcome = world.run()
    assert outcome.all_well
    begun = [name_of(part) for part in world.workers.begun]
    assert len(begun) == len(set(begun)) == outcome.made
    place = {name: index for index, name in enumerate(begun)}
    assert place["chunked_dataset books"] < place[f"benchmark_errors {ONE}"]
    for llm in (ONE, TWO):
        assert place[f"chunk_bpb {llm}|web"] > place["chunked_dataset web"]
        assert place[f"chunk_bpb {llm}|web"] < place["bpb_matrix web"]
        assert place[f"benchmark_errors {llm}"] < place["error_vector arc"]
    # By Dagster's rule an error vector is stale once a matrix is made after it.
    assert place["bpb_matrix books"] < place["error_vector arc"] < place["estimate web|arc"]
    assert place["fasttext_filter web|piqa"] < place[f"pool_scores {GROUP}"]
    assert place[f"pool_scores {GROUP}"] < place["selected_data crawl|arc"]
    assert set(world.made("report")) == set(PAIRS)
    assert world.workers.most_at_once["selected_data"] == 1
    assert world.workers.most_at_once["chunk_bpb"] == 1  # slots of its pool

    again = world.run()
    assert again.all_well
    assert world.workers.begun == []
    assert again.last_line().startswith("Nothing to do")


def test_what_fails_stops_only_what_needs_it(world: World) -> None:
    world.workers.failing = {("chunk_bpb", f"{TWO}|web"), ("error_vector", "piqa")}
    outcome = world.run()
    assert not outcome.all_well
    assert set(outcome.failed) == world.workers.failing
    # The matrix is made without the LLM, the target without its neighbour.
    assert set(world.made("bpb_matrix")) == {"web", "books"}
    assert set(world.made("report")) == {"web|arc", "books|arc"}
    assert world.made("pool_scores") == [GROUP]
    assert world.made("selected_data") == ["crawl|arc"]
    reasons = {name_of(part): reason for part, reason in outcome.not_made.items()}
    assert reasons["estimate web|piqa"] == "error_vector piqa failed"
    assert reasons["selected_data crawl|piqa"] == "error_vector piqa failed"
    lines = list(outcome.complaints())
    assert sum(TWO in line for line in lines) == 1

    world.workers.failing = set()
    assert world.run().all_well
    assert world.made("chunk_bpb") == [f"{TWO}|web"]
    # What comes out of the LLM that is there now, and the target that failed; not its neighbours'.
    assert set(world.made("bpb_matrix")) == {"web"}
    assert "books|arc" not in world.made("chunked_dataset")


def test_one_reason_is_one_line(world: World) -> None:
    outcome = Outcome(failed={("chunk_bpb", "x|web"): "gated", ("benchmark_errors", "x"): "gated"})
    assert list(outcome.complaints()) == ["failed:", "  chunk_bpb x|web, benchmark_errors x: gated"]
    assert outcome.last_line().startswith("0 partitions made, 2 failed")


def test_what_came_out_as_before_makes_nothing_again(world: World) -> None:
    world.run()
    # The same content of one LLM, once more: nothing follows from it.
    run = world.events.begin("chunk_bpb", f"{ONE}|web")
    world.events.fail(run)
    finish, versions = world.events.finish, world.events.instance.event_log_storage
    before = versions.get_latest_tags_by_partition(
        dg.AssetKey("chunk_bpb"),
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        ["dagster/data_version"],
    )[f"{ONE}|web"]["dagster/data_version"]

    def same(run: dg.DagsterRun, asset: str, partition: str) -> None:
        finish(run, asset, partition, before)

    world.events.finish = same  # type: ignore[method-assign]
    outcome = world.run()
    assert world.workers.begun == [("chunk_bpb", f"{ONE}|web")]
    assert outcome.stages["bpb_matrix"].unchanged == 1
    assert outcome.all_well


def test_an_llm_that_comes_meanwhile_is_taken_in(world: World) -> None:
    add = lambda: world.events.add_llms("a/three")  # noqa: E731
    world.workers.then = {("error_vector", "arc"): add}
    outcome = world.run()
    assert outcome.all_well
    assert "a/three|books" in world.made("chunk_bpb")
    assert world.made("bpb_matrix").count("web") == 2
    assert world.made("chunked_dataset").count("web") == 1


def test_what_others_make_is_waited_for_and_not_made_twice(world: World) -> None:
    others = world.events.begin("chunk_bpb", f"{TWO}|books")
    stopping = Stopping()

    def they_finish(seconds: float) -> None:
        del seconds
        world.events.finish(others, "chunk_bpb", f"{TWO}|books")

    stopping.wait = they_finish  # type: ignore[method-assign]
    outcome = world.runner(stopping=stopping).run()
    assert outcome.all_well
    assert f"{TWO}|books" not in world.made("chunk_bpb")
    assert "waiting for others" in world.said.getvalue()
    assert world.made("bpb_matrix").count("books") == 2  # once without it
    assert world.made("bpb_matrix").count("web") == 1


def test_runs_that_wait_for_a_daemon_are_not_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def not_started(instance: dg.DagsterInstance, **_: Any) -> dg.DagsterRun:
        return create_run_for_test(instance, status=dg.DagsterRunStatus.NOT_STARTED)

    monkeypatch.setattr(automation_world, "create_run_for_test", not_started)
    world.events.begin("chunked_dataset", "books")
    outcome = world.run(samples=["books"])
    assert not outcome.all_well
    assert ("chunked_dataset", "books") in outcome.elsewhere
    assert world.made("chunked_dataset") == []


def test_what_cannot_be_is_left_out_and_no_failure(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    published = {"matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv"}}
    world = World(tmp_path, instance, samples={"web": TEXTS, "published": published})
    for target in ("arc", "piqa"):
        rows = [{"target": target, "source": "lm_eval", "llm": ONE, "family": "a", "error": 0.5}]
        table = pa.Table.from_pylist(rows, schema=TABLES["error_vectors"].schema)
        Warehouse(world.settings.home).write("error_vectors", (target,), table)
    outcome = world.run()
    assert outcome.all_well
    assert set(world.made("report")) == {"web|arc", "web|piqa"}
    assert ("estimate", "published|arc") in outcome.not_applicable
    assert ("report", "published|arc") in outcome.not_applicable
    assert "  estimate published|arc" in "\n".join(outcome.notes())
    again = world.run()
    assert world.workers.begun == []
    assert again.all_well


def test_a_signal_ends_it_between_two_runs(world: World) -> None:
    stopping = Stopping()
    stop = lambda: stopping.note(signal.SIGINT, None)  # noqa: E731
    world.workers.then = {("bpb_matrix", "web"): stop}
    outcome = world.runner(stopping=stopping).run()
    assert outcome.signal == signal.SIGINT
    assert not outcome.all_well
    assert outcome.last_line().startswith("Stopped after")
    assert world.made("report") == []


@pytest.mark.parametrize(
    ("request_of", "expected"),
    [
        ({"to": ["bpb_matrix"]}, {"chunked_dataset", "chunk_bpb", "bpb_matrix"}),
        (
            {"to": ["error_vector"], "llms": [ONE]},
            {"chunked_dataset", "chunk_bpb", "bpb_matrix", "benchmark_errors", "error_vector"},
        ),
        ({"to": ["pool_files"]}, set()),
    ],
)
def test_only_what_is_asked_for(
    world: World, request_of: dict[str, Any], expected: set[str]
) -> None:
    assert world.run(**request_of, samples=["web"]).all_well
    assert {asset for asset, _ in world.workers.begun} == expected
    of_llm = {partition for partition in world.made("chunk_bpb") if partition}
    if "llms" in request_of:
        assert of_llm == {f"{ONE}|web"}
    assert not any(partition.endswith("|books") for partition in of_llm)


@pytest.mark.parametrize(
    ("request_of", "said"),
    [
        ({"to": ["estimat"]}, "'estimat' is not one of the assets; did you mean estimate?"),
        ({"samples": ["wep"]}, "'wep' is not one of the samples; did you mean web?"),
        ({"targets": ["ark"]}, "'ark' is not one of the targets; did you mean arc?"),
        ({"llms": ["a/on"]}, "'a/on' is not one of the registered LLMs; did you mean a/one?"),
        ({"pools": ["craw"]}, "'craw' is not one of the pools; did you mean crawl?"),
    ],
)
def test_names_that_there_are_not(world: World, request_of: dict[str, Any], said: str) -> None:
    with pytest.raises(PcorrError) as error:
        world.run(**request_of)
    assert str(error.value) == said


def test_stale_llms_are_kept_on_request(world: World) -> None:
    world.run()
    world.events.materialise("chunked_dataset", "web")
    assert world.run(rescore_stale=False).all_well
    assert world.made("chunk_bpb") == []
    assert world.run().all_well
    assert set(world.made("chunk_bpb")) == {f"{ONE}|web", f"{TWO}|web"}


def test_what_is_out_of_date_again_is_not_made_for_ever(world: World) -> None:
    chunk = lambda: world.events.materialise("chunked_dataset", "web")  # noqa: E731
    world.workers.then = {("report", "web|arc"): chunk}
    outcome = world.run(samples=["web"])
    assert not outcome.all_well
    (trouble,) = outcome.troubles
    assert "out of date again" in trouble


def test_neighbours_of_a_sample_go_together(world: World) -> None:
    graph = world.events.definitions.resolve_asset_graph()
    estimates: list[Part] = [("estimate", pair) for pair in PAIRS]
    together = list(in_one_run(graph, estimates, 1))
    assert sorted(map(len, together)) == [2, 2]
    assert {tuple(str(key).split("|")[0] for _, key in run) for run in together} == {
        ("web", "web"),
        ("books", "books"),
    }
    assert [len(run) for run in in_one_run(graph, estimates, 4)] == [1, 1, 1, 1]
    assert [len(run) for run in in_one_run(graph, [("bpb_matrix", "web")], 4)] == [1]


def test_the_plan_in_words(world: World) -> None:
    lines = list(plan_lines(world.runner().plan()))
    assert f"  {'chunk_bpb':22} 4 missing: {ONE}|web, {ONE}|books, {TWO}|web and 1 more" in lines
    world.run()
    world.events.materialise("chunked_dataset", "web")
    lines = list(plan_lines(world.runner().plan()))
    assert "    stale because 1 partition of chunked_dataset changed: web" in lines
    assert any("bpb_matrix" in line and "1 that follow: web" in line for line in lines)


def test_processes_follow_the_configuration(world: World) -> None:
    for parallel in (1, 9):
        for mode, expected in (("local", max(parallel, 1)), ("slurm", max(parallel, 4) + 1)):
            compute = world.settings.compute.model_copy(
                update={"mode": mode, "max_parallel_llms": parallel}
            )
            settings = world.settings.model_copy(update={"compute": compute})
            assert expected <= processes_at_once(settings) <= expected + 3


def stages() -> list[Stage]:
    now = time.monotonic()
    over = Stage("chunk_bpb", total=4, done=3, failed=1, since=now - 8, until=now)
    on = Stage("bpb_matrix", total=4, done=1, since=now - 90, running=1, doing="web")
    on.latest = now - 30
    return [over, on, Stage("estimate", total=2)]


def test_lines_are_few_and_say_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    view = Overview(said.append)
    for _ in range(50):
        view.draw(stages())
    assert said == ["  chunk_bpb                 3 made      8.0 s, 1 failed"]
    later, fixed = time.monotonic() + 40, stages()
    fixed[1].latest, fixed[1].since = later - 30, later - 90
    monkeypatch.setattr(time, "monotonic", lambda: later)
    view.draw(fixed)
    assert said[1:] == ["  bpb_matrix: 1 of 4 (25%), 1 running, 1/min, 2 min 30 s left, web"]


def test_a_terminal_has_a_live_line_for_each_stage() -> None:
    reader, terminal = os.openpty()
    with os.fdopen(terminal, "w") as out, overview(out) as view:
        view.draw(stages())
    # A read may give a part of what was written; behind the last part it fails.
    parts: list[bytes] = []
    with contextlib.suppress(OSError):
        while part := os.read(reader, 1 << 16):
            parts.append(part)
    os.close(reader)
    shown = b"".join(parts).decode()
    assert "chunk_bpb                 3 made      8.0 s, 1 failed" in shown
    assert "1/4" in shown
    assert "estimate" not in shown
