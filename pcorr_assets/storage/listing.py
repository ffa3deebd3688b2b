"""Which objects of a store a pattern names.

Belongs here: listing, page by page, and matching. Does not belong here: local files
(`text.files.expand_globs`, which calls this for URLs), and reading (`remote`).

A pattern is read as one for local files is: `*`, `?` and `[..]` stay within a part between
slashes, `**` is any number of parts, and a name that begins with a dot is only matched by a
pattern that does. Names are taken as they are: `+ % # ?` in them are characters of the name (in a
pattern a `?` that is meant is written `[?]`). Keys of S3 come in pages of a thousand, so that a
million objects take the memory of their names only.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import scheme_of
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.faults import retried
from pcorr_assets.storage.filesystems import filesystem_of
from pcorr_assets.storage.remote import RemoteFile, Stamp

# The most that S3 gives.
PAGE_KEYS = 1000
_MAGIC = re.compile(r"[*?\[]")


def find_objects(pattern: str, options: Storage) -> list[RemoteFile]:
    """The objects that a URL with a pattern names, in the order that local files have.

    Raises:
        PcorrError: there is none, or the store cannot be listed; saying why.
    """
    if scheme_of(pattern) in ("https", "http") or not glob.has_magic(pattern):
        file = RemoteFile(pattern, options)
        file.stamp()
        return [file]
    found = sorted(iter_objects(pattern, options), key=lambda file: file.url.split("/"))
    if not found:
        raise PcorrError(
            f"no object matches {pattern!r}: check bucket and prefix (a pattern of files ends in "
            "something like *.jsonl.gz; [?] stands for a question mark)"
        )
    return found


def refuse_unlisted(url: str, options: Storage) -> None:
    """Raise PcorrError if the bucket of an `s3://` URL is not there or may not be listed."""
    if scheme_of(url) == "s3":
        next(_s3_entries(url, options), None)


def iter_objects(pattern: str, options: Storage) -> Iterator[RemoteFile]:
    """The objects that match, streamed in the order of the store.

    Raises PcorrError if the store cannot be listed.
    """
    scheme, _, rest = pattern.partition("://")
    parts = rest.split("/")
    entries = _s3_entries if scheme.lower() == "s3" else _walked_entries
    for name, stamp in entries(pattern, options):
        if not name.endswith("/") and _matches(name.split("/"), parts):
            yield RemoteFile(f"{scheme}://{name}", options, stamp)


def _s3_entries(pattern: str, options: Storage) -> Iterator[tuple[str, Stamp]]:
    system, path = filesystem_of(pattern, options)
    bucket, _, key = path.partition("/")
    magic = _MAGIC.search(key)
    prefix = key[: magic.start()] if magic else key
    request: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": PAGE_KEYS}
    if options.requester_pays:
        request["RequestPayer"] = "requester"
    while True:
        page = retried(pattern, partial(system.call_s3, "list_objects_v2", **request))
        for entry in page.get("Contents", ()):
            stamp = Stamp(int(entry["Size"]), str(entry["ETag"]).strip('"'))
            yield f"{bucket}/{entry['Key']}", stamp
        if not page.get("IsTruncated"):
            return
        request["ContinuationToken"] = page["NextContinuationToken"]


def _walked_entries(pattern: str, options: Storage) -> Iterator[tuple[str, None]]:
    """Folder by folder, for stores whose own pages fsspec does not show. What they say of an
    object in a listing is not always what they say when asked for it."""
    system, path = filesystem_of(pattern, options)
    fixed: list[str] = []
    for part in path.split("/")[:-1]:
        if _MAGIC.search(part):
            break
        fixed.append(part)
    waiting = ["/".join(fixed)]
    is_deep = "**" in path
    depth = len(path.split("/"))
    while waiting:
        folder = waiting.pop()
        for info in retried(pattern, partial(system.ls, folder, detail=True)):
            name = str(info["name"])
            if info.get("type") != "directory":
                yield name, None
            elif name.rstrip("/") != folder and (is_deep or len(name.split("/")) < depth):
                waiting.append(name.rstrip("/"))


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Do the parts of a name match the parts of a pattern?"""
    if not patterns:
        return not names
    first, rest = patterns[0], patterns[1:]
    if first == "**":
        if not rest:
            return not any(name.startswith(".") for name in names)
        for skipped in range(len(names) + 1):
            if _matches(names[skipped:], rest):
                return True
            if skipped < len(names) and names[skipped].startswith("."):
                return False
        return False
    if not names:
        return False
    if names[0].startswith(".") and not first.startswith("."):
        return False
    return fnmatchcase(names[0], first) and _matches(names[1:], rest)
