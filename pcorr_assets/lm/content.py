"""Hashes of folders by what they hold.

Belongs here: which files of a folder count, and their SHA-256. Does not belong here: what
a folder must be to be of use (`identity`, `benchmark_settings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from pcorr_assets.warehouse.files import sha256_file


def folder_files(folder: Path) -> Iterator[tuple[str, Path]]:
    """A folder's files in a fixed order: name relative to it, with slashes, and path.

    Hidden files and folders and Python's caches are left out.
    """
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_file():
            yield inside.as_posix(), path


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the relative names and contents of `folder_files`.

    The folder's own path does not count: a cluster may see the same files under another one.
    """
    digest = hashlib.sha256()
    for name, path in folder_files(folder):
        digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
