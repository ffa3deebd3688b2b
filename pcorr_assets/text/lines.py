"""Lines of a text file, plain or compressed, in bounded memory.

Belongs here: from bytes on disk to numbered lines, and what is said of a file that is cut
off or damaged on the way. Does not belong here: what a line means (`files`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from pcorr_assets.errors import PcorrError

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


def iter_lines(path: Path, compression: str | None) -> Iterator[tuple[int, bytes]]:
    """Yield (line number from 1, line without its end); only b"\\n" ends a line.

    `compression` is `gzip`, `zstd` or None. Members or frames that follow one another are
    one file; zeros that pad gzip members, as tapes and block devices leave them, are no part
    of it. Raises PcorrError naming file and line where the file is truncated or damaged,
    where a line has more than 1 GiB, and where zstd needs a window of more than 2 GiB.
    """
    number = 0
    pending: list[bytes] = []
    pending_bytes = 0
    for block in _blocks(path, compression):
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


def _blocks(path: Path, compression: str | None) -> Iterator[bytes]:
    done = 0
    blocks = _zstd_blocks(path) if compression == "zstd" else _plain_blocks(path, compression)
    while True:
        try:
            block = next(blocks, None)
        except (OSError, EOFError, zlib.error) as error:
            raise PcorrError(_unreadable(path, done, error)) from error
        if block is None:
            return
        done += block.count(b"\n")
        yield block


def _plain_blocks(path: Path, compression: str | None) -> Iterator[bytes]:
    with gzip.open(path) if compression == "gzip" else path.open("rb") as stream:
        while block := stream.read(READ_BYTES):
            yield block


def _zstd_blocks(path: Path) -> Iterator[bytes]:
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


def _unreadable(path: Path, line_count: int, error: BaseException) -> str:
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
