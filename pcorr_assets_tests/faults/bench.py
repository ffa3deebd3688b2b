"""The bench that faults are tried on: a world in every state, and one trial.

Belongs here: making the world once, undisturbed; a copy of it as it was before a stage; a
trial (fault, relaunch, comparison with the undisturbed world). Does not belong here: the
faults.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import connect
from pcorr_assets_tests.faults import moments
from pcorr_assets_tests.faults.outcomes import HANG, LOST, RAW, STRAY, WRONG, Outcome
from pcorr_assets_tests.faults.process import Child, Ended, in_child
from pcorr_assets_tests.faults.runs import Said, load, run_stage
from pcorr_assets_tests.faults.tree import (
    Known,
    Tree,
    damage_in_between,
    differences,
    read_tree,
)
from pcorr_assets_tests.faults.world import STAGES, Stage, write_inputs, write_project

SECONDS_BETWEEN_LOOKS = 0.25
NO_ROWS = (0, 0)
First = Callable[[], Ended]


class Bench:
    """A world, its states before and after each stage, and trials on a copy of it.

    `project` is where every trial happens: definitions are loaded once.
    """

    def __init__(self, folder: Path, stages: Sequence[Stage] = STAGES) -> None:
        self.stages = tuple(stages)
        self.inputs = folder / "inputs"
        self.project = folder / "project"
        self.home = self.project / "home"
        self._states = folder / "states"
        self.trees: list[Tree] = []
        self._seen: dict[tuple[int, tuple[str, ...]], Any] = {}
        self._moments: dict[tuple[str, bool], list[str]] = {}
        self._known: Known = {}
        self.seconds: dict[str, float] = {}

    def prepare(self) -> None:
        """Make the world stage by stage; this also loads in this process all that is needed."""
        write_inputs(self.inputs)
        write_project(self.project, self.inputs)
        self.home.mkdir()
        load(self.project)
        for number, stage in enumerate(self.stages):
            self._keep_state(number)
            started = time.monotonic()
            said = run_stage(self.project, stage)
            self.seconds[stage.name] = time.monotonic() - started
            if not said.succeeded:
                raise RuntimeError(f"{stage.name} failed undisturbed: {said.words}")
        self._keep_state(len(self.stages))
        # What is there now is never looked at again, so that children need no copy of it.
        gc.collect()
        gc.freeze()

    def _keep_state(self, number: int) -> None:
        shutil.copytree(self.home, self._states / str(number))
        self.trees.append(self.tree())

    def tree(self) -> Tree:
        """What the home holds; read in a child, which DuckDB may leave threads in."""
        tree, self._known = in_child(_read_tree, self.home, self._known)
        return tree

    def before(self, stage: Stage, again: bool = False) -> int:
        """The number of the state before a stage, or after it: for running it `again`."""
        return self.stages.index(stage) + again

    def restore(self, state: int, home: Path | None = None) -> None:
        """Put the home back into a state; its folder stays, since it may be a mount."""
        home = home or self.home
        home.mkdir(exist_ok=True)
        for path in home.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(self._states / str(state), home, dirs_exist_ok=True)

    def moments(self, stage: Stage, again: bool = False) -> list[str]:
        """The moments of an undisturbed run, in words."""
        if (stage.name, again) not in self._moments:
            self.restore(self.before(stage, again))
            self._moments[stage.name, again] = in_child(_list_moments, self.home, stage)
        return self._moments[stage.name, again]

    def disturbed(self, stage: Stage, act: moments.Act) -> Child:
        """A run of the stage in a child, with `act` at its moments."""
        return Child(_run_watched, self.home, stage, act)

    def trial(
        self,
        outcome: Outcome,
        stage: Stage,
        first: First,
        *,
        again: bool = False,
        between: Callable[[], None] = lambda: None,
        repair: Callable[[Said], None] | None = None,
    ) -> Outcome:
        """Let a fault happen (`first`), and see what it and an undisturbed relaunch come to.

        `between` is done before the relaunch. The state from before was restored by the
        caller or is here, if it left it to this.
        """
        state = self.before(stage, again)
        before, after = self.trees[state], self.trees[self.before(stage) + 1]
        try:
            with self._reader(stage, state, outcome):
                self.note(outcome, first())
            found = self.tree()
            for path in damage_in_between(found, before, after):
                outcome.bad.append((WRONG if path in found else LOST, f"{path} after the fault"))
            between()
            relaunched = Child(run_stage, self.project, stage).end()
            self.note(outcome, relaunched)
            if not relaunched.value.succeeded:
                outcome.bad.append((LOST, f"the relaunch fails: {relaunched.value.words}"))
            self.compare(outcome, after)
        except TimeoutError as error:
            outcome.bad.append((HANG, str(error)))
        return outcome

    def compare(self, outcome: Outcome, expected: Tree) -> None:
        """Note how the home differs from what it should be."""
        found = self.tree()
        for what, paths in differences(found, expected).items():
            column = {"missing": LOST, "stray": STRAY, "differs": WRONG}[what]
            outcome.bad += [(column, path) for path in paths]

    def note(self, outcome: Outcome, ended: Ended) -> None:
        """What a child said: an error in words, or one that nobody can read."""
        found = ended.value if isinstance(ended.value, list) else [ended.value]
        for said in found:
            if said is None:
                continue
            outcome.named |= said.is_named
            if said.is_raw:
                outcome.bad.append((RAW, f"{said.kind}: {said.words}"))
        if "Traceback (most recent call last)" in ended.output:
            outcome.bad.append((RAW, ended.output[-2000:]))

    @contextlib.contextmanager
    def _reader(self, stage: Stage, state: int, outcome: Outcome) -> Iterator[None]:
        """Somebody queries the stage's tables all the while, and must see nothing in between."""
        if not stage.tables:
            yield
            return
        allowed = [self._shown(number, stage) for number in (state, self.before(stage) + 1)]
        read, write = os.pipe()
        reader = Child(_read_until, self.home, stage.tables, allowed, read, write)
        os.close(read)
        try:
            yield
        finally:
            os.close(write)
            outcome.bad += [(WRONG, f"a reader saw {what}") for what in reader.end().value]

    def _shown(self, state: int, stage: Stage) -> Any:
        if (state, stage.tables) not in self._seen:
            self._seen[state, stage.tables] = in_child(
                _look, self._states / str(state), stage.tables
            )
        return self._seen[state, stage.tables]


