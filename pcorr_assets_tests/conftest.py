"""Fixtures for every room: what a test may need from outside, and what a skip may mean."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

Require = Callable[[str, bool, str], None]

# A machine with other work is slow, which says nothing about the property that is tested.
settings.register_profile(
    "patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("patient")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tests of the cluster first: they take the longest, and mostly wait for it."""
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are numbered: compressed ones hold the time, on which two workers would differ."""
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """What two workers share out: whole files, and all files of the cluster to one worker."""
    return _OneClusterScheduling(config, log)


class _OneClusterScheduling(LoadFileScheduling):
    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "slurm" if "/slurm/" in file else file


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
