"""Speed of filters: scoring against fastText's own predict, shards in parallel, selection.

Belongs here: synthetic pools and scores, each measurement in a process of its own (time
without the start of Python, peak memory of the process). Does not belong here: printing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pcorr_assets.config import FastText
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.warehouse import Warehouse

VOCABULARY = 50_000
SENTENCES = 20_000
WORDS_IN_A_SENTENCE = 10
SENTENCES_IN_A_DOCUMENT = 40
BYTES_IN_A_DOCUMENT = 2_700  # about
SHARDS = 10

# Not ru_maxrss, which a process inherits from the one that started it.
PEAK = """
def peak_mib():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
"""

SCORE = """
import json, sys, time
from pathlib import Path
from pcorr_assets.config import Pool
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
home, model_path, *paths = sys.argv[1:]
import fasttext, duckdb
start = time.perf_counter()
pool = Pool.model_validate({"sample": "s", "files": paths, "token_count_column": "tokens",
                            "token_budget": 1})
file = FilterFile(Path(model_path), sha256_file(Path(model_path)))
file.load()
loaded = time.perf_counter() - start
start = time.perf_counter()
warehouse = Warehouse(Path(home))
for key in refresh_groups(warehouse, "bench", pool).keys:
    score_group(warehouse, read_group(warehouse, key), pool, {"target": file})
print(json.dumps({"seconds": time.perf_counter() - start, "load": loaded,
                  "mib": peak_mib()}))
"""

PREDICT = """
import json, sys, time
import pyarrow.parquet as pq, fasttext
from pcorr_assets.filters.normalise import normalise
_, model_path, *paths = sys.argv[1:]
model = fasttext.load_model(model_path)
columns = [pq.read_table(path, columns=["text"])["text"] for path in paths]
texts = [normalise(text) for column in columns for text in column.to_pylist()]
start = time.perf_counter()
model.predict(texts, k=2)
print(json.dumps({"seconds": time.perf_counter() - start,
                  "mib": peak_mib()}))
"""

SELECT = """
import json, sys, time
from pathlib import Path
from pcorr_assets.config import Pool
from pcorr_assets.filters.selection import select_documents
from pcorr_assets.warehouse import Warehouse
home, ratio, memory, *groups = sys.argv[1:]
keys = [f"{group}.jsonl" for group in groups]
import duckdb, threading, os
from pcorr_assets.config import SelectionCompute
compute = SelectionCompute(threads=2, memory=memory)
scratch, done = [0], threading.Event()
def watch():
    while not done.wait(0.2):
        sizes = []
        for file in Path(home).glob(".selecting-*/**/*"):
            try:
                sizes.append(file.stat().st_blocks * 512)
            except FileNotFoundError:
                pass
        scratch[0] = max(scratch[0], sum(sizes))
watcher = threading.Thread(target=watch)
watcher.start()
pool = Pool.model_validate({"sample": "s", "files": ["/none.jsonl"], "keep_ratio": float(ratio)})
start = time.perf_counter()
warehouse = Warehouse(Path(home))
with select_documents(warehouse, "bench", pool, "target", keys, groups, compute) as selection:
    chosen = time.perf_counter() - start
    taken = sum(selection.documents(key).num_rows for key in keys)
    assert taken == selection.summary.document_count
    seconds = time.perf_counter() - start
done.set()
watcher.join()
print(json.dumps({"seconds": seconds, "chosen": chosen, "documents": taken,
                  "copies": selection.summary.duplicate_document_count,
                  "mib": peak_mib(), "scratch": scratch[0] / 2**20}))
"""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the data to a few seconds."""
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        rows = _scoring(Path(folder), (16 if quick else 1024) << 20, quick)
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as folder:
        return [*rows, *_selection(Path(folder), 200_000 if quick else 50_000_000)]


def _scoring(folder: Path, byte_count: int, quick: bool) -> list[dict[str, Any]]:
    sentences = _sentences()
    model = folder / "model.bin"
    _train(sentences, folder / "train.txt", model, bucket=100_000 if quick else 2_000_000)
    documents = byte_count // BYTES_IN_A_DOCUMENT // 2
    paths = [folder / f"{number}.parquet" for number in range(2)]
    size = sum(_write_pool(path, sentences, documents, seed) for seed, path in enumerate(paths))
    files = [str(path) for path in paths]
    other = _measure(PREDICT, str(folder), str(model), *files)
    ours = _measure(SCORE, str(folder / "home"), str(model), *files)
    both = [_start(SCORE, str(folder / "home"), str(model), file) for file in files]
    parallel = max(_finish(process)["seconds"] for process in both)
    gigabytes = size / 1e9
    return [
        {
            "name": f"scoring {gigabytes:.2f} GB, {2 * documents:,} documents",
            "ours_seconds": ours["seconds"],
            "other": "fasttext predict(list, k=2) on normalised texts in memory",
            "other_seconds": other["seconds"],
            "ratio": other["seconds"] / ours["seconds"],
            "note": (
                f"{size / ours['seconds'] / 1e6:.0f} MB/s from Parquet to scores, model loaded and "
                f"checked ({ours['load']:.1f} s) included; peak {ours['mib']:.0f} MiB against "
                f"{other['mib']:.0f}"
            ),
        },
        {
            "name": "two shards in parallel",
            "ours_seconds": parallel,
            "other": "one after the other in one process",
            "other_seconds": ours["seconds"],
            "ratio": ours["seconds"] / parallel,
            "note": "two processes, each loads the model",
        },
    ]


