"""`dagster dev` on a materialised world of six demo LLMs, a hub, and Debian's chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from playwright.sync_api import Page, expect, sync_playwright

from pcorr_assets.config import load_settings
from pcorr_assets.defs.running import launch
from pcorr_assets.defs.running.overview import overview
from pcorr_assets.defs.running.request import Request
from pcorr_assets_tests.conftest import Require
from pcorr_assets_tests.dagster_ui import PROJECT, DagsterUI
from pcorr_assets_tests.lm.hub_server import Hub, Repository, serve
from pcorr_assets_tests.slurm import demo_world

CHROMIUM = Path("/usr/bin/chromium")
NEW_LLM = "someone/new-llm"


@pytest.fixture
def page(ui: DagsterUI) -> Iterator[Page]:
    """A page with patience: the machine runs Dagster at the same time.

    The browser starts when the world is made, since the event loop that playwright keeps
    in this thread does not go with runs of Dagster in it.
    """
    del ui
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1500, "height": 950}, accept_downloads=True)
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        yield page
        chromium.close()


@pytest.fixture
def hub(tmp_path: Path, demo: Path) -> Iterator[Hub]:
    """A hub that has one LLM that `pcorr.yaml` does not list."""
    commit = "c" * 40
    folder = demo / "zoo" / demo_world.ZOO[-1].folder_name
    repository = Repository({commit: folder}, {"main": commit})
    with serve({NEW_LLM: repository}) as hub:
        yield hub


@pytest.fixture
def demo(tmp_path: Path, require: Require) -> Path:
    """Six demo LLMs with the demo's sample, benchmarks and pool."""
    require("browser", CHROMIUM.exists(), f"{CHROMIUM} is not there (apt-get install chromium)")
    demo_world.write(tmp_path / "world")
    return tmp_path / "world"


@pytest.fixture
def ui(
    demo: Path, hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DagsterUI]:
    """The UI on a world whose every asset is materialised."""
    home = tmp_path / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home / "dagster.yaml")
    config = demo_world.write_world(demo, tmp_path, {"threads": 1})
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("PCORR_CONFIG", str(config))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    settings = load_settings(config)
    with dg.DagsterInstance.get() as instance:
        assert launch.run(settings, instance, Request(), overview()).all_well
    ui = DagsterUI(home, config)
    ui.start()
    yield ui
    ui.stop()
