"""A pool for several targets: one pass against a pass for each, workers, a target more.

Belongs here: the old way, which read and tokenised a file once for each target, kept here to be
measured against; each measurement in a process of its own (CPU and wall time without the start
of Python, peak memory). Does not belong here: printing.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from filters import BYTES_IN_A_DOCUMENT, _measure, _sentences, _train, _write_pool

TARGETS = 8
FILES = 8
BY_TWO = "the same by two processes"

START = """
import json, os, resource, sys, time
from pathlib import Path
home, tokenizer, models, files, *options = sys.argv[1:]
os.environ["TOKENIZERS_PARALLELISM"] = "false"
from pcorr_assets.config import Pool
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
import fasttext, duckdb, transformers
pool = Pool.model_validate({"sample": "s", "files": [files], "keep_ratio": 0.5})
filters = {p.stem: FilterFile(p, sha256_file(p)) for p in sorted(Path(models).glob("*.bin"))}
warehouse = Warehouse(Path(home))

def cpu_seconds():
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, of_children = map(resource.getrusage, whose)
    return own.ru_utime + own.ru_stime + of_children.ru_utime + of_children.ru_stime

before, start = cpu_seconds(), time.perf_counter()

def report(**more):
    print(json.dumps({"seconds": time.perf_counter() - start, "cpu": cpu_seconds() - before,
                      "mib": peak_mib(), **more}))
"""

ONE_PASS = (
    START
    + """
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.scoring import Options, score_group
workers, count = map(int, options)
chosen = dict(list(filters.items())[:count])
counted = []
for key in refresh_groups(warehouse, "bench", pool).keys:
    scored = score_group(warehouse, read_group(warehouse, key), pool, chosen, tokenizer=tokenizer,
                         options=Options(workers=workers))
    counted += scored.counted
report(counted=len(counted))
"""
)

# As it was: a run for each file and target, which reads, hashes and tokenises the texts.
EACH_TARGET = (
    START
    + """
import pyarrow as pa
from pcorr_assets.filters.normalise import normalise_utf8
from pcorr_assets.filters.pools import iter_documents, list_shards
from pcorr_assets.filters.tokens import token_counter, token_counts
from pcorr_assets.warehouse.parquet_files import write_parquet
for target, file in filters.items():
    for shard in list_shards("bench", pool):
        model, counter, rows = file.load(), token_counter(pool, tokenizer), []
        for documents in iter_documents(shard, pool):
            scores = model.score([normalise_utf8(d.utf8) for d in documents])
            rows.append(pa.table({
                "document_id": [d.id for d in documents], "score": scores,
                "token_count": token_counts(documents, counter),
                "byte_count": [len(d.utf8) for d in documents],
                "content_sha256": [d.content_sha256 for d in documents]}))
        path = Path(home) / f"{shard.slug}-{target}.parquet"
        path.parent.mkdir(exist_ok=True)
        write_parquet(path, pa.concat_tables(rows))
report()
"""
)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the data to a few seconds."""
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as name:
        folder = Path(name)
        size = _prepare(folder, (2 if quick else 1024) << 20, 10_000 if quick else 2_000_000)
        common = [str(folder / "tokenizer"), str(folder / "models"), str(folder / "pool/*.parquet")]
        old = _measure(EACH_TARGET, str(folder / "old"), *common)
        one = _measure(ONE_PASS, str(folder / "one"), *common, "1", str(TARGETS))
        two = _measure(ONE_PASS, str(folder / "two"), *common, "2", str(TARGETS))
        _measure(ONE_PASS, str(folder / "more"), *common, "1", str(TARGETS - 1))
        more = _measure(ONE_PASS, str(folder / "more"), *common, "1", str(TARGETS))
    rows = [
        {
            "name": f"a pool of {size / 1e9:.2f} GB for {TARGETS} targets, one pass",
            "ours_seconds": one["seconds"],
            "other": "a pass for each target and file",
            "other_seconds": old["seconds"],
            "ratio": old["seconds"] / one["seconds"],
            "note": (
                f"CPU {one['cpu']:.1f} s against {old['cpu']:.1f} s, "
                f"{old['cpu'] / one['cpu']:.1f} times less; peak {one['mib']:.0f} MiB"
            ),
        },
        {
            "name": BY_TWO,
            "ours_seconds": two["seconds"],
            "other": "by one",
            "other_seconds": one["seconds"],
            "ratio": one["seconds"] / two["seconds"],
            "note": f"CPU {two['cpu']:.1f} s; start of the processes and loading included",
        },
        {
            "name": "a target more",
            "ours_seconds": more["seconds"],
            "other": "all of them anew",
            "other_seconds": one["seconds"],
            "ratio": one["seconds"] / more["seconds"],
            "note": f"{more['counted']:.0f} tokenizers were at work, against {one['counted']:.0f}",
        },
    ]
    # A pool of a few megabytes is read by one process, however many there may be.
    return [row for row in rows if not (quick and row["name"] == BY_TWO)]


def _prepare(folder: Path, byte_count: int, bucket: int) -> int:
    """A pool, filters and a tokenizer of its words; returns the bytes of text."""
    sentences = _sentences()
    for name in ("models", "pool"):
        (folder / name).mkdir()
    _train(sentences, folder / "train.txt", folder / "models/0.bin", bucket=bucket)
    model = (folder / "models/0.bin").read_bytes()
    for number in range(1, TARGETS):
        (folder / f"models/{number}.bin").write_bytes(model)
    _save_tokenizer(folder / "tokenizer", sentences)
    documents = byte_count // BYTES_IN_A_DOCUMENT // FILES
    paths = [folder / f"pool/{number}.parquet" for number in range(FILES)]
    return sum(_write_pool(path, sentences, documents, seed) for seed, path in enumerate(paths))


def _save_tokenizer(folder: Path, sentences: np.ndarray) -> None:
    """A byte-level BPE tokenizer, as LLMs have them."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    inner = ByteLevelBPETokenizer()
    inner.train_from_iterator(sentences[:5_000].tolist(), vocab_size=8_000, show_progress=False)
    PreTrainedTokenizerFast(tokenizer_object=inner._tokenizer).save_pretrained(folder)
