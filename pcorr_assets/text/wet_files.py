"""Rows of Common Crawl's WET files: the text of each page, with where and when it was found.

Belongs here: from the records of such a file to rows. Does not belong here: decompressing
(`lines`) and what becomes of a row without an address (`sampling`, `pools`: it has no id).

A row has `text`, `id` and `url` (both the target URI), `domain` (its host), `date` (when it was
fetched, ISO 8601) and `language` (the header of Common Crawl, such as `eng,deu`); None where the
record says nothing. The record that describes the file (`warcinfo`) is no row.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile
from pcorr_assets.text.cleaning import decode_lossless
from pcorr_assets.text.lines import LINE_BYTES, first_line, iter_blocks
from pcorr_assets.text.rows import Row

COLUMNS = ("text", "id", "url", "domain", "date", "language")


def iter_wet(path: AnyFile, compression: str | None) -> Iterator[tuple[int, Row]]:
    """Yield (number of the record, from 1 with the warcinfo; row) of a WET file, streamed.

    Raises PcorrError naming file and record if it is truncated, damaged or no WET file (a
    record of another kind, such as a `response` of a WARC file, is refused by name).
    """
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    number = 0
    stream = _Blocks(iter_blocks(path, compression))
    try:
        # The stream is whole or an error here, where warcio would take a cut for the end.
        records = ArchiveIterator(stream, no_record_parse=True)
        for record in records:
            if records.err_count:
                raise ValueError(f"record {number:,} is longer than it says")
            number += 1
            if record.format != "warc":
                raise ValueError("it does not begin as a WARC record does")
            length = _length(record)
            if record.rec_type == "warcinfo":
                continue
            if record.rec_type != "conversion":
                raise PcorrError(
                    f"{path}, record {number:,}: a record of type {record.rec_type!r}, where a "
                    "WET file has extracted texts ('conversion'); use the .warc.wet.gz files of "
                    "the crawl"
                )
            if length > LINE_BYTES:
                raise PcorrError(
                    f"{path}, record {number:,}: longer than {LINE_BYTES >> 30} GiB, which is no "
                    "page: mend the file, or leave it out"
                )
            yield number, _row(record, length)
    except PcorrError:
        raise
    except (ArchiveLoadFailed, ValueError, EOFError) as error:
        raise PcorrError(
            f"{path}, record {max(number, 1):,}: no whole WET record ({first_line(error)}); it is "
            "truncated, damaged or no WET file: copy or download it again"
        ) from error


class _Blocks(io.RawIOBase):
    """Blocks of bytes as a file."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        super().__init__()
        self._blocks = blocks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return 0
            self._rest = memoryview(block)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _length(record: Any) -> int:
    stated = record.rec_headers.get_header("Content-Length")
    if stated is None or not stated.isdigit():
        raise ValueError(f"Content-Length is {stated!r}")
    return int(stated)


def _row(record: Any, length: int) -> Row:
    headers = record.rec_headers
    parts: list[bytes] = []
    while part := record.raw_stream.read():
        parts.append(part)
    content = b"".join(parts)
    if len(content) != length:
        raise EOFError(f"{len(content):,} bytes of {length:,}")
    uri = (headers.get_header("WARC-Target-URI") or "").strip() or None
    return {
        "text": decode_lossless(content),
        "id": uri,
        "url": uri,
        "domain": _host(uri),
        "date": headers.get_header("WARC-Date"),
        "language": headers.get_header("WARC-Identified-Content-Language"),
    }


def _host(uri: str | None) -> str | None:
    try:
        return urlsplit(uri).hostname or None if uri else None
    except ValueError:
        return None
