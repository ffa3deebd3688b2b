"""Code versions: a hash of what an asset's values are computed by.

Belongs here: hashing source and settings, so that "stale" in the UI means that a
value would come out differently. Does not belong here: hashes of data (`warehouse`).
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pcorr_assets.config import Settings
from pcorr_assets.warehouse.registry import TABLES

PACKAGE = Path(__file__).parent.parent
# Tag of materialisations that are recorded by hand, on which Dagster notes no code version.
CODE_VERSION_TAG = "pcorr/code_version"
_A_PATH = "a path"


def code_version(
    rooms: Iterable[str],
    settings: Settings,
    sections: Iterable[str] = (),
    tables: Iterable[str] = (),
) -> str:
    """Hash of the code of some rooms (`stats`) or modules (`warehouse/store.py`) and settings.

    Comments, docstrings and formatting do not count. `sections` are the parts of the
    configuration that the values depend on (`selection`, `compute.overlong`); in
    `targets.*.level` the star stands for every key, and keys without a value do not count,
    so that a target more is no change for the others. Below a star only what was written
    counts: an override that is written is another setting than one that is not, even where
    its value is the default. Of a path it counts that there is one: what lies there is noted by
    runs (`made_from`). Of `tables`, names and types of columns count, not their words.
    """
    digest = hashlib.sha256()
    for room in sorted(rooms):
        digest.update(_room_hash(room).encode())
    stated = _movable(settings.model_dump(mode="json"))
    written = _movable(settings.model_dump(mode="json", exclude_unset=True))
    for section in sorted(sections):
        value = _at(written if "*" in section else stated, section.split("."))
        digest.update(json.dumps([section, value], sort_keys=True).encode())
    for table in tables:
        digest.update(f"{table}: {TABLES[table].schema}".encode())
    return digest.hexdigest()[:16]


def selection_sections(*fields: str) -> tuple[str, ...]:
    """Sections for fields of `selection`, with the targets' overrides of them."""
    return tuple(f"{where}.{name}" for name in fields for where in ("selection", "targets.*"))


def _movable(value: Any) -> Any:
    """The same, in which every path is as good as any other: what lies there is what counts."""
    if isinstance(value, Mapping):
        return {key: _movable(inside) for key, inside in value.items()}
    if isinstance(value, list):
        return [_movable(inside) for inside in value]
    return _A_PATH if isinstance(value, str) and os.path.isabs(value) else value


def _at(stated: Any, path: Sequence[str]) -> Any:
    if not path:
        return stated
    key, *rest = path
    if rest[:1] != ["*"]:
        return _at(stated[key], rest)
    _, field = rest
    values = {name: inside.get(field) for name, inside in stated.get(key, {}).items()}
    return {name: value for name, value in values.items() if value is not None}


@cache
def _room_hash(room: str) -> str:
    path = PACKAGE / room
    files = sorted([*path.rglob("*.py"), *path.glob("templates/*")]) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        source = file.read_text(encoding="utf-8")
        digest.update(file.relative_to(PACKAGE).as_posix().encode())
        digest.update((_code_of(source) if file.suffix == ".py" else source).encode())
    return digest.hexdigest()


def _code_of(source: str) -> str:
    """The code without its docstrings; comments and formatting are gone in the tree."""
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body[:1] = []
    return ast.dump(tree)
