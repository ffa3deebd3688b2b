"""Hostile CSV files: published matrices and token counts with seeded faults.

Belongs here: making them, and reading them as the platform does. Does not belong here:
how many, and what becomes of them (a test).
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterator
from pathlib import Path

from pcorr_assets.config import MatrixCsv
from pcorr_assets.matrix.imports import import_published
from pcorr_assets.text.token_counts import read_unit_tokens
from pcorr_assets_tests.inputs.outcome import Case

LLMS = [f"('f{i}', 'org/llm{i}')" for i in range(6)]
UNITS = ["a.org", "b.org/page", "c,with comma", 'd "quoted"', "e\nline", "ü.org"]
ERRORS = "benchmark," + ",".join(f'"{llm}"' for llm in LLMS) + "\narc,.1,.2,.3,.4,.5,.6\n"

_CELLS = (
    "", " ", "NA", "nan", "inf", "-inf", "-1", "1e999", "1e-999", "0,5", '"0,5"', "1_0", "٣",
    "0x1F", "9" * 5000,
    "x" * 5000, '"', '""', '"open', "'", ";", "\t", "\0", "\n", "\r", "true",
    "=cmd|' /C calc'!A0", "a,b",
    "('f', 'g', 'h')", "(" * 300, "__import__('os').system('touch x')", "org/name",
    "\u202e", "\ufeff",
)  # fmt: skip


def good(rows: int = len(UNITS)) -> str:
    """A matrix that can be imported."""
    header = ["id", *(f'"{llm}"' for llm in LLMS)]
    lines = [",".join(header)]
    for i, unit in enumerate(UNITS[:rows]):
        quoted = unit.replace('"', '""')
        lines.append(f'"{quoted}",' + ",".join(f"{0.5 + i / 10 + k / 100}" for k in range(6)))
    return "\n".join(lines) + "\n"


def cases(seed: int, count: int) -> Iterator[Case]:
    """`count` files of a BPB matrix; the same seed gives the same ones."""
    fixed = list(_fixed())
    for label, content in fixed[:count]:
        yield Case(label, content)
    for number in range(count - len(fixed)):
        chosen = random.Random(f"csv {seed} {number}")
        faults = [chosen.choice(_FAULTS) for _ in range(chosen.randint(1, 3))]
        content = good().encode()
        for fault in faults:
            content = fault(content, chosen)
        names = " + ".join(fault.__name__.strip("_") for fault in faults)
        yield Case(f"csv {seed}/{number}: {names}", content)


def read_matrix(content: bytes, folder: Path) -> object:
    """Import it as `bpb.csv` in `folder`, with good errors beside it."""
    bpb, errors = folder / "bpb.csv", folder / "errors.csv"
    bpb.write_bytes(content)
    errors.write_text(ERRORS)
    return import_published("s", MatrixCsv(bpb=bpb, errors=errors, level="page"), 0.5)


def unit_token_cases(seed: int, count: int) -> Iterator[Case]:
    """`count` files of `unit,token_count`."""
    for number in range(count):
        chosen = random.Random(f"tokens {seed} {number}")
        lines = [["unit", "token_count"], *([f"u{i}", str(i * 100)] for i in range(5))]
        for _ in range(chosen.randint(1, 2)):
            lines[chosen.randrange(len(lines))][chosen.randrange(2)] = chosen.choice(_CELLS)
        text = chosen.choice(("\n", "\r\n")).join(",".join(line) for line in lines)
        content = text.encode("utf-8", "surrogatepass")
        yield Case(f"tokens {seed}/{number}", content[chosen.choice((0, 0, 0, 1, 5)) :])


def read_tokens(content: bytes, folder: Path) -> object:
    """Read it as `tokens.csv` in `folder`, for the units of the good file."""
    path = folder / "tokens.csv"
    path.write_bytes(content)
    return read_unit_tokens(path, [f"u{i}" for i in range(5)])


def _fixed() -> Iterator[tuple[str, bytes]]:
    text = good()
    plain = text.replace('"', "").replace("\n\n", "\n")
    yield "good", text.encode()
    yield "empty", b""
    yield "only blank lines", b"\n\n\n"
    yield "blank first line", b"\n" + text.encode()
    yield "header only", text.split("\n", 1)[0].encode()
    yield "mark of UTF-8", b"\xef\xbb\xbf" + text.encode()
    yield "UTF-16", text.encode("utf-16")
    yield "UTF-16 without a mark", text.encode("utf-16-be")
    yield "Latin-1", text.encode("latin-1")
    yield "gzip", gzip.compress(text.encode())
    yield "Parquet", b"PAR1" + b"\0" * 100
    yield "semicolons", plain.replace(",", ";").encode()
    yield "tabs", plain.replace(",", "\t").encode()
    yield "Windows line ends", text.replace("\n", "\r\n").encode()
    yield "transposed", b"id,a.org,b.org\n" + b"".join(b"org/%d,1,2\n" % i for i in range(5))
    wide = b",".join(b"o/%d" % i for i in range(10_000))
    yield "10,000 columns", b"id," + wide + b"\nx" + b",1" * 10_000
    yield "one line of 5 MB", b"x" * 5_000_000
    yield "an open quote", text.encode() + b'"' + b"x\n" * 200_000
    yield "random bytes", random.Random(0).randbytes(100_000)


def _replace_cell(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    row = chosen.randrange(len(lines))
    cells = lines[row].split(b",")
    cells[chosen.randrange(len(cells))] = chosen.choice(_CELLS).encode("utf-8", "surrogatepass")
    lines[row] = b",".join(cells)
    return b"\n".join(lines)


def _drop_cell(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    row = chosen.randrange(len(lines))
    lines[row] = lines[row].rpartition(b",")[0]
    return b"\n".join(lines)


def _repeat_line(content: bytes, chosen: random.Random) -> bytes:
    lines = content.split(b"\n")
    lines.insert(chosen.randrange(len(lines)), chosen.choice(lines))
    return b"\n".join(lines)


def _flip_byte(content: bytes, chosen: random.Random) -> bytes:
    if not content:
        return content
    at = chosen.randrange(len(content))
    return content[:at] + bytes([chosen.randrange(256)]) + content[at + 1 :]


def _cut_off(content: bytes, chosen: random.Random) -> bytes:
    return content[: chosen.randrange(len(content) + 1)]


_FAULTS = (_replace_cell, _replace_cell, _drop_cell, _repeat_line, _flip_byte, _cut_off)
