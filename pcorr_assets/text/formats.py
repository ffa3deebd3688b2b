"""Formats of text files: told by the ending, or by name, and checked by the first bytes.

Belongs here: which endings there are, what each stands for, and whether a file is what it
is taken for. Does not belong here: reading rows (`files`).

Formats: `parquet`; `arrow` (Arrow IPC, file or stream); `jsonl` (also `ndjson`, `json`: one
object a line); `wet` (Common Crawl's extracted texts); `csv` with a header line. Lines and WET
also compressed: `.gz`, `.zst`, `.zstd`, `.bz2`, `.xz`.
"""

from __future__ import annotations

from collections.abc import Iterable

from pcorr_assets.config.texts import COMPRESSIONS, SAMPLE_FORMATS
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile
from pcorr_assets.text.content import MAGIC_BYTES, content_of

_KINDS = {"ndjson": "jsonl", "json": "jsonl", "warc.wet": "wet"}


def _meaning(name: str) -> tuple[str, str | None]:
    for ending, compression in COMPRESSIONS.items():
        if ending and name.endswith(ending):
            kind = name.removesuffix(ending)
            return _KINDS.get(kind, kind), compression
    return _KINDS.get(name, name), None


# Longer names first: `.json.gz` is no `.gz`, and `.jsonl` is no `.json`.
_FORMATS = {name: _meaning(name) for name in sorted(SAMPLE_FORMATS, key=len, reverse=True)}


def file_format(path: AnyFile, named: str | None = None) -> tuple[str, str | None]:
    """Format (`parquet`, `arrow`, `jsonl`, `wet`, `csv`) and compression (`gzip`, `zstd`,
    `bzip2`, `xz`, None): of the name (`jsonl.gz`, ...) if one is given, else by the ending.

    Raises PcorrError for an ending that is not supported.
    """
    if named is not None:
        return _FORMATS[named]
    ending = path.name.lower()
    for name, found in _FORMATS.items():
        if ending.endswith(f".{name}"):
            return found
    raise PcorrError(
        f"{path}: cannot tell the format from the ending; name it (file_format: jsonl.gz), or "
        f"give the file one of {', '.join(f'.{name}' for name in SAMPLE_FORMATS)}"
    )


def has_types(path: AnyFile, named: str | None = None) -> bool:
    """Has the file Arrow types of its own, unlike lines of text?"""
    return file_format(path, named)[0] in ("parquet", "arrow")


def check_content(path: AnyFile, named: str | None = None) -> None:
    """Raise PcorrError if the file is missing or its first bytes contradict its format."""
    kind, compression = file_format(path, named)
    if not path.is_file():
        raise PcorrError(f"{path}: no such file")
    with path.open("rb") as file:
        head = file.read(MAGIC_BYTES)
    typed = kind in ("parquet", "arrow")
    if not head and (typed or compression):
        raise PcorrError(f"{path}: the file is empty: copy or download it again")
    found = content_of(head)
    expected = compression or (kind if typed else None)
    if found != expected:
        said = "the ending says" if named is None else "file_format says"
        raise PcorrError(
            f"{path}: {said} {expected or 'plain ' + kind}, but the content is "
            f"{found or 'something else (plain text or damaged)'}: rename or replace the file"
        )


def require_columns(available: Iterable[str], wanted: Iterable[str], where: str) -> None:
    """Raise PcorrError if a wanted column is not available, listing those that are."""
    names = list(available)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise PcorrError(
            f"{where}: no column {', '.join(map(repr, missing))}; it has "
            f"{', '.join(map(repr, names)) or 'no columns at all'}. Name existing columns in the "
            "config (an id or domain inside another column: set metadata_column)"
        )
