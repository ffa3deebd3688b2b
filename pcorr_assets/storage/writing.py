"""Files of this machine put into a store, whole or not at all.

Belongs here: uploading, and a folder whose manifest comes last. Does not belong here: making
the files. A store shows an object once its upload is complete: one request for a small file; for
a large one parts, and a last request that makes them an object.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pcorr_assets.config.storage import Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.storage.faults import retried
from pcorr_assets.storage.filesystems import filesystem_of
from pcorr_assets.storage.remote import RemoteFile


def put_file(path: Path, url: str, options: Storage) -> None:
    """Upload one file; at `url` there is the old object or the whole new one at any time.

    Raises:
        PcorrError: it cannot be written, with the reason; or what arrived is not as long.
    """
    system, target = filesystem_of(url, options)
    retried(url, lambda: system.put_file(str(path), target))
    size, arrived = path.stat().st_size, RemoteFile(url, options).stamp().size
    if arrived != size:
        raise PcorrError(
            f"{url}: {size:,} bytes were written, but {arrived:,} are there: try again"
        )


def put_folder(folder: Path, url: str, options: Storage, *, last: str) -> None:
    """Make the objects below `url` those of a folder without subfolders.

    The file `last`, a manifest, is removed first and put last: while it is there, so is all
    that it names. Objects of an earlier folder that are not in this one are removed.

    Raises:
        PcorrError: as `put_file`; then there is no manifest, and the next upload starts anew.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.name != last)
    earlier = _names_below(url, options)
    _remove([name for name in earlier if name == last], url, options)
    with Progress(f"upload to {url}", total=len(names) + 1, unit="files") as progress:
        for name in names:
            put_file(folder / name, f"{url}/{name}", options)
            progress.update()
        _remove([name for name in earlier if name not in {last, *names}], url, options)
        put_file(folder / last, f"{url}/{last}", options)
        progress.update()


def _names_below(url: str, options: Storage) -> list[str]:
    system, path = filesystem_of(url, options)

    def names() -> list[str]:
        try:
            return [str(found) for found in system.ls(path, detail=False)]
        except FileNotFoundError:
            return []

    prefix = f"{path.rstrip('/')}/"
    found = [name.removeprefix(prefix) for name in retried(url, names) if name.startswith(prefix)]
    return [name for name in found if name and "/" not in name]


def _remove_one(system: Any, path: str) -> None:
    with suppress(FileNotFoundError):
        system.rm_file(path)


def _remove(names: Sequence[str], url: str, options: Storage) -> None:
    for name in names:
        system, path = filesystem_of(f"{url}/{name}", options)

        retried(f"{url}/{name}", partial(_remove_one, system, path))
