"""Speed of the matrix step: from one BPB file for each LLM to all levels of the matrix.

Belongs here: worlds of random losses, the matrix step, and the way it is compared with:
one wide CSV file after the other merged with pandas. Does not belong here: printing.
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pcorr_assets.matrix import assemble
from pcorr_assets.text.chunked_dataset import chunk_ids_sha256
from pcorr_assets.warehouse import TABLES, Warehouse

SAMPLE = "bench"
CHUNKS_IN_A_PAGE = 4
PAGES_IN_A_DOMAIN = 25
# The large world writes so many files of its own; the other LLMs are hard links to them.
DIFFERENT_FILES = 9


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the worlds to a few seconds."""
    small = (12, 2_000) if quick else (90, 20_000)
    large = (12, 20_000) if quick else (90, 1_000_000)
    return [_against_pandas(*small), _large(*large)]


def _against_pandas(llm_count: int, chunk_count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        wh = Warehouse(Path(folder) / "home")
        csv_files = Path(folder) / "csv"
        csv_files.mkdir()
        llms = _write_world(wh, llm_count, chunk_count, different=llm_count)
        _write_csv_files(wh, llms, csv_files)
        start = time.perf_counter()
        assemble(wh, SAMPLE, llms, 0.05).write()
        ours = time.perf_counter() - start
        start = time.perf_counter()
        _merge_with_pandas(csv_files)
        other = time.perf_counter() - start
    return {
        "name": f"matrix of {llm_count} LLMs x {chunk_count:,} chunks",
        "ours_seconds": ours,
        "other": "pandas: CSV files merged LLM by LLM",
        "other_seconds": other,
        "ratio": other / ours,
        "note": "chunk, domain and page levels, read, masked and written",
    }


def _large(llm_count: int, chunk_count: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        _write_world(Warehouse(Path(folder)), llm_count, chunk_count, different=DIFFERENT_FILES)
        # A process of its own: its peak memory is that of the matrix step alone.
        result = subprocess.run(
            [sys.executable, __file__, folder], check=True, capture_output=True, text=True
        )
    measured = json.loads(result.stdout)
    return {
        "name": f"matrix of {llm_count} LLMs x {chunk_count:,} chunks",
        "ours_seconds": measured["seconds"],
        "other": "",
        "other_seconds": None,
        "ratio": None,
        "note": f"peak memory {measured['peak_gib']:.2f} GiB; limits: 180 s, 6 GiB on 2 cores",
    }


def _write_world(wh: Warehouse, llm_count: int, chunk_count: int, different: int) -> list[str]:
    """Write chunks and `chunk_bpb` files, and return the LLMs' keys."""
    rng = np.random.default_rng(0)
    pages = np.arange(chunk_count) // CHUNKS_IN_A_PAGE
    domains = pa.array([f"site{page // PAGES_IN_A_DOMAIN}.example" for page in pages.tolist()])
    shared = {
        "sample": pa.repeat(pa.scalar(SAMPLE), chunk_count),
        "chunk_id": pa.array(
            [hashlib.sha256(str(i).encode()).hexdigest()[:32] for i in range(chunk_count)]
        ),
        "byte_count": pa.array(rng.integers(500, 2500, chunk_count)),
    }
    chunks = shared | {
        "page_id": pa.array([f"https://site.example/page/{page}" for page in pages.tolist()]),
        "chunk_index": pa.array((np.arange(chunk_count) % CHUNKS_IN_A_PAGE).astype(np.int32)),
        "domain": domains,
        "text": pa.repeat(pa.scalar("text"), chunk_count),
        "reference_token_count": pa.repeat(pa.scalar(512), chunk_count),
    }
    chunks_sha256 = chunk_ids_sha256(shared["chunk_id"].to_pylist())
    metadata = {"chunks_sha256": chunks_sha256, "commit_sha": "bench", "dtype": "float32"}
    wh.write("chunks", (SAMPLE,), _table("chunks", chunks), metadata)
    llms = [f"org/llm-{k:03}" for k in range(llm_count)]
    for position, llm in enumerate(llms):
        path = wh.path("chunk_bpb", llm, SAMPLE)
        if position >= different:
            path.parent.mkdir(parents=True)
            os.link(wh.path("chunk_bpb", llms[position % different], SAMPLE), path)
            continue
        loss = rng.gamma(9, 0.3, chunk_count)
        loss[rng.integers(0, chunk_count, chunk_count // 1000)] = np.nan
        token_count = rng.integers(400, 600, chunk_count)
        scored = shared | {
            "llm": pa.repeat(pa.scalar(llm), chunk_count),
            "loss": pa.array(loss),
            "token_count": pa.array(token_count),
            "bpb": pa.array(token_count * loss / shared["byte_count"].to_numpy() / np.log(2)),
            "unk_count": pa.repeat(pa.scalar(0), chunk_count),
        }
        wh.write("chunk_bpb", (llm, SAMPLE), _table("chunk_bpb", scored), metadata)
    return llms


def _table(name: str, columns: dict[str, pa.Array]) -> pa.Table:
    schema = TABLES[name].schema
    return pa.table(
        [columns[field].cast(schema.field(field).type) for field in schema.names], schema=schema
    )


def _write_csv_files(wh: Warehouse, llms: list[str], folder: Path) -> None:
    chunks = wh.read("chunks", SAMPLE, columns=["chunk_id", "page_id", "domain"]).to_pandas()
    for position, llm in enumerate(llms):
        bpb = wh.read("chunk_bpb", llm, SAMPLE, columns=["bpb"])["bpb"].to_numpy()
        chunks.assign(**{llm: bpb}).to_csv(folder / f"{position:03}.csv", index=False)


def _merge_with_pandas(folder: Path) -> None:
    """What a script would do: merge on the chunk, average by page and domain, write CSV."""
    import pandas as pd

    keys = ["chunk_id", "page_id", "domain"]
    merged: pd.DataFrame | None = None
    for path in sorted(folder.glob("*.csv")):
        own = pd.read_csv(path)
        merged = own if merged is None else merged.merge(own, on=keys, how="inner")
    assert merged is not None
    merged = merged.dropna()
    merged.to_csv(folder / "by_chunk.csv", index=False)
    llms = [column for column in merged.columns if column not in keys]
    for level in ("page_id", "domain"):
        means = pd.DataFrame(merged.groupby(level)[llms].mean())
        means.to_csv(folder / f"by_{level}.csv")


def _measure(home: Path) -> dict[str, float]:
    wh = Warehouse(home)
    llms = [keys[0] for keys in wh.partitions("chunk_bpb")]
    start = time.perf_counter()
    assemble(wh, SAMPLE, llms, 0.05).write()
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"seconds": seconds, "peak_gib": peak}


if __name__ == "__main__":
    print(json.dumps(_measure(Path(sys.argv[1]))))
