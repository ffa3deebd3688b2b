"""Fixtures for every room: what a test may need from outside, and what a skip may mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

Require = Callable[[str, bool, str], None]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What workers share out (`-n 2 --dist loadgroup`): files, and all tests of the cluster.

    Those of the cluster, which mostly wait for it, come first and stay on one worker: there
    is one cluster.
    """
    for item in items:
        group = "slurm" if item.get_closest_marker("slurm") else item.nodeid.partition("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)


@pytest.fixture(scope="session")
def require() -> Require:
    """Skip a test that lacks something, or fail it where `PCORR_REQUIRE` lists that thing."""
    required = set(filter(None, os.environ.get("PCORR_REQUIRE", "").split(",")))

    def check(name: str, available: bool, reason: str) -> None:
        if available:
            return
        if name in required:
            pytest.fail(f"PCORR_REQUIRE lists {name}, but {reason}")
        pytest.skip(f"{name}: {reason}")

    return check


@pytest.fixture(scope="session")
def published_data(require: Require) -> Path:
    """Folder of the published matrices of 90 LLMs."""
    folder = os.environ.get("PCORR_PUBLISHED_DATA")
    require("published", folder is not None, "PCORR_PUBLISHED_DATA is not set")
    assert folder is not None
    path = Path(folder)
    require("published", path.is_dir(), f"PCORR_PUBLISHED_DATA={folder} is not a folder")
    return path


@pytest.fixture(autouse=True)
def no_environment_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads the configuration or the Dagster home of whoever runs it."""
    monkeypatch.delenv("PCORR_CONFIG", raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
