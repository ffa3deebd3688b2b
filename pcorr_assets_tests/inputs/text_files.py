"""Odd files of texts: every format and compression, odd values, damage.

Belongs here: making them from a seed, and what has to hold of a file as a sample and as the
shard of a pool. Does not belong here: how many are tried (the tests).
"""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from pcorr_assets.config import Pool
from pcorr_assets.config.texts import Sample
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.text.sampling import SamplingCounts, sample_pages
from pcorr_assets.text.sources import open_source
from pcorr_assets.warehouse import Warehouse

TARGET = "odd"
OUTPUTS = ("jsonl", "jsonl.zst", "parquet")

_TEXTS: tuple[Any, ...] = (
    "mast keel jib", "rook pawn\n\ncastle", "", " \n\t ", None, 7, 0.5, math.nan, True, [], {},
    ["mast"], {"a": 1}, "\ud83d lone", "\x00nul\x00", "é" * 300, "😀", "\r\n", "\u2028",
    2**70, -1, "a" * 5000, "NaN", "null", '{"text": 1}',
)  # fmt: skip
_OTHERS: tuple[Any, ...] = (
    None, {}, {"a": {}}, [], [[]], [1, "a"], 1, 2**63, 2**70, 0.5, math.nan, math.inf, -math.inf,
    "x", "\ud800", True, {"": 1}, {"a": [{"b": None}]}, "=1+1",
)  # fmt: skip
_NAMES = ("x", "score", "Score", "pcorr_score", "", "a b", "ü", "tokens ", "TEXT", "row")
# A configuration with another ending is refused before any file is looked at.
_ENDINGS = (
    "jsonl", "json", "ndjson", "jsonl.gz", "json.gz", "jsonl.zst", "jsonl.bz2", "json.xz",
    "parquet", "csv",
)  # fmt: skip


@dataclass(frozen=True)
class OddFile:
    """One file: `label` tells how it was made, so that a failure can be made again."""

    label: str
    name: str
    content: bytes


def odd_files(seed: int, count: int) -> Iterator[OddFile]:
    """`count` files; the same seed gives the same files, whatever the count."""
    for index in range(count):
        yield odd_file(seed, index)


def odd_file(seed: int, index: int) -> OddFile:
    """The file of that number."""
    rng = random.Random(f"{seed} {index}")
    rows = [_row(rng) for _ in range(rng.randrange(0, 12))]
    ending = rng.choice(_ENDINGS)
    content = _parquet(rng, rows) if ending == "parquet" else _text(rng, rows, ending)
    damage = rng.choice(_DAMAGES)
    if damage is not None:
        content = damage(rng, content)
    label = f"seed {seed}, number {index}: {ending}, {getattr(damage, '__name__', 'whole')}"
    return OddFile(label, f"odd.{ending}", content)


def as_sample(file: OddFile, folder: Path) -> None:
    """Read it as a sample: every row is a page or counted as dropped."""
    path = folder / file.name
    path.write_bytes(file.content)
    sample = Sample.model_validate(
        {
            "files": [str(path)],
            "text_column": "text",
            "id_column": "id",
            "reference_tokenizer": "org/none",
        }
    )
    counts = SamplingCounts()
    pages = list(sample_pages(lambda: open_source(sample), sample, counts))
    dropped = counts.without_text + counts.without_id + counts.duplicate_ids
    assert counts.rows == len(pages) + dropped + counts.duplicate_pages
    for page in pages:
        page.text.encode()
        assert page.text.strip()


def as_pool(file: OddFile, folder: Path, trained: FilterFile) -> None:
    """Score it, select from it, write the selection: what is written is what was selected."""
    if file.name.endswith(".csv"):
        return  # no format of pools
    path = folder / file.name
    path.write_bytes(file.content)
    home = folder / "home"
    warehouse = Warehouse(home)
    for output in OUTPUTS:
        pool = Pool.model_validate(
            {
                "sample": "texts",
                "files": [str(path)],
                "text_column": "text",
                "id_column": "id",
                "token_count_column": "tokens",
                "keep_ratio": 1.0,
                "format": output,
            }
        )
        groups = refresh_groups(warehouse, "odd", pool).keys
        for key in groups:
            score_group(warehouse, read_group(warehouse, key), pool, {TARGET: trained})
        written = write_selected(warehouse, "odd", pool, TARGET, list_shards("odd", pool), groups)
        files = written.manifest["files"]
        rows = sum(_count(written.folder / part["file"], output) for part in files)
        assert rows == sum(part["documents"] for part in files)
        names = {entry.name for entry in written.folder.iterdir()}
        assert names == {"manifest.json", *(part["file"] for part in files)}


def leftovers(folder: Path) -> list[Path]:
    """Files that nothing refers to, however the attempt ended."""
    return [
        path
        for path in folder.rglob("*")
        if path.is_file() and (path.suffix == ".tmp" or ".selecting-" in str(path))
    ]


