"""Several processes that score one LLM: the same bytes as from one, whoever is killed when."""

from __future__ import annotations

import functools
import multiprocessing
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import score_llm
from pcorr_assets.jobs.record import JobLLM
from pcorr_assets.lm.crew import Board, Crew
from pcorr_assets.lm.session import StoppedError
from pcorr_assets.lm.shards import ShardFolder
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.jobs.test_score_llm import LLM, describe, start
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.waiting import wait_for


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A home with one sample and one LLM, and the hash that scoring it gives undisturbed."""
    folder = tmp_path_factory.mktemp("workers")
    tiny.save_llm(folder / "zoo" / LLM, "llama", tokenizer=tiny.byte_tokenizer("<s> $A"))
    tiny.write_chunks(folder / "home", "web", tiny.words(300, 12))
    job = job_of(folder / "home", 1, seconds_per_shard=30.0)
    return folder / "home", score_llm.run(job)["sha256"]


@pytest.fixture(autouse=True)
def no_shards_left(world: tuple[Path, str]) -> Iterator[None]:
    """A test that ends in a failure of the job leaves what was finished."""
    yield
    shutil.rmtree(world[0] / "shards", ignore_errors=True)


def job_of(home: Path, workers: int, **changes: Any) -> dict[str, Any]:
    options = {"batch_tokens": 32, "threads": 1, "force": True, "seconds_per_shard": 0.0}
    return describe(home, **{**options, "scoring_workers": workers, **changes})


def shards(home: Path) -> list[Path]:
    return list((home / "shards").rglob("*.parquet"))


def helpers_of(process: int) -> list[int]:
    """Processes that it started."""
    return [int(n) for n in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


@pytest.mark.parametrize("workers", [2, 3])  # one: test_score_llm.py
def test_killed_at_a_seeded_moment_and_launched_again(
    world: tuple[Path, str], workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, undisturbed = world
    enough = random.Random(workers).randint(2, 30)
    process = start(home, job_of(home, workers))

    def at_work() -> bool:
        assert process.poll() is None, process.communicate()
        return len(shards(home)) >= enough

    wait_for("enough shards", at_work, every=0.002)
    helpers = helpers_of(process.pid)
    process.kill()
    process.communicate(timeout=60)
    wait_for("its helpers to end", lambda: not any(map(_lives, helpers)))

    _once_all_have_begun(monkeypatch, workers)
    resumed = score_llm.run(job_of(home, workers))
    assert resumed["sha256"] == undisturbed
    report = resumed["metadata"]
    assert report["resumed_batches"] >= enough
    assert report["scoring_workers"] == workers
    assert report["scored_token_count"] < report["token_count"]
    assert not (home / "shards" / LLM / "web").exists()


def test_a_helper_that_is_killed_leaves_its_work_to_the_others(
    world: tuple[Path, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, undisturbed = world
    _after_each_shard(monkeypatch, home, _kill_helpers(signal.SIGKILL))
    result = score_llm.run(job_of(home, 2))
    assert result["sha256"] == undisturbed
    assert "1 processes that scored tiny-a were ended from outside" in caplog.text


def test_no_batch_is_scored_twice(world: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    home, undisturbed = world
    counted: Counter[int] = Counter()
    clear = ShardFolder.clear

    def count_first(folder: ShardFolder) -> None:
        for path in folder.folder.glob("*.parquet"):
            counted.update(set(pq.read_table(path)["batch"].to_pylist()))
        clear(folder)

    monkeypatch.setattr(ShardFolder, "clear", count_first)
    _after_each_shard(monkeypatch, home, _wait_for_helpers())
    result = score_llm.run(job_of(home, 2))
    assert result["sha256"] == undisturbed
    assert set(counted) == set(range(result["metadata"]["batch_count"]))
    assert set(counted.values()) == {1}


def test_a_helper_that_is_late_is_not_waited_for(
    world: tuple[Path, str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, undisturbed = world
    begun: list[bool] = []
    wait = Crew.wait

    def note(self: Crew, *arguments: Any) -> bool:
        begun.append(self.board.has_begun(1))
        return wait(self, *arguments)

    monkeypatch.setattr(Crew, "wait", note)
    result = score_llm.run(job_of(home, 2, batch_tokens=2_000, seconds_per_shard=30.0))
    assert 1 < result["metadata"]["batch_count"] < 10
    assert begun == [False]  # loading torch takes longer than these batches
    assert "ended from outside" not in caplog.text
    again = score_llm.run(job_of(home, 1, batch_tokens=2_000, seconds_per_shard=30.0))
    assert again["sha256"] == result["sha256"] != undisturbed


def test_a_helper_that_fails_says_why(
    world: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, _ = world
    helpers = ("cuda:1",)
    monkeypatch.setattr(JobLLM, "helpers", lambda *_: helpers)

    def wait_for_the_failure(home: Path) -> None:
        wait_for("the failure", lambda: list((home / "shards").rglob("failed-1")))

    _after_each_shard(monkeypatch, home, wait_for_the_failure)
    with pytest.raises(PcorrError, match="cuda:1 is not available here"):
        score_llm.run(job_of(home, 2))


def test_jobs_for_parts_of_one_plan(world: tuple[Path, str]) -> None:
    home, undisturbed = world
    for part, batches in ((2, 9), (1, 5)):
        answers = iter([False] * batches)
        job = job_of(home, 1, part=part, parts=3)
        with pytest.raises(StoppedError):
            score_llm.run(job, functools.partial(next, answers, True))
    scored = [pq.read_table(path)["batch"].unique().to_pylist() for path in shards(home)]
    assert sorted({batch % 3 for (batch,) in scored}) == [1, 2]

    first = score_llm.run(job_of(home, 1, parts=3, seconds_per_shard=30.0))
    assert first["metadata"]["resumed_batches"] == 9 + 5
    assert first["sha256"] == undisturbed
    late = score_llm.run(job_of(home, 1, part=1, parts=3, force=False))
    assert late["metadata"]["reused"]


def test_two_jobs_at_once(world: tuple[Path, str]) -> None:
    home, undisturbed = world
    Warehouse(home).path("chunk_bpb", LLM, "web").unlink()
    other = start(home, job_of(home, 1, part=1, parts=2, force=False))
    wait_for("shards of the other job", lambda: len(shards(home)) > 3, every=0.002)
    first = score_llm.run(job_of(home, 1, parts=2))
    report = first["metadata"]
    said, error = other.communicate(timeout=100)
    assert first["sha256"] == undisturbed
    assert report["resumed_batches"] > 3
    assert report["scored_token_count"] < report["token_count"]
    # It came to an end of its own, or found that there is nothing left to do.
    assert other.returncode == 0 or "was asked to stop" in error, (said, error)


def _once_all_have_begun(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    """The first process draws its first batch when the others are there too."""
    draw = Board.draw

    def wait_and_draw(board: Board) -> Iterator[int]:
        wait_for("the others", lambda: all(map(board.has_begun, range(1, workers))), every=0.01)
        return draw(board)

    monkeypatch.setattr(Board, "draw", wait_and_draw)


def _after_each_shard(
    monkeypatch: pytest.MonkeyPatch, home: Path, act: Callable[[Path], None]
) -> None:
    """This process does something once the helpers are at work too."""
    write = ShardFolder.write

    def and_act(self: ShardFolder, *args: Any) -> Path:
        path = write(self, *args)
        act(home)
        return path

    monkeypatch.setattr(ShardFolder, "write", and_act)


def _wait_for_helpers() -> Callable[[Path], None]:
    waited: list[bool] = []

    def act(home: Path) -> None:
        if not waited:
            waited.append(True)
            wait_for("shards of a helper", lambda: len(shards(home)) > 5, every=0.002)

    return act


def _kill_helpers(number: signal.Signals) -> Callable[[Path], None]:
    wait = _wait_for_helpers()
    killed: list[int] = []

    def act(home: Path) -> None:
        wait(home)
        if not killed:
            killed.extend(child.pid or 0 for child in multiprocessing.active_children())
            for helper in killed:
                os.kill(helper, number)

    return act


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
