"""What changed between two materialisations of a report, as rows and in words."""

from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.report.changes import KEPT, TABLE, History
from pcorr_assets.report.files import write_report
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.report import worlds

KEYS = ("texts", "good")


@pytest.fixture
def world(tmp_path: Path) -> tuple[Warehouse, Settings]:
    return worlds.write_text_world(tmp_path)


def report(world: tuple[Warehouse, Settings], **selection: object) -> History:
    wh, settings = world
    if selection:
        changed = settings.selection.model_copy(update=selection)
        settings = settings.model_copy(update={"selection": changed})
        worlds.run_steps(wh, settings, *KEYS)
    history = write_report(wh, settings, *KEYS).history
    if history.is_new:
        wh.write(TABLE, KEYS, history.table)
    return history


def selected(wh: Warehouse) -> set[str]:
    rows = wh.read("sampling_distributions", *KEYS)
    return set(rows.filter(pc.field("included"))["unit"].to_pylist())


def test_the_first_report_keeps_what_is(world: tuple[Warehouse, Settings]) -> None:
    history = report(world)
    assert [change.sentence for change in history.changes] == ["The first one."]
    now = history.table.to_pylist()
    units = {row["name"] for row in now if row["what"] == "unit"}
    assert units == selected(world[0])
    assert {row["change"] for row in now} == {"now"}


def test_nothing_new_is_no_change(world: tuple[Warehouse, Settings]) -> None:
    first = report(world)
    again = report(world)
    assert not again.is_new
    assert again.table.equals(first.table)


def test_units_in_and_out_and_settings_are_named(world: tuple[Warehouse, Settings]) -> None:
    report(world)
    before = selected(world[0])
    history = report(world, keep_ratio=0.5)
    after = selected(world[0])
    rows = history.table.to_pylist()
    for change, units in (("in", after - before), ("out", before - after), ("now", after)):
        found = {r["name"] for r in rows if (r["what"], r["change"]) == ("unit", change)}
        assert found == units
    (newest,) = history.changes
    assert newest.number == 2
    counts = f"{len(after - before)} units in, {len(before - after)} out of {len(after)} now"
    assert newest.sentence.startswith(counts)
    assert "keep_ratio: 0.25 -> 0.5" in newest.sentence


def test_the_last_ten_are_kept(world: tuple[Warehouse, Settings]) -> None:
    history = report(world)
    for number in range(KEPT + 2):
        history = report(world, keep_ratio=0.3 if number % 2 else 0.5)
    assert [change.number for change in history.changes] == list(range(KEPT + 3, 3, -1))


def test_llms_that_come_and_go_are_named(world: tuple[Warehouse, Settings]) -> None:
    report(world)
    wh, settings = world
    errors = wh.read("error_vectors", "good")
    gone = errors["llm"][0].as_py()
    wh.write("error_vectors", ("good",), errors.filter(pc.field("llm") != gone))
    worlds.run_steps(wh, settings, *KEYS)
    assert f"LLMs left out: {gone}" in report(world).changes[0].sentence
    wh.write("error_vectors", ("good",), errors)
    worlds.run_steps(wh, settings, *KEYS)
    assert f"LLMs added: {gone}" in report(world).changes[0].sentence


def test_the_page_tells_it(world: tuple[Warehouse, Settings]) -> None:
    report(world)
    history = report(world, keep_ratio=0.5)
    wh, settings = world
    changed = settings.model_copy(
        update={"selection": settings.selection.model_copy(update={"keep_ratio": 0.5})}
    )
    page = write_report(wh, changed, *KEYS).path.read_text()
    assert "What changed" in page
    assert history.changes[0].sentence.split(";")[0] in page