def _count(path: Path, output: str) -> int:
    if output == "parquet":
        return pq.read_metadata(path).num_rows
    data = path.read_bytes()
    if output.endswith(".zst"):
        data = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    lines = data.decode().split("\n")[:-1]
    for line in lines:
        json.loads(line, parse_constant=_refuse)
    return len(lines)


def _refuse(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def _row(rng: random.Random) -> dict[str, Any]:
    row: dict[str, Any] = {"text": rng.choice(_TEXTS), "tokens": rng.randrange(0, 9)}
    if rng.random() < 0.8:
        row["id"] = rng.choice(("a", "b", 7, None, "", "é", str(rng.random())))
    if rng.random() < 0.1:
        row["tokens"] = rng.choice(_OTHERS)
    for _ in range(rng.randrange(0, 3)):
        row[rng.choice(_NAMES)] = rng.choice(_OTHERS)
    if rng.random() < 0.05:
        row.pop("text")
    return row


def _text(rng: random.Random, rows: list[dict[str, Any]], ending: str) -> bytes:
    if ending.startswith("csv"):
        return _csv(rows)
    lines = [json.dumps(row, ensure_ascii=rng.random() < 0.5) for row in rows]
    if lines and rng.random() < 0.1:
        odd = ("[1]", "7", "null", "{}", "{", '{"text": "a", "text": "b"}', "[" * 300 + "]" * 300)
        lines[rng.randrange(len(lines))] = rng.choice(odd)
    data = rng.choice(("\n", "\r\n")).join(lines).encode("utf-8", "surrogatepass")
    data += rng.choice((b"\n", b"", b"\n\n"))
    if rng.random() < 0.1:
        data = b"\xef\xbb\xbf" + data
    compress: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "zst": zstandard.ZstdCompressor().compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
    }
    kind = ending.rpartition(".")[2]
    if kind not in compress:
        return data
    half = len(data) // 2
    parts = (data[:half], data[half:]) if rng.random() < 0.3 else (data,)
    return b"".join(compress[kind](part) for part in parts)


def _csv(rows: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(["id", "text", "tokens", *(name for row in rows for name in row)]))
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(names)
    writer.writerows([row.get(name, "") for name in names] for row in rows)
    return file.getvalue().encode("utf-8", "surrogatepass")


def _parquet(rng: random.Random, rows: list[dict[str, Any]]) -> bytes:
    """Parquet holds one type a column: the texts of one kind, others that Arrow can make."""
    kinds = (pa.string(), pa.large_string(), pa.binary(), pa.string_view())
    columns: dict[str, pa.Array] = {}
    texts = [
        row.get("text") if isinstance(row.get("text"), str | None) else str(row["text"])
        for row in rows
    ]
    plain = [None if t is None else t.encode("utf-8", "replace").decode() for t in texts]
    columns["text"] = pa.array(plain, rng.choice(kinds))
    if rng.random() < 0.1:
        columns["text"] = pa.array(range(len(rows)), pa.int64())
    columns["id"] = pa.array([str(number // 2) for number in range(len(rows))], pa.string())
    tokens = pa.array([3] * len(rows), pa.int64())
    columns["tokens"] = tokens.cast(rng.choice((pa.int64(), pa.int8(), pa.string())))
    for name in _NAMES:
        if rng.random() < 0.2:
            columns[name] = _column(rng, len(rows))
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


def _column(rng: random.Random, size: int) -> pa.Array:
    make: tuple[Callable[[], pa.Array], ...] = (
        lambda: pa.nulls(size),
        lambda: pa.array([{"a": None}] * size, pa.struct([("a", pa.int64())])),
        lambda: pa.array([[b"\xff"]] * size, pa.list_(pa.binary())),
        lambda: pa.array([[("k", 1)]] * size, pa.map_(pa.string(), pa.int64())),
        lambda: pa.array(["x"] * size).dictionary_encode(),
        lambda: pa.array([2**62] * size, pa.timestamp("us")),
        lambda: pa.array([0] * size, pa.timestamp("ns", "Europe/Zurich")),
        lambda: pa.array([math.nan] * size, pa.float32()),
        lambda: pa.array([1] * size, pa.uint64()),
        lambda: pa.array([1] * size).cast(pa.decimal128(38, 5)),
        lambda: pa.array([b"\xff\x00"] * size, pa.large_binary()),
        lambda: pa.array([5] * size, pa.duration("s")),
        lambda: pa.array([5] * size, pa.time64("ns")),
    )
    return rng.choice(make)()


def _cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _flip(rng: random.Random, content: bytes) -> bytes:
    if not content:
        return content
    place = rng.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]


def _append(rng: random.Random, content: bytes) -> bytes:
    return content + rng.choice((b"\x00" * 512, b"garbage", b"\xff\xfe", b"\n"))


def _utf16(_: random.Random, content: bytes) -> bytes:
    return content.decode("latin-1").encode("utf-16")


# Most files are whole: their values are what is odd.
_DAMAGES: tuple[Callable[[random.Random, bytes], bytes] | None, ...] = (
    None, None, None, None, None, None, _cut, _flip, _append, _utf16,
)  # fmt: skip
