"""The kinds of fault that happen to a running stage.

Belongs here: one function for each kind, from a seed to an outcome. Does not belong here: the
trial that all share (`bench`), damage to files at rest (`flips`), and other places (`places`).
"""

from __future__ import annotations

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial

from pcorr_assets_tests.faults import moments
from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import Outcome
from pcorr_assets_tests.faults.process import Child, Ended, in_child
from pcorr_assets_tests.faults.runs import run_stage
from pcorr_assets_tests.faults.world import Stage

Kind = Callable[[Bench, Stage, int], Outcome]

PAGE = 4096
ROOM = 256 << 20
JUMPS = (timedelta(days=3650), timedelta(days=-3650), timedelta(days=2), timedelta(hours=-1))


def kill_at_moment(bench: Bench, stage: Stage, seed: int, again: bool = False) -> Outcome:
    """kill -9 at the n-th change of a file."""
    kind = "kill -9 of a repeated run" if again else "kill -9 before a change on disk"
    number, outcome = _moment(bench, stage, seed, kind, again)

    def first() -> Ended:
        return bench.disturbed(stage, moments.kill_at(number)).end()

    return bench.trial(outcome, stage, first, again=again)


def kill_at_time(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """kill -9 at some time of the stage's duration, in whatever library it is."""
    share = random.Random(f"{stage.name} time {seed}").random()
    outcome = Outcome("kill -9 at a random time", stage.name, seed, f"at {share:.0%} of its time")
    bench.restore(bench.before(stage))

    def first() -> Ended:
        child = Child(run_stage, bench.project, stage)
        if not child.wait(share * bench.seconds[stage.name]):
            child.kill()
        return child.end()

    return bench.trial(outcome, stage, first)


def full_disk_at_moment(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """From the n-th change on, the disk is full."""
    number, outcome = _moment(bench, stage, seed, "disk full from a change on")

    def first() -> Ended:
        return bench.disturbed(stage, moments.full_from(number)).end()

    return bench.trial(outcome, stage, first)


def read_only_at_moment(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """From the n-th change on, nothing can be written."""
    number, outcome = _moment(bench, stage, seed, "disk turns read-only")

    def first() -> Ended:
        return bench.disturbed(stage, moments.read_only_from(number)).end()

    return bench.trial(outcome, stage, first)


def really_full_disk(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """A file system that has room for a part of what the stage writes."""
    rng = random.Random(f"{stage.name} full {seed}")
    with _file_system(bench) as resize:
        bench.restore(bench.before(stage))
        before = _used_pages(bench)
        in_child(run_stage, bench.project, stage)
        pages = max(_used_pages(bench) - before, 1)
        bench.restore(bench.before(stage))
        room = rng.randrange(pages + 1)
        resize((_used_pages(bench) + room) * PAGE)
        outcome = Outcome("disk really full", stage.name, seed, f"{room} of {pages} pages left")
        return bench.trial(
            outcome,
            stage,
            lambda: Child(run_stage, bench.project, stage).end(),
            between=lambda: resize(ROOM),
        )


def read_only_file_system(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """A file system that is mounted read-only when the stage begins."""
    with _file_system(bench) as resize:
        bench.restore(bench.before(stage))
        _mount(bench, "remount,ro")
        outcome = Outcome("file system read-only", stage.name, seed)

        def between() -> None:
            _mount(bench, "remount,rw")
            resize(ROOM)

        return bench.trial(
            outcome,
            stage,
            lambda: Child(run_stage, bench.project, stage).end(),
            between=between,
        )


def clock_jump(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """The clock jumps at the n-th change, by hours or years, forth or back."""
    number, outcome = _moment(bench, stage, seed, "clock jump")
    jump = JUMPS[seed % len(JUMPS)]
    outcome.moment += f", by {jump}"

    def first() -> Ended:
        return bench.disturbed(stage, partial(_jump, number, jump.total_seconds())).end()

    return bench.trial(outcome, stage, first)


def two_runs(bench: Bench, stage: Stage, seed: int) -> Outcome:
    """A second run of the partition while the first is at its n-th change."""
    number, outcome = _moment(bench, stage, seed, "two runs of one partition")

    def first() -> Ended:
        reached, say_reached = os.pipe()
        wait, go_on = os.pipe()
        one = bench.disturbed(stage, moments.pause_at(number, say_reached, wait))
        os.read(reached, 1)
        other = Child(run_stage, bench.project, stage).end()
        os.write(go_on, b".")
        ended = one.end()
        for end in (reached, say_reached, wait, go_on):
            os.close(end)
        return Ended([ended.value, other.value], output=ended.output + other.output)

    return bench.trial(outcome, stage, first)


def _moment(
    bench: Bench, stage: Stage, seed: int, kind: str, again: bool = False
) -> tuple[int, Outcome]:
    """A seeded moment of the stage, and the outcome to fill; the home is as before it.

    Seeds go through a shuffled list of the moments, so that few seeds meet different ones.
    """
    there = bench.moments(stage, again)
    order = list(range(1, len(there) + 1))
    random.Random(f"{stage.name} {kind}").shuffle(order)
    number = order[seed % len(order)]
    moment = f"moment {number} of {len(there)} ({there[number - 1]})"
    bench.restore(bench.before(stage, again))
    return number, Outcome(kind, stage.name, seed, moment)


def _jump(at: int, seconds: float, number: int, what: str) -> None:
    if number != at:
        return
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)


@contextlib.contextmanager
def _file_system(bench: Bench) -> Iterator[Callable[[int], None]]:
    """A file system of its own at the home; yields a function that sets its size in bytes."""
    bench.home.mkdir(exist_ok=True)
    _mount(bench, f"size={ROOM}", fresh=True)
    try:
        yield lambda size: _mount(bench, f"remount,size={size}")
    finally:
        subprocess.run(["umount", str(bench.home)], check=True)


def _mount(bench: Bench, options: str, *, fresh: bool = False) -> None:
    what = ["-t", "tmpfs", "tmpfs"] if fresh else []
    subprocess.run(["mount", "-o", options, *what, str(bench.home)], check=True)


def _used_pages(bench: Bench) -> int:
    found = os.statvfs(bench.home)
    return (found.f_blocks - found.f_bfree) * found.f_frsize // PAGE


def can_mount() -> bool:
    """Whether this user may mount a file system; else two kinds are left out."""
    return os.geteuid() == 0 and os.path.exists("/proc/filesystems")
