"""A folder of a store, copied into a cache by what it holds.

Belongs here: small folders that libraries read by path (task files). Does not belong here: texts
(`remote`), and single files for a moment (`copies`).

Each content has a folder of its own, named by its hash, which is complete once it is there and
is never written to again: whoever works with an older content is not disturbed.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

from pcorr_assets.config.storage import Storage
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.storage.listing import iter_objects
from pcorr_assets.storage.remote import RemoteFile
from pcorr_assets.warehouse.files import scratch_folder
from pcorr_assets.warehouse.json_files import read_json, write_json
from pcorr_assets.warehouse.locks import waiting_lock
from pcorr_assets.warehouse.store import content_hash

logger = logging.getLogger(__name__)

# A folder of tasks has some dozens; whoever names a bucket by mistake does not fill the disk.
MOST_FILES = 10_000
MOST_BYTES = 20 << 30


def fetched_folder(url: str, options: Storage, cache: Path, *, refresh: bool) -> Path:
    """A local copy of the files below `url`, hidden ones left out.

    `refresh` looks what is there now; without, it is what was there when somebody looked
    last, and the store is only asked if nobody did. Only what changed since (by size and version)
    makes another copy.

    Raises:
        PcorrError: there is no such folder, it cannot be read, a name in it leads out of it, or
            it has more than `MOST_FILES` files or `MOST_BYTES` bytes.
    """
    # The same URL is another folder in another store.
    name = content_hash(url, str(options.endpoint), str(options.account))[:24]
    index = cache / f"{name}.json"
    with waiting_lock(cache / f".{name}.lock", f"the copy of {url}", seconds=900):
        known, folder = _copied(index, cache)
        if folder is not None and not refresh:
            return folder
        found = _listed(url, options)
        stamps = {place: asdict(file.known or file.stamp()) for place, file in found.items()}
        if folder is not None and known == stamps:
            return folder
        folder = _copy(url, found, cache)
        write_json(index, {"url": url, "folder": folder.name, "files": stamps})
        return folder


def _copied(index: Path, cache: Path) -> tuple[dict[str, object], Path | None]:
    """What was copied last, if the copy is still what it was."""
    if not index.is_file():
        return {}, None
    try:
        found = read_json(index)
    except DamagedFileError as error:
        logger.warning("%s is damaged (%s): the folder is copied again", index, error.reason)
        return {}, None
    folder = cache / found["folder"]
    if not folder.is_dir() or _hash_of(folder) != folder.name:
        return {}, None
    return found["files"], folder


def _listed(url: str, options: Storage) -> dict[str, RemoteFile]:
    """The files below a folder, by the names that they have in it."""
    literal = re.sub(r"([*?\[])", r"[\1]", url)
    prefix, found, size = f"{url}/", {}, 0
    for file in iter_objects(f"{literal}/**", options):
        place = file.url.removeprefix(prefix)
        if any(part in ("", ".", "..") for part in place.split("/")) or "\0" in place:
            raise PcorrError(f"{url}: the name {place!r} in it is none that a file can have")
        found[place] = file
        size += file.known.size if file.known is not None else 0
        if len(found) > MOST_FILES or size > MOST_BYTES:
            raise PcorrError(
                f"{url}: it holds more than {MOST_FILES:,} files or {MOST_BYTES >> 30} GiB, so it "
                "is not copied: name the folder of the files that are needed"
            )
    if not found:
        raise PcorrError(f"{url}: there is no file in it: check bucket and folder")
    return dict(sorted(found.items()))


def _copy(url: str, found: dict[str, RemoteFile], cache: Path) -> Path:
    with scratch_folder(cache, ".fetching-") as scratch:
        inside = scratch / "files"
        for place, file in found.items():
            path = inside / place
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with file.open() as source, path.open("wb") as copy:
                    shutil.copyfileobj(source, copy, 1 << 20)
            except (FileExistsError, IsADirectoryError, NotADirectoryError):
                raise PcorrError(
                    f"{url}: {place!r} is both a file and a folder there, which no disk can hold"
                ) from None
        folder = cache / _hash_of(inside)
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(inside, folder)
    return folder


def _hash_of(folder: Path) -> str:
    """Hash over names and contents of all files."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if "__pycache__" in path.parts:
            continue  # made by whoever imports the code of a task
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
    return digest.hexdigest()
