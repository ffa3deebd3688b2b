"""Parquet files that notice when a bit of them changes.

Belongs here: writing such files, and opening any Parquet file of the platform. Does not
belong here: what is in them, and moving them into place (`files`).

Pages carry their CRC, which any reader can check. What a CRC does not cover (page headers,
footer) and all the rest is covered by a seal: an entry of the footer's metadata with the
SHA-256 of everything before the footer and that of the footer itself, taken with zeros in
its own place. So the seal is in the file: both are replaced in one move, go wherever the
file goes, and stay plain Parquet. A file without a seal was written by an earlier version,
or by others, and is read as it is.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.errors import DamagedFileError

SEAL = "pcorr_seal"
# Beside the key, so that not even a flipped bit of the key makes a file look like an old one.
_MARK = b"pcorr-seal-1:"
_NOTHING = b"0" * 64
_EMPTY_SEAL = _MARK + _NOTHING + b":" + _NOTHING
# As Thrift writes the entry: the key, the number and type of the next field, its length.
_LENGTH = len(_EMPTY_SEAL)
_FRAME = SEAL.encode() + bytes([0x18, _LENGTH & 0x7F | 0x80, _LENGTH >> 7]) + _MARK
# Either is still there when one bit of the other has flipped.
_ANY_SEAL = re.compile(SEAL.encode() + b"\x18|" + _MARK + b"[0-9a-f]{64}")
_MAGIC = b"PAR1"
_TAIL_BYTES = 8
_READ_BYTES = 1 << 20


class SealedWriter:
    """`pq.ParquetWriter` for a file with page checksums, which is sealed when it is closed.

    A context manager: an exception inside leaves the file unsealed. `metadata` may be set
    until the end.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.metadata: dict[str, str] = {}
        self._path = path
        self._parquet = pq.ParquetWriter(
            path, schema, compression="zstd", write_statistics=True, write_page_checksum=True
        )

    def write_table(self, table: pa.Table) -> None:
        """Append the rows as one row group: its bytes do not tell in which pieces they came."""
        # Arrow ends pages of data where a piece of a column ends.
        whole = table.combine_chunks()
        self._parquet.write_table(whole, row_group_size=max(table.num_rows, 1))

    def close(self) -> str:
        """Finish the file; returns the hexadecimal SHA-256 of its bytes."""
        self._parquet.add_key_value_metadata(
            dict(sorted(self.metadata.items())) | {SEAL: _EMPTY_SEAL.decode()}
        )
        self._parquet.close()
        return _seal(self._path)

    def abandon(self) -> None:
        """Close the file as it is; nobody is to read it."""
        self._parquet.close()

    def __enter__(self) -> SealedWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def write_parquet(path: Path, table: pa.Table, metadata: Mapping[str, str] | None = None) -> None:
    """Write a table as one sealed file of one row group."""
    with SealedWriter(path, table.schema) as writer:
        writer.metadata.update(metadata or {})
        if table.num_rows:
            writer.write_table(table)


def _seal(path: Path) -> str:
    with path.open("r+b") as file:
        found = _footer(file)
        if found is None:
            raise RuntimeError(f"{path} was written without a footer")
        footer_start, footer = found
        whole = _hash_until(file, footer_start)
        body = whole.hexdigest().encode()
        place = footer.rindex(_FRAME) + len(_FRAME) - len(_MARK)
        seal = _MARK + body + b":" + _NOTHING
        footer = _replaced(footer, place, seal)
        seal = _MARK + body + b":" + hashlib.sha256(footer).hexdigest().encode()
        footer = _replaced(footer, place, seal)
        file.seek(footer_start + place)
        file.write(seal)
    whole.update(footer)
    return whole.hexdigest()


