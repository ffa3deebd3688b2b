"""What it costs a pass to search documents for text of benchmarks.

Belongs here: passes with and without the search, with tokens counted and from a column, each in
a process of its own. Does not belong here: printing.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from filters import BYTES_IN_A_DOCUMENT, _measure, _sentences, _train, _write_pool
from pools import _save_tokenizer

# As many as the largest benchmarks have; about a third of a million n-grams.
ITEMS, WORDS = 10_000, 45

PASS = """
import json, sys, time
from pathlib import Path
from pcorr_assets.clean.ngrams import Item
from pcorr_assets.config import Pool, settings_from
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.ngram_files import find_ngrams
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.steps.benchmark_ngrams import write_ngrams
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
import fasttext, duckdb, transformers
home, model, items, settings, tokenizer, *paths = sys.argv[1:]
pool = Pool.model_validate({"sample": "s", "files": paths, "token_budget": 1,
                            **json.loads(settings)})
file = FilterFile(Path(model), sha256_file(Path(model)))
warehouse = Warehouse(Path(home))
ngrams, count = {}, 0
if items:
    texts = json.loads(Path(items).read_text())
    found = settings_from({"home": home, "benchmarks": {"quiz": {"metric": "acc"}},
                           "targets": {"target": {"benchmarks": ["quiz"]}}}, folder=Path(home))
    write_ngrams(warehouse, found, "target",
                 lambda *_: [Item(str(i), (text,)) for i, text in enumerate(texts)])
    ngrams, count = {"target": find_ngrams(warehouse, "target")}, warehouse.row_count(
        "benchmark_ngrams", "target")
start, cpu = time.perf_counter(), time.process_time()
for key in refresh_groups(warehouse, "bench", pool).keys:
    score_group(warehouse, read_group(warehouse, key), pool, {"target": file},
                tokenizer=tokenizer, ngrams=ngrams)
print(json.dumps({"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu,
                  "mib": peak_mib(), "ngrams": count}))
"""
SETTINGS = {
    "tokens counted": {},
    "tokens from a column": {"token_count_column": "tokens"},
}


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows for the table of benchmarks; `quick` shrinks the data to a few seconds."""
    with tempfile.TemporaryDirectory(prefix="pcorr-bench-") as name:
        folder = Path(name)
        sentences = _sentences()
        _train(sentences, folder / "t.txt", folder / "m.bin", bucket=10_000 if quick else 2_000_000)
        _save_tokenizer(folder / "tokenizer", sentences)
        documents = ((2 if quick else 64) << 20) // BYTES_IN_A_DOCUMENT
        size = _write_pool(folder / "pool.parquet", sentences, documents, 0)
        # Items of as many words as questions have, of the same words, that no document holds.
        words = sorted(set(" ".join(sentences[::100].tolist()).split()))
        drawn = np.random.default_rng(1).choice(words, (100 if quick else ITEMS, WORDS))
        texts = [" ".join(row) for row in drawn]
        (folder / "items.json").write_text(json.dumps(texts))
        return [
            _row(folder, kind, json.dumps(settings), size, documents)
            for kind, settings in SETTINGS.items()
        ]


def _row(folder: Path, kind: str, settings: str, size: int, documents: int) -> dict[str, Any]:
    found = {
        items: _measure(
            PASS,
            str(folder / f"{kind} {bool(items)}"),
            str(folder / "m.bin"),
            items,
            settings,
            str(folder / "tokenizer"),
            str(folder / "pool.parquet"),
        )
        for items in ("", str(folder / "items.json"))
    }
    without, with_search = found.values()
    more = with_search["cpu"] - without["cpu"]
    return {
        "name": f"a pass that searches for benchmarks, {size / 1e9:.2f} GB, {kind}",
        "ours_seconds": with_search["seconds"],
        "other": "without the search",
        "other_seconds": without["seconds"],
        "ratio": without["seconds"] / with_search["seconds"],
        "note": (
            f"CPU {with_search['cpu']:.1f} s against {without['cpu']:.1f} s, "
            f"{more / without['cpu']:.0%} more, {more / documents * 1e6:.0f} microseconds a "
            f"document; {with_search['ngrams']:,.0f} n-grams; peak {with_search['mib']:.0f} MiB "
            f"against {without['mib']:.0f}"
        ),
    }
