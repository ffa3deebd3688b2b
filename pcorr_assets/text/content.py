"""What a file is by its bytes, whatever its name says, and what every CSV file must be.

Belongs here: looking at the first bytes and the header line. Does not belong here:
reading rows (`files`, `matrix.csv_files`).
"""

from __future__ import annotations

from collections.abc import Sequence

from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.remote import AnyFile

HEAD_BYTES = 1 << 16
MAGIC_BYTES = 10
ARROW_MAGIC = b"ARROW1"
_BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff")
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def content_of(head: bytes) -> str | None:
    """`gzip`, `zstd`, `bzip2`, `xz`, `parquet` or `arrow` by the first ten bytes; None for
    anything else."""
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    # The mark of a block, or of the end where there is none: "BZh" alone may begin a text.
    if head[:3] == b"BZh" and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90"):
        return "bzip2"
    if head[:6] == b"\xfd7zXZ\x00":
        return "xz"
    # An IPC file, or a stream, whose messages begin with this mark.
    if head[:6] == ARROW_MAGIC or head[:4] == b"\xff\xff\xff\xff":
        return "arrow"
    magic = head[:4]
    is_skippable_frame = (
        len(magic) == 4 and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18"
    )
    if magic == b"\x28\xb5\x2f\xfd" or is_skippable_frame:
        return "zstd"
    return "parquet" if magic == b"PAR1" else None


def check_csv_text(path: AnyFile) -> None:
    """PcorrError unless the file starts as a CSV file in UTF-8 does, with a header line."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    found = content_of(head)
    if found is not None:
        raise PcorrError(
            f"{path} cannot be read as a CSV file: its content is {found}, whatever its name says; "
            "unpack it, or give it the ending of what it is"
        )
    # A letter of UTF-16 has a zero byte in most languages; UTF-8 has none at all.
    if head.startswith(_BYTE_ORDER_MARKS) or head.count(0) > len(head) // 5:
        raise PcorrError(
            f"{path} cannot be read as a CSV file: it is UTF-16 or binary, not UTF-8; save it "
            'with that encoding (Excel: "CSV UTF-8")'
        )
    text = head.removeprefix(b"\xef\xbb\xbf")
    if text.strip() and not text.split(b"\n", 1)[0].strip():
        raise PcorrError(f"{path}: line 1 is blank; the header must be the first line of the file")


def check_separator(header: Sequence[str], path: AnyFile) -> None:
    """PcorrError if the whole header stands in one field, with other separators than commas."""
    if len(header) != 1:
        return
    for separator, name in _SEPARATORS.items():
        if separator in header[0]:
            raise PcorrError(
                f"{path}: its fields are separated by {name}, not by commas; write it with commas "
                "(and with decimal points, 0.5)"
            )
