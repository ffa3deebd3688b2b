"""Odd files of texts: read with every row accounted for, or refused in words that name them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.training import build_filter
from pcorr_assets_tests.filters.conftest import SAMPLE, TARGET, make_world
from pcorr_assets_tests.inputs import text_files
from pcorr_assets_tests.inputs.amount import SHIFT, amount

SEED, COUNT = 3 + SHIFT, amount(25, 2000)
# What a message about a whole selection names.
POOL = "pool odd"

__all__ = ["make_world"]


@pytest.fixture
def trained(make_world: Callable[..., Any]) -> FilterFile:
    world = make_world(epoch=1)
    built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
    return FilterFile(built.path, built.sha256)


def outcome(name: str, read: Callable[[], None]) -> str | None:
    """What is wrong about the outcome; None for success, or words that name the file."""
    try:
        read()
    except PcorrError as error:
        return None if name in str(error) or POOL in str(error) else f"names no place: {error}"
    except Exception as error:  # noqa: BLE001 - a raw error of any kind is looked for
        return f"{type(error).__name__}: {str(error)[:300]}"
    return None


def test_odd_files_are_read_or_refused(tmp_path: Path, trained: FilterFile) -> None:
    found = {}
    for index, file in enumerate(text_files.odd_files(SEED, COUNT)):
        folder = tmp_path / str(index)
        for kind, read in (
            ("sample", lambda: text_files.as_sample(file, folder)),  # noqa: B023
            ("pool", lambda: text_files.as_pool(file, folder, trained)),  # noqa: B023
        ):
            folder.mkdir(exist_ok=True)
            if problem := outcome(file.name, read):
                found[file.label, kind] = problem
        if rest := text_files.leftovers(folder):
            found[file.label, "rest"] = str(rest)
    assert found == {}
