"""Files of this machine put into a store, whole or not at all.

Belongs here: uploading, and a folder whose manifest comes last. Does not belong here: making
the files. A store shows an object once its upload is complete: one request for a small file; for
a large one parts, and a last request that makes them an object.

The parts of S3 are sent from here, and not by its library: each is tried again by itself, one is
in memory at a time, and an upload that does not come to its end is aborted, so that nobody pays
for parts that no object shows. What a killed process left open, the next upload of that name
aborts.
"""

from __future__ import annotations

import logging
import mimetypes
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import scheme_of
from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.storage.faults import reason_of, retried
from pcorr_assets.storage.filesystems import filesystem_of
from pcorr_assets.storage.remote import RemoteFile

logger = logging.getLogger(__name__)

PART_BYTES = 16 << 20
# The most that S3 takes.
MOST_PARTS = 10_000


def put_file(path: Path, url: str, options: Storage) -> None:
    """Upload one file; at `url` there is the old object or the whole new one at any time.

    Raises:
        PcorrError: it cannot be written, with the reason; or what arrived is not as long.
    """
    system, target = filesystem_of(url, options)
    size = path.stat().st_size
    if scheme_of(url) == "s3":
        _put_s3(path, url, system, target, size)
    else:
        retried(url, lambda: system.put_file(str(path), target))
    arrived = RemoteFile(url, options).stamp().size
    if arrived != size:
        raise PcorrError(
            f"{url}: {size:,} bytes were written, but {arrived:,} are there: try again"
        )


def is_there(url: str, options: Storage) -> bool:
    """Is there an object of this very name? Raises PcorrError if the store cannot be asked."""
    system, path = filesystem_of(url, options)

    def ask() -> bool:
        try:
            return system.info(path).get("type") != "directory"
        except FileNotFoundError:
            return False

    return retried(url, ask)


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


def put_files(files: Sequence[Path], url: str, options: Storage, *, gone: Sequence[str]) -> None:
    """Put files below `url`, one after the other, and remove the objects `gone` there.

    Other objects below `url` stay as they are.

    Raises:
        PcorrError: as `put_file`.
    """
    _remove(gone, url, options)
    with Progress(f"upload to {url}", total=len(files), unit="files") as progress:
        for path in files:
            put_file(path, f"{url}/{path.name}", options)
            progress.update()


def _put_s3(path: Path, url: str, system: Any, target: str, size: int) -> None:
    bucket, _, key = target.partition("/")

    def call(method: str, **request: Any) -> Any:
        request = {"Bucket": bucket, "Key": key, **request}
        return retried(url, lambda: system.call_s3(method, **request))

    kind, _ = mimetypes.guess_type(path.name)
    headers = {"ContentType": kind} if kind is not None else {}
    part_bytes = max(PART_BYTES, -(-size // MOST_PARTS))
    if size <= part_bytes:
        call("put_object", Body=path.read_bytes(), **headers)
        return
    _abort_earlier(url, system, bucket, key)
    upload = call("create_multipart_upload", **headers)["UploadId"]
    is_whole = False
    try:
        parts = _put_parts(path, call, upload, part_bytes)
        call("complete_multipart_upload", UploadId=upload, MultipartUpload={"Parts": parts})
        is_whole = True
    finally:
        # Also where the run is terminated, which is no Exception.
        if not is_whole:
            _abort(url, system, bucket, key, upload)


def _put_parts(
    path: Path, call: Callable[..., Any], upload: str, part_bytes: int
) -> list[dict[str, Any]]:
    parts = []
    with path.open("rb") as file:
        while part := file.read(part_bytes):
            number = len(parts) + 1
            answer = call("upload_part", UploadId=upload, PartNumber=number, Body=part)
            parts.append({"PartNumber": number, "ETag": answer["ETag"]})
    return parts


def _abort_earlier(url: str, system: Any, bucket: str, key: str) -> None:
    """Uploads of this very name that a killed process left open."""
    try:
        found = system.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=key)
    except Exception as error:  # noqa: BLE001 - not everybody may list them, nor every store
        logger.info("%s: open uploads cannot be listed (%s)", url, reason_of(error))
        return
    for one in found.get("Uploads", ()):
        if one["Key"] == key:
            _abort(url, system, bucket, key, one["UploadId"])


def _abort(url: str, system: Any, bucket: str, key: str, upload: str) -> None:
    try:
        system.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
    except Exception as error:  # noqa: BLE001 - what ended the upload is what has to be told
        logger.warning(
            "%s: the upload could not be aborted (%s), so its parts stay, and are paid for, until "
            "the next upload of that name or the bucket's own rule removes them",
            url,
            reason_of(error),
        )


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
