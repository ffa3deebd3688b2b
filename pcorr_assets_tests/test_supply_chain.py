"""What is installed is what was pinned, with its hash and its licence on record."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", flags=re.MULTILINE)
# LGPL and MPL bind only changes to the package itself.
STRONG = re.compile(r"AGPL|(?<!L)GPL|proprietary|commercial", flags=re.IGNORECASE)


@pytest.fixture(scope="module")
def licences() -> ModuleType:
    spec = importlib.util.spec_from_file_location("licences", ROOT / "scripts" / "licences.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pins(name: str) -> dict[str, str]:
    text = (ROOT / name).read_text(encoding="utf-8")
    return {canonicalize_name(key): version for key, version in PIN.findall(text)}


def entries() -> Iterator[tuple[str, str]]:
    """Each entry of the lock: its first line, and the lines that belong to it."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    for entry in re.split(r"\n(?=[A-Za-z0-9])", text):
        if PIN.match(entry):
            yield entry.splitlines()[0], entry


def test_the_lock_pins_what_the_constraints_pin() -> None:
    locked, constrained = pins("requirements.lock"), pins("constraints.txt")
    both = locked.keys() & constrained.keys()
    assert len(both) > 100
    assert {name: locked[name] for name in both} == {name: constrained[name] for name in both}


def test_every_entry_of_the_lock_has_a_hash() -> None:
    assert not [line for line, entry in entries() if "--hash=sha256:" not in entry]


def test_everything_that_is_installed_stands_in_the_lock_and_among_the_licences(
    licences: ModuleType,
) -> None:
    locked = pins("requirements.lock")
    rows = set(licences.PAGE.read_text(encoding="utf-8").splitlines())
    packages = licences.closure(frozenset({"dev", "gguf"}))
    assert {"torch", "dagster", "pytest"} <= packages.keys()
    missing = {name for name in packages if name not in locked}
    assert not missing, "run make lock"
    written = set(licences.page().splitlines())
    assert not written - rows, "run make lock"


def test_no_dependency_stands_under_a_licence_that_binds_its_users(licences: ModuleType) -> None:
    for name, package in licences.closure(frozenset({"dev", "gguf"})).items():
        licence = licences.licence_of(package)
        assert not STRONG.search(licence), f"{name}: {licence}"
