"""What near-duplicates cost: a pass with signatures, and a selection that compares them.

Belongs here: synthetic pools and signatures, each measurement in a process of its own. Does not
belong here: printing.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filters import BYTES_IN_A_DOCUMENT, SHARDS, _measure, _sentences, _train, _write_pool
from filters import _write_scores as write_scores

from pcorr_assets.config import NearDuplicates
from pcorr_assets.filters.signatures import SIGNATURE_BYTES, signature_kind
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.parquet_files import write_parquet

# Every tenth document is an edited copy of the one before it.
COPIES = 10

PASS = """
import json, resource, sys, time
from pathlib import Path
from pcorr_assets.config import Pool
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
import fasttext, duckdb, rensa
home, model, settings, *paths = sys.argv[1:]
pool = Pool.model_validate({"sample": "s", "files": paths, "token_count_column": "tokens",
                            "token_budget": 1, **json.loads(settings)})
file = FilterFile(Path(model), sha256_file(Path(model)))
warehouse = Warehouse(Path(home))
start, cpu = time.perf_counter(), time.process_time()
for key in refresh_groups(warehouse, "bench", pool).keys:
    score_group(warehouse, read_group(warehouse, key), pool, {"target": file})
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "mib": peak_mib()}))
"""

SELECT = """
import json, sys, time
from pathlib import Path
from pcorr_assets.config import Pool, SelectionCompute
from pcorr_assets.filters.selection import select_documents
from pcorr_assets.warehouse import Warehouse
import duckdb
home, ratio, settings, *groups = sys.argv[1:]
pool = Pool.model_validate({"sample": "s", "files": ["/none.jsonl"], "keep_ratio": float(ratio),
                            **json.loads(settings)})
keys = [f"{group}.jsonl" for group in groups]
compute = SelectionCompute(threads=2, memory="2G")
start, cpu = time.perf_counter(), time.process_time()
with select_documents(Warehouse(Path(home)), "bench", pool, "target", keys, groups,
                      compute) as selection:
    summary = selection.summary
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "mib": peak_mib(), "near": summary.near_duplicate_document_count,
                  "documents": summary.document_count}))
"""
SETTINGS = {"without": {}, "with": {"near_duplicates": {}}}


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the data to a few seconds."""
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        rows = _passes(Path(folder), (4 if quick else 256) << 20, quick)
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        return [*rows, *_selections(Path(folder), 20_000 if quick else 1_000_000)]


def _passes(folder: Path, byte_count: int, quick: bool) -> list[dict[str, Any]]:
    sentences = _sentences()
    model = folder / "model.bin"
    _train(sentences, folder / "train.txt", model, bucket=10_000 if quick else 2_000_000)
    documents = byte_count // BYTES_IN_A_DOCUMENT
    size = _write_pool(folder / "pool.parquet", sentences, documents, 0)
    found = {
        name: _measure(
            PASS, str(folder / name), str(model), json.dumps(settings), str(folder / "pool.parquet")
        )
        for name, settings in SETTINGS.items()
    }
    more = found["with"]["cpu"] - found["without"]["cpu"]
    return [
        {
            "name": f"a pass with signatures, {size / 1e9:.2f} GB, {documents:,} documents",
            "ours_seconds": found["with"]["seconds"],
            "other": "without them",
            "other_seconds": found["without"]["seconds"],
            "ratio": found["without"]["seconds"] / found["with"]["seconds"],
            "note": (
                f"CPU {found['with']['cpu']:.1f} s against {found['without']['cpu']:.1f} s, "
                f"{more / documents * 1e6:.0f} microseconds a document; peak "
                f"{found['with']['mib']:.0f} MiB against {found['without']['mib']:.0f}; tokens "
                "from a column"
            ),
        }
    ]


def _selections(folder: Path, document_count: int) -> list[dict[str, Any]]:
    warehouse = Warehouse(folder / "home")
    keys = write_scores(warehouse, document_count)
    for number, key in enumerate(keys):
        _sign(warehouse, key, number, document_count // SHARDS)
    rows = []
    for ratio in ("0.1", "0.5"):
        found = {
            name: _measure(SELECT, str(folder / "home"), ratio, json.dumps(settings), *keys)
            for name, settings in SETTINGS.items()
        }
        ours, other = found["with"], found["without"]
        rows.append(
            {
                "name": f"choosing {float(ratio):.0%} of {document_count:,}, near-duplicates once",
                "ours_seconds": ours["seconds"],
                "other": "near-duplicates off",
                "other_seconds": other["seconds"],
                "ratio": other["seconds"] / ours["seconds"],
                "note": (
                    f"{ours['documents']:,} taken, {ours['near']:,} near-duplicates left out; "
                    f"CPU {ours['cpu']:.1f} s against {other['cpu']:.1f} s; peak "
                    f"{ours['mib']:.0f} MiB against {other['mib']:.0f}; 2 threads, memory 2G"
                ),
            }
        )
    return rows


def _sign(warehouse: Warehouse, key: str, seed: int, count: int) -> None:
    """Random signatures, of which every tenth differs little from the one before it."""
    generator = np.random.default_rng(seed)
    held = generator.integers(0, 256, (count, SIGNATURE_BYTES), dtype=np.uint8)
    held[COPIES - 1 :: COPIES] = held[COPIES - 2 :: COPIES][: len(held[COPIES - 1 :: COPIES])]
    held[COPIES - 1 :: COPIES, ::16] ^= np.uint8(0x10)
    flat = pa.py_buffer(held.tobytes())
    offsets = pa.array(np.arange(count + 1, dtype=np.int32) * SIGNATURE_BYTES).buffers()[1]
    signatures = pa.Array.from_buffers(pa.binary(), count, [None, offsets, flat])
    table = pa.table({"signature": signatures})
    noted = {
        "signatures": signature_kind(NearDuplicates()),
        "shards": f'[["{key}.jsonl", {count}]]',
    }
    path = warehouse.path("pool_documents", key)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, table, noted)