def _selection(folder: Path, document_count: int) -> list[dict[str, Any]]:
    keys = _write_scores(Warehouse(folder / "home"), document_count)
    rows = []
    for ratio in ("0.1", "0.5"):
        found = _measure(SELECT, str(folder / "home"), ratio, "2G", *keys)
        rows.append(
            {
                "name": f"selection of {float(ratio):.0%} of {document_count:,} documents",
                "ours_seconds": found["seconds"],
                "other": None,
                "other_seconds": None,
                "ratio": None,
                "note": (
                    f"{found['documents']:,} taken, {found['copies']:,} copies left out; "
                    f"peak {found['mib']:.0f} MiB, scratch {found['scratch']:.0f} MiB; 2 threads, "
                    f"of which {found['chosen']:.1f} s are choosing, the rest is naming them"
                ),
            }
        )
    return rows


def _start(code: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PEAK + code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> dict[str, float]:
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"the measured process ended with status {process.returncode}")
    return json.loads(output)


def _measure(code: str, *arguments: str) -> dict[str, float]:
    return _finish(_start(code, *arguments))


def _sentences() -> np.ndarray:
    """Sentences of random words; the first half of them uses words the second does not."""
    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = np.array(
        ["".join(generator.choice(letters, generator.integers(2, 9))) for _ in range(VOCABULARY)]
    )
    ranks = (generator.pareto(0.8, (SENTENCES, WORDS_IN_A_SENTENCE)) * 20).astype(np.int64)
    ranks %= VOCABULARY // 2
    ranks[SENTENCES // 2 :] += VOCABULARY // 2
    return np.array([" ".join(words[row]) + "\n" for row in ranks])


def _document(sentences: np.ndarray, generator: np.random.Generator, kind: int) -> str:
    start = kind * (len(sentences) // 2)
    chosen = generator.integers(start, start + len(sentences) // 2, SENTENCES_IN_A_DOCUMENT)
    mixed = generator.integers(0, len(sentences), SENTENCES_IN_A_DOCUMENT)
    use_mixed = generator.random(SENTENCES_IN_A_DOCUMENT) < 0.7
    return "".join(sentences[np.where(use_mixed, mixed, chosen)])


def _train(sentences: np.ndarray, corpus: Path, model: Path, bucket: int) -> None:
    generator = np.random.default_rng(1)
    with corpus.open("w") as file:
        for number in range(2_000):
            text = _document(sentences, generator, number % 2).replace("\n", " ")
            file.write(f"__label__{('include', 'exclude')[number % 2]} {text}\n")
    train_model(corpus, FastText(bucket=bucket, epoch=2), model)


def _write_pool(path: Path, sentences: np.ndarray, documents: int, seed: int) -> int:
    """Write a Parquet file of documents; returns the bytes of text in it."""
    generator = np.random.default_rng(seed + 2)
    schema = pa.schema([("id", pa.string()), ("text", pa.string()), ("tokens", pa.int64())])
    size = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for start in range(0, documents, 10_000):
            numbers = range(start, min(start + 10_000, documents))
            texts = [_document(sentences, generator, number % 2) for number in numbers]
            size += sum(map(len, texts))
            columns = [[str(n) for n in numbers], texts, [len(text) // 4 for text in texts]]
            writer.write_table(pa.table(columns, schema=schema))
    return size


def _write_scores(warehouse: Warehouse, document_count: int) -> list[str]:
    """Scores as a filter gives them, of which every fortieth document is a copy."""
    import duckdb

    keys = [f"bench/{number:04d}" for number in range(SHARDS)]
    each = document_count // SHARDS
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2; SET memory_limit = '2GB'")
        for number, key in enumerate(keys):
            path = warehouse.path("pool_scores", key, "target")
            path.parent.mkdir(parents=True, exist_ok=True)
            connection.execute(
                f"""COPY (
                    SELECT 'bench' AS pool, '{key}.jsonl' AS shard, 'target' AS target,
                           'document ' || i AS document_id,
                           1 / (1 + exp(12 - hash(content) % 1000003 / 40000.0)) AS score,
                           (100 + hash(content + 7) % 900)::BIGINT AS token_count,
                           (400 + hash(content + 7) % 3600)::BIGINT AS byte_count,
                           sha256(content::VARCHAR) AS content_sha256
                    FROM (SELECT i, CASE WHEN i % 40 = 0 THEN i // 2 ELSE i END AS content
                          FROM range({number * each}, {(number + 1) * each}) AS numbers(i))
                ) TO '{path}' (FORMAT parquet, COMPRESSION zstd,
                    KV_METADATA {{filter_sha256: 'bench', token_source: 'column tokens',
                                  shards: '[["{key}.jsonl", {each}]]'}})"""
            )
    return keys
