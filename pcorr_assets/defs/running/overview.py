"""What a `pcorr run` shows while it goes on: a live line a stage in a terminal, else calm lines.

Belongs here: drawing stages, with rates and time left. Does not belong here: counting
(`outcome`), and what is said at the end (the command).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from pcorr_assets.defs.running.outcome import Stage, span

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

SECONDS_BETWEEN_LINES = 30.0
# A stage that has just begun has nothing to say.
SECONDS_TO_SPEAK = 10.0
# Of what takes days, a line each ten minutes is enough.
MAX_SECONDS_BETWEEN_LINES = 600.0
REDRAWN_PER_SECOND = 4
MAX_NAME = 22

Say = Callable[[str], None]


class Overview:
    """Lines for a pipe or a log: one when a stage is over, some while it takes long."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._began = self._last = time.monotonic()
        self._over: set[str] = set()

    def say(self, line: str) -> None:
        """Something that is no stage."""
        self._say(line)

    def draw(self, stages: Iterable[Stage]) -> None:
        """Show how far the stages are; called often."""
        active = []
        for stage in stages:
            if stage.is_over and stage.asset not in self._over:
                self._over.add(stage.asset)
                self.stage_over(stage)
            elif not stage.is_over:
                self._over.discard(stage.asset)
                if stage.since is not None:
                    active.append(stage)
        self.draw_active(active)

    def stage_over(self, stage: Stage) -> None:
        """The last word on a stage."""
        self._say(stage.line())

    def draw_active(self, stages: list[Stage]) -> None:
        """How far those are that have begun."""
        now = time.monotonic()
        pause = min(max((now - self._began) / 10, SECONDS_BETWEEN_LINES), MAX_SECONDS_BETWEEN_LINES)
        if now - self._last < pause:
            return
        self._last = now
        for stage in stages:
            if stage.seconds < SECONDS_TO_SPEAK:
                continue
            parts = [
                f"{stage.asset}: {stage.settled:,} of {stage.total:,} "
                f"({stage.settled / stage.total:.0%})",
                *_numbers(stage),
                f"{stage.per_second * 60:.3g}/min" if stage.per_second else "",
                _left(stage),
                stage.doing,
            ]
            self._say("  " + ", ".join(filter(None, parts)))


class LiveOverview(Overview):
    """A live line for each stage that has begun, and a lasting one when it is over.

    Whoever makes it starts and stops `progress`.
    """

    def __init__(self, say: Say, progress: Progress) -> None:
        super().__init__(say)
        self._progress = progress
        self._rows: dict[str, TaskID] = {}

    def stage_over(self, stage: Stage) -> None:
        """Its live line becomes a lasting one."""
        row = self._rows.pop(stage.asset, None)
        if row is not None:
            self._progress.remove_task(row)
            self._progress.refresh()
        self._say(stage.line())

    def draw_active(self, stages: list[Stage]) -> None:
        """How far those are that have begun."""
        for stage in stages:
            if stage.asset not in self._rows:
                name = f"  {stage.asset}"
                self._rows[stage.asset] = self._progress.add_task(name, total=stage.total, said="")
            said = ", ".join(filter(None, [*_numbers(stage), _left(stage), stage.doing]))
            self._progress.update(
                self._rows[stage.asset], completed=stage.settled, total=stage.total, said=said
            )


def _numbers(stage: Stage) -> list[str]:
    return [
        f"{stage.running} running" if stage.running else "",
        f"{stage.failed} failed" if stage.failed else "",
        f"{stage.not_made} not made" if stage.not_made else "",
    ]


def _left(stage: Stage) -> str:
    left = stage.seconds_left
    return "" if left is None else f"{span(left)} left"


@contextmanager
def overview(stream: TextIO | None = None) -> Iterator[Overview]:
    """A live one where the stream (standard output) is a terminal that can redraw lines."""
    out = stream or sys.stdout

    def say(line: str) -> None:
        out.write(f"{line}\n")
        out.flush()

    if not out.isatty():
        yield Overview(say)
        return
    from rich.console import Console

    console = Console(file=out, highlight=False)
    if console.is_dumb_terminal or not console.is_terminal:
        yield Overview(say)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.table import Column

    progress = Progress(
        TextColumn("{task.description}", markup=False, table_column=Column(width=MAX_NAME + 2)),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn(
            "{task.fields[said]}",
            markup=False,
            table_column=Column(no_wrap=True, overflow="ellipsis", ratio=1),
        ),
        console=console,
        refresh_per_second=REDRAWN_PER_SECOND,
        expand=True,
    )
    with progress:
        yield LiveOverview(lambda line: console.print(line, markup=False, soft_wrap=True), progress)
