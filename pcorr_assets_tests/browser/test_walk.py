"""A walk through the Dagster UI, as a data engineer does it who adds an LLM."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from pcorr_assets.warehouse import connect
from pcorr_assets_tests.browser.conftest import NEW_LLM
from pcorr_assets_tests.dagster_ui import DagsterUI
from pcorr_assets_tests.slurm import demo_world
from pcorr_assets_tests.waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

SAMPLE, TARGET = demo_world.SAMPLE, demo_world.TARGET
ASSETS = ("chunked_dataset", "chunk_bpb", "bpb_matrix", "estimate", "rank_prediction", "report")


def test_an_llm_is_added_and_scored_and_the_report_opened(
    ui: DagsterUI, page: Page, tmp_path: Path
) -> None:
    home = f"http://127.0.0.1:{ui.port}"
    shots = Screenshots(page, tmp_path)

    # The graph is drawn as far as the window shows it.
    page.set_viewport_size({"width": 1500, "height": 2400})
    page.goto(f"{home}/asset-groups")
    expect(page.get_by_text("sharing", exact=True).last).to_be_visible()
    page.keyboard.press("Alt+e")  # all groups open
    for asset in ASSETS:
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    shots.take("lineage")
    page.set_viewport_size({"width": 1500, "height": 950})

    page.goto(f"{home}/assets/chunk_bpb?view=partitions")
    expect(page.get_by_text("Missing (0)")).to_be_visible()
    page.get_by_role("button", name="Materialize").first.click()
    page.get_by_text("Add a partition").click()
    page.get_by_placeholder("name").fill(NEW_LLM)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Missing (1)")).to_be_visible()
    for button in page.get_by_role("button", name="All", exact=True).all():
        button.click()
    page.get_by_text("Backfill only failed and missing").click()
    expect(page.get_by_text("1 partition", exact=True)).to_be_visible()
    shots.take("launch")
    page.get_by_role("button", name=re.compile("Launch")).click()
    expect(page.get_by_text("Partition selection")).to_be_hidden()

    page.goto(f"{home}/assets/chunk_bpb?view=partitions")
    expect(page.get_by_text("Materialized (7)")).to_be_visible(timeout=300_000)
    expect(page.get_by_text("Failed (0)")).to_be_visible()
    page.get_by_text(NEW_LLM).first.click()
    shots.take("partitions")

    def runs() -> list[str]:
        found = [run for run in ui.runs() if run["tags"].get("dagster/partition/llm") == NEW_LLM]
        return [run["status"] for run in found]

    # The partition is there before the run that made it has ended.
    wait_for("the run's end", lambda: "STARTED" not in runs())
    assert runs() == ["SUCCESS"]
    with connect(tmp_path / "home") as connection:
        counts = connection.execute(
            "SELECT count(*), count(bpb) FROM chunk_bpb WHERE llm = ?", [NEW_LLM]
        ).fetchone()
        chunks = connection.execute("SELECT count(*) FROM chunks").fetchone()
    assert counts is not None
    assert chunks is not None
    assert counts[0] == counts[1] == chunks[0] > 0

    page.goto(f"{home}/assets/report?view=partitions&partition={SAMPLE}%7C{TARGET}")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download the report").first.click()
    shots.take("report-metadata")
    file = tmp_path / "report.html"
    download.value.save_as(file)
    page.goto(file.as_uri())
    expect(page.get_by_role("heading", level=1)).to_contain_text(TARGET)
    shots.take("report")


class Screenshots:
    """Numbered pictures of a walk, kept where pytest keeps a failed test's files."""

    def __init__(self, page: Page, folder: Path) -> None:
        self._page = page
        self._folder = folder / "screenshots"
        self._count = 0

    def take(self, name: str) -> None:
        self._count += 1
        self._page.screenshot(path=self._folder / f"{self._count}-{name}.png")