def open_parquet(path: Path, *, only_footer: bool = False) -> pq.ParquetFile:
    """Open a Parquet file after verifying its seal; pages are verified as they are read.

    `only_footer` verifies the footer alone, for those who read nothing else (rows, metadata,
    schema). A file without a seal is opened as it is.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedFileError: it is not the file that was written, or not a Parquet file.
    """
    # A file handle rather than a path: it stays whole if the file is replaced.
    with naming_damage(path):
        file = pa.OSFile(str(path))
        try:
            return open_verified(file, only_footer=only_footer)
        except BaseException:
            file.close()
            raise


def open_verified(file: Any, *, only_footer: bool = False) -> pq.ParquetFile:
    """As `open_parquet`, of a file that is open; to be called inside `naming_damage`."""
    _verify(file, only_footer)
    file.seek(0)
    return pq.ParquetFile(file, pre_buffer=False, page_checksum_verification=True)


def read_parquet(path: Path) -> tuple[pa.Table, dict[str, str]]:
    """All rows, and the metadata; raises as `open_parquet`."""
    with open_parquet(path) as file, naming_damage(path):
        return file.read(), stored_metadata(file)


def stored_metadata(file: pq.ParquetFile) -> dict[str, str]:
    """What the writer of a file noted beside its rows."""
    own = (b"ARROW:schema", SEAL.encode())
    stored = file.metadata.metadata or {}
    return {key.decode(): value.decode() for key, value in stored.items() if key not in own}


@contextmanager
def naming_damage(path: Path) -> Iterator[None]:
    """Whatever shows in the block that `path` is damaged becomes a DamagedFileError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        # With a number it is of the system, not of pyarrow about its data.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DamagedFileError(path, f"no whole Parquet file: {_line(error)}") from None
    except _NotAsWrittenError as error:
        raise DamagedFileError(path, str(error)) from None


class _NotAsWrittenError(Exception):
    """A seal that does not fit its file, and which part of it."""


def _verify(file: Any, only_footer: bool) -> None:
    found = _footer(file)
    if found is None:
        return  # pyarrow says what is wrong with it
    footer_start, footer = found
    if not _ANY_SEAL.search(footer):
        return
    place = footer.rfind(_FRAME) + len(_FRAME) - len(_MARK)
    seal = footer[place : place + len(_EMPTY_SEAL)]
    body, footer_hash = seal[len(_MARK) :][:64], seal[-64:]
    unsealed = _replaced(footer, place, seal[:-64] + _NOTHING)
    if _FRAME not in footer or hashlib.sha256(unsealed).hexdigest().encode() != footer_hash:
        if _was_copied(file):
            return
        raise _NotAsWrittenError("its footer is not the one that was written")
    if not only_footer and _hash_until(file, footer_start).hexdigest().encode() != body:
        raise _NotAsWrittenError("its rows are not those that were written")


def _was_copied(file: Any) -> bool:
    """Did somebody read rows with their metadata and write them with it, seal and all?

    Arrow then repeats the metadata in its own schema, which has none of a sealed file's.
    """
    file.seek(0)
    stored = pq.read_metadata(file).metadata or {}
    try:
        return SEAL.encode() in base64.b64decode(stored.get(b"ARROW:schema", b""))
    except binascii.Error:
        return False


def _footer(file: Any) -> tuple[int, bytes] | None:
    """Where the footer begins, and all bytes from there to the end; None if there is none."""
    size = file.seek(0, 2)
    if size < len(_MAGIC) + _TAIL_BYTES:
        return None
    file.seek(size - _TAIL_BYTES)
    tail = file.read(_TAIL_BYTES)
    start = size - _TAIL_BYTES - int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or start < len(_MAGIC):
        return None
    file.seek(start)
    return start, file.read(size - start)


def _hash_until(file: Any, end: int) -> Any:
    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left:
        part = file.read(min(left, _READ_BYTES))
        if not part:
            raise _NotAsWrittenError("it became shorter while it was read")
        digest.update(part)
        left -= len(part)
    return digest


def _replaced(content: bytes, place: int, by: bytes) -> bytes:
    return content[:place] + by + content[place + len(by) :]


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
