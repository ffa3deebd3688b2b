"""A pool in an object store against the same pool on a disk, by hand: where no test has a server.

    AZURE_STORAGE_CONNECTION_STRING=... python scripts/try_store.py az://container/folder
    python scripts/try_store.py gs://bucket/folder --endpoint http://127.0.0.1:9023 --anonymous

It writes four small files below the URL, scores and selects from them, uploads the selection
beside them, and says whether all of it equals the local run, byte for byte. Then it says what
comes of names that are not there. What it wrote stays there.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

from pcorr_assets.config import FastText, Pool, Storage
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.filters.groups import groups_of, read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.filters.scoring import score_group
from pcorr_assets.filters.writing import write_selected
from pcorr_assets.storage.filesystems import filesystem_of
from pcorr_assets.storage.writing import put_file
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file

ROWS = 200
NAMES = [
    f"{folder}/part {number} ä+%20#.jsonl.gz" for folder in ("one", "two") for number in (0, 1)
]


def write_pool(folder: Path) -> None:
    """Four files with a name of their own kind, and copies in them."""
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = (
            {
                "id": f"{name}-{row}",
                "text": f"mast {row} rook {number}\n" * (row % 7),
                "tokens": row,
            }
            for row in range(ROWS)
        )
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(gzip.compress(lines.encode(), mtime=0))


def train(folder: Path) -> FilterFile:
    """A filter that tells two words apart."""
    lines = (f"__label__include mast {n}\n__label__exclude rook {n}\n" for n in range(300))
    (folder / "train.txt").write_text("".join(lines))
    train_model(folder / "train.txt", FastText(bucket=1000, epoch=2), folder / "model.bin")
    return FilterFile(folder / "model.bin", sha256_file(folder / "model.bin"))


def select(pool: Pool, home: Path, model: FilterFile) -> dict[str, bytes]:
    """The files of a selection but its manifest."""
    warehouse, filters = Warehouse(home), {"target": model}
    for key in refresh_groups(warehouse, "crawl", pool).keys:
        score_group(warehouse, read_group(warehouse, key, pool.storage), pool, filters)
    shards, groups = list_shards("crawl", pool), groups_of(warehouse, "crawl")
    selected = write_selected(warehouse, "crawl", pool, "target", shards, groups)
    paths = (path for path in selected.folder.iterdir() if path.name != "manifest.json")
    return {path.name: path.read_bytes() for path in paths}


def uploaded(url: str, options: Storage) -> dict[str, bytes]:
    """What lies below a URL, but the manifest."""
    system, path = filesystem_of(url, options)
    found = {name.rpartition("/")[2]: system.cat_file(name) for name in system.find(path)}
    found.pop("manifest.json")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("url")
    parser.add_argument("--endpoint")
    parser.add_argument("--account")
    parser.add_argument("--anonymous", action="store_true")
    given = parser.parse_args()
    url = given.url.rstrip("/")
    stated = {
        name: getattr(given, name) for name in ("endpoint", "account") if getattr(given, name)
    }
    options = Storage.model_validate({**stated, "anonymous": given.anonymous})
    common: dict[str, Any] = {"sample": "s", "token_count_column": "tokens", "keep_ratio": 0.4}
    common["format"] = "jsonl.zst"

    def there(files: str) -> Pool:
        storage = options.model_dump(exclude_unset=True)
        places = {"files": [files], "output": f"{url}/selected", "storage": storage}
        return Pool.model_validate({**common, **places})

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pool(folder / "pool")
        for file in NAMES:
            put_file(folder / "pool" / file, f"{url}/pool/{file}", options)
        model = train(folder)
        local = Pool.model_validate({**common, "files": [f"{folder}/pool/**/*.jsonl.gz"]})
        expected = select(local, folder / "local", model)
        found = select(there(f"{url}/pool/**/*.jsonl.gz"), folder / "remote", model)
        print(f"selection equals the local one: {found == expected}")
        arrived = uploaded(f"{url}/selected/crawl/target", options)
        files = {name: data for name, data in expected.items() if name.endswith(".zst")}
        print(f"upload equals the local one: {arrived == files}")
        for number, pattern in enumerate(("nothing/x.jsonl.gz", "nothing/*.jsonl.gz")):
            try:
                select(there(f"{url}/{pattern}"), folder / f"bad-{number}", model)
            except PcorrError as error:
                print(f"{pattern}: {error}")


if __name__ == "__main__":
    main()
