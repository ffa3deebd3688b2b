"""Hashes of folders by what they hold.

Belongs here: the SHA-256 of a folder. Does not belong here: what a folder must be to be
of use (`identity`, `benchmark_settings`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pcorr_assets.warehouse.files import sha256_file


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the relative names and contents of a folder's files.

    Hidden files and folders and Python's caches are left out. The folder's own path does
    not count: a cluster may see the same files under another one.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if any(part.startswith(".") or part == "__pycache__" for part in inside.parts):
            continue
        if path.is_file():
            digest.update(f"{inside.as_posix()}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
