"""Hashes of folders by what they hold.

Belongs here: the SHA-256 of the files of a folder that count. Does not belong here: what
a folder must be to be of use (`identity`, `benchmark_settings`).
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from pcorr_assets.storage.contents import folder_files
from pcorr_assets.warehouse.files import sha256_file


def folder_sha256(folder: Path) -> str:
    """SHA-256 over the relative names and contents of `folder_files`.

    The folder's own path does not count: a cluster may see the same files under another one.
    """
    digest = hashlib.sha256()
    for name, path in folder_files(folder):
        digest.update(f"{name}\0{sha256_file(path)}\n".encode())
    return digest.hexdigest()
