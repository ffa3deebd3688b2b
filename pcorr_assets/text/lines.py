"""Lines of a text file, plain or compressed, in bounded memory.

Belongs here: from bytes on disk to numbered lines, and what is said of a file that is cut
off or damaged on the way. Does not belong here: what a line means (`files`).
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterator
from typing import IO, cast

from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile

READ_BYTES = 1 << 16
# A few bytes of zstd may stand for 128 KiB of text, and all of it comes out at once: as much
# is read at a time as keeps the output near READ_BYTES.
ZSTD_READ_BYTES = (16, 4 << 10)
# What `zstd --long=31` needs. The memory is taken only as far as the data reach.
ZSTD_WINDOW_BYTES = 2 << 30
LINE_BYTES = 1 << 30
MESSAGE_CHARS = 300


def first_line(error: BaseException) -> str:
    """An error's message on one line, shortened; its type where it has none."""
    return " ".join(str(error).split())[:MESSAGE_CHARS] or type(error).__name__


def iter_lines(path: AnyFile, compression: str | None) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end); only b"\\n" ends a line.

    `compression` is `gzip`, `zstd`, `bzip2`, `xz` or None. Members or frames that follow one
    another are one file; zeros that pad gzip members or xz streams, as tapes and block devices
    leave them, are no part of it. Raises PcorrError naming file and line where the file is
    truncated or damaged, where a line has more than 1 GiB, and where zstd needs a window of more
    than 2 GiB.
    """
    number = 0
    pending: list[bytes] = []
    pending_bytes = 0
    for block in iter_blocks(path, compression):
        head, *lines = block.split(b"\n")
        pending.append(head)
        pending_bytes += len(head)
        if pending_bytes > LINE_BYTES:
            raise PcorrError(
                f"{path}, line {number + 1:,}: longer than {LINE_BYTES >> 30} GiB, so this is "
                "probably no JSON Lines file (one object a line): write it again as one"
            )
        for line in lines:
            number += 1
            yield number, b"".join(pending)
            pending, pending_bytes = [line], len(line)
    if last := b"".join(pending):
        yield number + 1, last


def iter_blocks(path: AnyFile, compression: str | None) -> Iterator[bytes]:
    """Yield the content of a file in blocks of a few hundred KiB, unpacked as in `iter_lines`.

    Raises PcorrError naming file and line where the file is truncated or damaged.
    """
    done = 0
    readers = {None: _plain_blocks, "gzip": _plain_blocks, "zstd": _zstd_blocks}
    blocks = readers.get(compression, _member_blocks)(path, compression)
    while True:
        try:
            block = next(blocks, None)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise PcorrError(_unreadable(path, done, error)) from error
        if block is None:
            return
        done += block.count(b"\n")
        yield block


def _plain_blocks(path: AnyFile, compression: str | None) -> Iterator[bytes]:
    with path.open("rb") as file:
        stream = file
        if compression == "gzip":
            stream = cast(IO[bytes], gzip.GzipFile(fileobj=file, mode="rb"))
        while block := stream.read(READ_BYTES):
            yield block


def _member_blocks(path: AnyFile, compression: str | None) -> Iterator[bytes]:
    """bzip2 and xz. Python's own readers take whatever follows a damaged member for padding."""

    def new() -> bz2.BZ2Decompressor | lzma.LZMADecompressor:
        if compression == "bzip2":
            return bz2.BZ2Decompressor()
        return lzma.LZMADecompressor(memlimit=ZSTD_WINDOW_BYTES)

    member = new()
    is_fresh = False
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            while block or not (member.eof or member.needs_input):
                if member.eof:
                    member, is_fresh = new(), True
                if is_fresh and compression == "xz":
                    block = block.lstrip(b"\0")
                    if not block:
                        break
                yield member.decompress(block, READ_BYTES)
                is_fresh = False
                block = member.unused_data if member.eof else b""
    if not (member.eof or is_fresh):
        raise EOFError("the last part of it is not complete")


def _zstd_blocks(path: AnyFile, _: str | None) -> Iterator[bytes]:
    import zstandard

    decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES)
    frame = decompressor.decompressobj()
    size, most = ZSTD_READ_BYTES
    try:
        with path.open("rb") as file:
            while block := file.read(size):
                while block:
                    if frame.eof:
                        frame = decompressor.decompressobj()
                    text = frame.decompress(block)
                    if len(text) > 2 * READ_BYTES:
                        size = max(size // 2, ZSTD_READ_BYTES[0])
                    elif len(text) < READ_BYTES:
                        size = min(size * 2, most)
                    yield text
                    block = frame.unused_data if frame.eof else b""
    except zstandard.ZstdError as error:
        raise OSError(first_line(error)) from error
    if not frame.eof:
        raise EOFError("the last frame is not complete")


def _unreadable(path: AnyFile, line_count: int, error: BaseException) -> str:
    reason = first_line(error)
    where = f"{path}: cannot be read far beyond line {line_count:,}"
    if "too much memory" in reason:
        return (
            f"{where}: its zstd frames need a window of more than {ZSTD_WINDOW_BYTES >> 30} GiB "
            f"({reason}): compress it again without --ultra or with --long=31 at most"
        )
    cut_off = isinstance(error, EOFError)
    state = "it is truncated" if cut_off else "it is probably truncated or damaged"
    return f"{where}, {state}: copy or download it again ({reason})"
