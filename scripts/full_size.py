"""Pools at the sizes that the docs speak of: figures, on a machine with nothing else to do.

    .venv/bin/python scripts/full_size.py kills      # kill -9, thirty times, in one file of 1 GB
    .venv/bin/python scripts/full_size.py selection  # a tenth of 200 million scored documents
    .venv/bin/python scripts/full_size.py pass       # 1 GB for 8 targets: one pass, two processes
    .venv/bin/python scripts/full_size.py api        # 3,000 files for 8 targets, by the UI's API
    ... --small                                      # the same in a minute, to see that it runs

Belongs here: what takes too long, or too much disk, for `make bench`. Does not belong here: what
`make bench` measures (`scripts/benchmarks`), from which the worlds come.
"""

from __future__ import annotations

import argparse
import importlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROJECT = Path(__file__).parents[1]
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent / "benchmarks")]

from pcorr_assets.warehouse.files import sha256_file  # noqa: E402

filters, pools, pool_api = map(importlib.import_module, ("filters", "pools", "pool_api"))

SCORE = """
import sys
from pathlib import Path
from pcorr_assets.config import Pool
from pcorr_assets.filters.groups import read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.scoring import Options, score_group
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
home, file, model, tokenizer, seconds = sys.argv[1:]
pool = Pool.model_validate({"sample": "s", "files": [file], "keep_ratio": 0.5})
filters = {"target": FilterFile(Path(model), sha256_file(Path(model)))}
warehouse = Warehouse(Path(home))
keys = refresh_groups(warehouse, "crawl", pool).keys
print("at work", flush=True)
for key in keys:
    score_group(warehouse, read_group(warehouse, key), pool, filters, tokenizer=tokenizer,
                options=Options(seconds_per_part=float(seconds)))
"""


def kills(folder: Path, small: bool) -> Iterator[str]:
    """Kill a pass over one file at seeded moments; what comes out must be what always comes."""
    count, seconds = (1, 0.1) if small else (30, 30.0)
    longest = 3 * seconds
    sentences = filters._sentences()
    model, file = folder / "model.bin", folder / "one.parquet"
    filters._train(sentences, folder / "train.txt", model, bucket=10_000 if small else 2_000_000)
    pools._save_tokenizer(folder / "tokenizer", sentences)
    size = (4 << 20) if small else (1 << 30)
    written = filters._write_pool(file, sentences, size // filters.BYTES_IN_A_DOCUMENT, 0)

    def start(home: Path) -> subprocess.Popen[bytes]:
        arguments = [home, file, model, folder / "tokenizer", seconds]
        process = subprocess.Popen(
            [sys.executable, "-c", SCORE, *map(str, arguments)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        return process

    began = time.monotonic()
    if start(folder / "whole").wait():
        raise RuntimeError("the undisturbed pass failed")
    undisturbed, expected = time.monotonic() - began, _tables(folder / "whole")
    yield f"one file, {written / 1e9:.2f} GB of text, undisturbed: {undisturbed:.0f} s"
    moments, home, lost, rounds = random.Random(0), folder / "killed", [], 0
    while len(lost) < count or home.exists():
        process, born = start(home), time.time()
        # At last it is left alone, so that what was begun is compared as well.
        alone = len(lost) >= count
        try:
            process.wait(None if alone else moments.uniform(0.3, 1.0) * longest)
        except subprocess.TimeoutExpired:
            newest = [path.stat().st_mtime for path in home.glob("pool_parts/*/part-*")]
            process.kill()
            process.wait()
            lost.append(time.time() - max([born, *newest]))
            continue
        if process.returncode or _tables(home) != expected:
            raise RuntimeError(f"after {len(lost)} kills the tables are not those expected")
        shutil.rmtree(home)
        rounds += 1
    yield (
        f"{len(lost)} kills in {rounds} passes, each equal to the undisturbed one; lost at a kill: "
        f"{sum(lost) / len(lost):.1f} s on average, at most {max(lost):.1f} s"
    )


def _tables(home: Path) -> dict[str, str]:
    root = home / "warehouse"
    tables = ("pool_documents", "pool_scores")
    found = [path for name in tables for path in (root / name).rglob("*.parquet")]
    return {
        path.relative_to(root).as_posix(): sha256_file(path)
        for path in found
        if path.is_file() and not path.name.startswith("_")
    }


def selection(folder: Path, small: bool) -> Iterator[str]:
    """Choose a tenth of scored documents, with 2 threads and 2 GB."""
    for row in filters._selection(folder, 200_000 if small else 200_000_000):
        yield f"{row['name']}: {row['ours_seconds']:.0f} s; {row['note']}"


def passes(folder: Path, small: bool) -> Iterator[str]:
    """One pass for all targets against one for each; two processes; a target more."""
    for row in pools.run(quick=small):
        yield (
            f"{row['name']}: {row['ours_seconds']:.1f} s; {row['other']}: "
            f"{row['other_seconds']:.1f} s, {row['ratio']:.1f} x; {row['note']}"
        )


WHAT: dict[str, Callable[[Path, bool], Iterator[str]]] = {
    "kills": kills,
    "selection": selection,
    "pass": passes,
    "api": pool_api.run,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=[*WHAT])
    parser.add_argument("--small", action="store_true", help="a minute, to see that it runs")
    parser.add_argument("--folder", type=Path, help="where the data lie meanwhile")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pcorr-full-", dir=options.folder) as name:
        for line in WHAT[options.what](Path(name), options.small):
            print(line, flush=True)


if __name__ == "__main__":
    main()
