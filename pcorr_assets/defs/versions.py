"""Code versions: a hash of what an asset's values are computed by.

Belongs here: hashing source and settings, so that "stale" in the UI means that a
value would come out differently. Does not belong here: hashes of data (`warehouse`).
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from functools import cache, reduce
from pathlib import Path

from pcorr_assets.config import Settings

PACKAGE = Path(__file__).parent.parent


def code_version(rooms: Iterable[str], settings: Settings, sections: Iterable[str] = ()) -> str:
    """Hash of the code of some rooms (`stats`) or modules (`warehouse/store.py`) and settings.

    Comments, docstrings and formatting do not count. `sections` are the parts of the
    configuration that the values depend on (`selection`, `compute.overlong`).
    """
    digest = hashlib.sha256()
    for room in sorted(rooms):
        digest.update(_room_hash(room).encode())
    stated = settings.model_dump(mode="json")
    for section in sorted(sections):
        value = reduce(lambda inside, key: inside[key], section.split("."), stated)
        digest.update(json.dumps([section, value], sort_keys=True).encode())
    return digest.hexdigest()[:16]


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
