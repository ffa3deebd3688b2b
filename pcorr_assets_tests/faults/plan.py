"""Which faults are tried, in an order that may be cut off anywhere.

Belongs here: how many of each kind, for the long and the short form. Does not belong here:
what they are.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from pcorr_assets_tests.faults import flips, kinds, places
from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import Outcome
from pcorr_assets_tests.faults.world import STAGES, Stage

Trial = Callable[[], Iterable[Outcome]]

# Faults of each kind that happen to each stage.
LONG: dict[kinds.Kind, int] = {
    kinds.kill_at_moment: 5,
    kinds.kill_at_time: 2,
    partial(kinds.kill_at_moment, again=True): 2,
    kinds.full_disk_at_moment: 2,
    kinds.really_full_disk: 2,
    kinds.read_only_at_moment: 1,
    kinds.read_only_file_system: 1,
    kinds.clock_jump: 1,
    kinds.two_runs: 2,
}
NEED_A_MOUNT = (kinds.really_full_disk, kinds.read_only_file_system)
FLIPS_READ = 10
FLIPS_OF_OTHERS = 2

# The short form: the first stages, which need neither lm-eval nor fastText.
SHORT_STAGES = STAGES[:2]
SHORT: dict[kinds.Kind, int] = {
    kinds.kill_at_moment: 2,
    kinds.kill_at_time: 1,
    kinds.full_disk_at_moment: 1,
    kinds.read_only_at_moment: 1,
    kinds.two_runs: 1,
}


def long_plan(bench: Bench, folder: Path, seed: int) -> Iterator[Trial]:
    """All trials; first one of every kind and stage, then the next seed of each, and so on."""
    yield from _in_turns(
        [
            _of_stages(bench, LONG, seed),
            _flips(bench, seed),
            (partial(places.odd_home, bench, folder, name) for name in places.ODD_NAMES),
            iter([partial(places.moved_home, bench, folder)]),
        ]
    )


def short_plan(bench: Bench, folder: Path, seed: int) -> Iterator[Trial]:
    """A few of most kinds, for every run of the tests."""
    yield from _of_stages(bench, SHORT, seed)
    for place in (*flips.TABLES, *flips.OTHERS):
        if place.what in ("chunks", "shard of a scoring"):
            yield partial(_one, flips.flip_and_run, bench, place, seed)
    yield partial(places.odd_home, bench, folder, places.ALL_IN_ONE)
    yield partial(places.moved_home, bench, folder)


def _of_stages(bench: Bench, plan: dict[kinds.Kind, int], seed: int) -> Iterator[Trial]:
    can_mount = kinds.can_mount()
    for number in range(max(plan.values())):
        for kind, count in plan.items():
            if number < count and (can_mount or kind not in NEED_A_MOUNT):
                for stage in bench.stages:
                    if stage.faults:
                        yield partial(_one, kind, bench, stage, seed + number)


def _flips(bench: Bench, seed: int) -> Iterator[Trial]:
    seeds = range(seed * FLIPS_READ, (seed + 1) * FLIPS_READ)
    for place in flips.TABLES:
        yield partial(flips.flip_and_read, bench, place, seeds)
    for place in (*flips.TABLES, *flips.OTHERS):
        yield partial(_one, flips.flip_and_run, bench, place, seed)
    for number in range(1, FLIPS_OF_OTHERS):
        for place in flips.OTHERS:
            yield partial(_one, flips.flip_and_run, bench, place, seed + number)


def _one(
    kind: Callable[[Bench, Stage, int], Outcome] | Callable[[Bench, flips.Place, int], Outcome],
    *arguments: object,
) -> list[Outcome]:
    return [kind(*arguments)]  # pyright: ignore[reportArgumentType]


def _in_turns(sources: list[Iterator[Trial]]) -> Iterator[Trial]:
    for trials in itertools.zip_longest(*sources):
        yield from (trial for trial in trials if trial is not None)