def _read_tree(home: Path, known: Known) -> tuple[Tree, Known]:
    return read_tree(home, known), known


def _list_moments(home: Path, stage: Stage) -> list[str]:
    seen: list[str] = []
    said = _run_watched(home, stage, lambda _, what: seen.append(what))
    if not said.succeeded:
        raise RuntimeError(f"{stage.name} failed when it was watched: {said.words}")
    return seen


def _run_watched(home: Path, stage: Stage, act: moments.Act) -> Said:
    moments.watch(home, act)
    return run_stage(home.parent, stage)


def _look(home: Path, tables: tuple[str, ...]) -> dict[str, tuple[int, int]]:
    """Rows, and a hash over them but for the place of the home, of each table in DuckDB."""
    try:
        connection = connect(home)
    except PcorrError:  # nothing was ever written there
        return dict.fromkeys(tables, NO_ROWS)
    with connection:
        return _rows(connection, tables, home)


def _rows(
    connection: duckdb.DuckDBPyConnection, tables: tuple[str, ...], home: Path
) -> dict[str, tuple[int, int]]:
    # The view says where a model lies now, and a kept state lies elsewhere.
    text = "replace(row::VARCHAR, ?, '<home>')"
    query = f'SELECT count(*), coalesce(sum(hash({text})), 0)::HUGEINT FROM "{{}}" row'
    found: dict[str, tuple[int, int]] = {}
    for table in tables:
        row = connection.execute(query.format(table), [str(home)]).fetchone()
        assert row is not None
        found[table] = (row[0], row[1])
    return found


def _read_until(
    home: Path,
    tables: tuple[str, ...],
    allowed: list[dict[str, tuple[int, int]]],
    end: int,
    other_end: int,
) -> list[str]:
    """Look again and again until the pipe closes; what was neither before nor after."""
    os.close(other_end)
    os.set_blocking(end, False)
    odd: list[str] = []
    while True:
        for table, rows in _look(home, tables).items():
            if rows not in [state[table] for state in allowed]:
                odd.append(f"{table} with {rows[0]} rows")
        try:
            if os.read(end, 1) == b"":
                return odd
        except BlockingIOError:
            time.sleep(SECONDS_BETWEEN_LOOKS)
