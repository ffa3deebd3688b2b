"""Homes that lie somewhere odd, and homes that move.

Belongs here: trials of whole projects at other paths. Does not belong here: faults of a run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pcorr_assets.warehouse import Warehouse, connect
from pcorr_assets_tests.faults.bench import Bench
from pcorr_assets_tests.faults.outcomes import LOST, RAW, STRAY, WRONG, Outcome
from pcorr_assets_tests.faults.process import in_child
from pcorr_assets_tests.faults.runs import Said, run_stage
from pcorr_assets_tests.faults.tree import Tree, differences, read_tree
from pcorr_assets_tests.faults.world import Stage

ODD_NAMES = (
    "a space",
    'it\'s "quoted"',
    "100%41 %s",
    "star*",
    "what?",
    "[ab]c{d}",
    "Übergröße $HOME `id` ;#&",
)
ALL_IN_ONE = "ü 'a\" %41 *?[ab]"


def odd_home(bench: Bench, folder: Path, name: str) -> Iterator[Outcome]:
    """The whole pipeline in a folder of that name: one outcome for each stage."""
    project = folder / name
    shutil.copytree(bench.project, project, ignore=shutil.ignore_patterns("home"))
    yield from _outcomes(bench, "odd home", in_child(_run_all, project, bench.stages), name)
    shutil.rmtree(project)


def moved_home(bench: Bench, folder: Path) -> Iterator[Outcome]:
    """Before each stage the project moves to another folder."""
    for number, stage in enumerate(bench.stages):
        if not stage.faults:
            continue
        project = folder / f"moved {number}"
        bench.restore(number)
        bench.project.rename(project)
        try:
            found = in_child(_run_all, project, [stage], bench.project)
        finally:
            project.rename(bench.project)
        yield from _outcomes(bench, "home moved", found, project.name)


def _outcomes(
    bench: Bench, kind: str, results: Sequence[tuple[Stage, Said, Tree, str]], name: str
) -> Iterator[Outcome]:
    column = {"missing": LOST, "stray": STRAY, "differs": WRONG}
    noted: set[tuple[str, str]] = set()
    for seed, (stage, said, tree, unreadable) in enumerate(results):
        outcome = Outcome(kind, stage.asset, seed, f"in {name!r}")
        if said.is_raw:
            outcome.bad.append((RAW, f"{said.kind}: {said.words}"))
        elif not said.succeeded and stage.asset == "exported_database" and "?" in name:
            # DuckDB looks for options after a question mark, and the export says so.
            outcome.named = True
            noted.add((LOST, "exports/pcorr_export.duckdb"))
            noted.add((LOST, "exports/.pcorr_export.duckdb.lock"))
        elif not said.succeeded:
            outcome.bad.append((LOST, said.words))
        if unreadable:
            outcome.bad.append((LOST, unreadable))
        for what, paths in differences(tree, bench.trees[bench.stages.index(stage) + 1]).items():
            # Of a difference that stays, the stage that made it.
            new = [(column[what], path) for path in paths if (column[what], path) not in noted]
            noted.update(new)
            outcome.bad += new
        yield outcome


def _run_all(
    project: Path, stages: Sequence[Stage], former: Path | None = None
) -> list[tuple[Stage, Said, Tree, str]]:
    results = []
    for stage in stages:
        said = run_stage(project, stage)
        tree = read_tree(project / "home", former=former)
        results.append((stage, said, tree, _unreadable(project / "home", stage)))
    return results


def _unreadable(home: Path, stage: Stage) -> str:
    """What is wrong with the views, which should show as many rows as there are."""
    with connect(home) as connection:
        for table in stage.tables:
            row = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
            there = Warehouse(home).read_all(table).num_rows
            if row != (there,):
                return f"{table} shows {row} of {there} rows"
    return ""
