"""Worlds that tests read but do not change, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from pcorr_assets.config import Settings
from pcorr_assets.report.comparison_page import render_comparison
from pcorr_assets.report.facts import Facts
from pcorr_assets.report.files import write_report
from pcorr_assets.report.reading import read_facts
from pcorr_assets.report.reading_comparison import read_comparison
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.report import worlds

World = tuple[Warehouse, Settings]


@pytest.fixture(scope="session")
def text_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return worlds.write_text_world(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="session")
def matrix_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return worlds.write_matrix_world(tmp_path_factory.mktemp("published"))


@pytest.fixture(scope="session")
def text_facts(text_world: World) -> Facts:
    return read_facts(*text_world, "texts", "good")


@pytest.fixture(scope="session")
def matrix_facts(matrix_world: World) -> Facts:
    return read_facts(*matrix_world, "published", "good")


@pytest.fixture(scope="session")
def text_report(text_world: World) -> Path:
    return write_report(*text_world, "texts", "good").path


@pytest.fixture(scope="session")
def comparison_world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return worlds.write_comparison_world(tmp_path_factory.mktemp("comparison"))


@pytest.fixture(scope="session")
def comparison(comparison_world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page in a folder of its own, so that the world's index stays as it is."""
    page = tmp_path_factory.mktemp("page") / "comparison.html"
    page.write_text(render_comparison(read_comparison(*comparison_world, {})))
    return page
