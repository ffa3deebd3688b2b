"""From the metadata in Dagster's UI to the report, by one click in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.defs.build import build_definitions
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.dagster_ui import DagsterUI
from pcorr_assets_tests.report import worlds

pytestmark = pytest.mark.browser

CHROMIUM = Path("/usr/bin/chromium")


@pytest.fixture
def report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require: Callable[[str, bool, str], None]
) -> Path:
    """A report that a run materialised."""
    require("browser", CHROMIUM.exists(), f"there is no {CHROMIUM}")
    wh, settings = worlds.write_matrix_world(tmp_path)
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    job = dg.define_asset_job("run", selection=["report"])
    resolved = dg.Definitions(assets=build_definitions(settings).assets, jobs=[job])
    with dg.DagsterInstance.get() as instance:
        resolved.resolve_job_def("run").execute_in_process(
            instance=instance,
            partition_key=dg.MultiPartitionKey({"sample": "published", "target": "good"}),
        )
    return wh.home / "reports" / "published" / "good.html"


@pytest.fixture
def ui(report: Path, tmp_path: Path) -> Iterator[DagsterUI]:
    served = DagsterUI(tmp_path / "dagster", tmp_path / "pcorr.yaml")
    served.start()
    yield served
    served.stop()


def test_the_report_opens_from_the_metadata(ui: DagsterUI, report: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    saved = tmp_path / "downloads" / "report.html"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = chromium.new_page()
        page.goto(f"http://127.0.0.1:{ui.port}/assets/report", timeout=60_000)
        link = page.get_by_role("link", name="Download the report").first
        with page.expect_download(timeout=60_000) as download:
            link.click(timeout=60_000)
        download.value.save_as(saved)
        assert sha256_file(saved) == sha256_file(report)
        page.goto(saved.as_uri())
        assert page.locator("h1").inner_text() == (
            "Which texts of published to pretrain on for good"
        )
        chromium.close()
