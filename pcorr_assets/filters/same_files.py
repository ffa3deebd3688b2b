"""Files of a pool that only look changed: copied, cloned or touched, with the same content.

Belongs here: noting what files of a pool hold, and recognising them by it. Does not belong
here: which files a pool has (`pools`), and their groups (`groups`).

A file of a pool is known by its size and the time of its change, for a pool has a million of
them. Of a pool of up to 10,000 files it is noted as well what they hold (1 MiB of each at most,
spread over it), so that a project that was copied without its times is not scored anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from pcorr_assets.config.keys import to_slug
from pcorr_assets.errors import DamagedFileError
from pcorr_assets.filters.pools import Shard, file_version
from pcorr_assets.progress import Progress
from pcorr_assets.storage.contents import Contents
from pcorr_assets.warehouse.json_files import read_json, write_json

MOST_FILES = 10_000
BLOCK_BYTES = 16 << 10
# A listing may be cut off by whoever called it; the next one goes on from here.
FILES_AT_ONCE = 500


class SameFiles:
    """What is noted of the files of a pool: by shard its version, and what it held then."""

    def __init__(self, home: Path, pool: str) -> None:
        folder = home / "cache" / "pool_contents"
        self._path = folder / f"{to_slug(pool)}.json"
        self._contents = Contents(folder / f"{to_slug(pool)}.looked_at.json", BLOCK_BYTES)
        self._noted: dict[str, list[str]] = {}
        # Without the file, or if it is damaged, what only looks changed counts as changed.
        with suppress(OSError, DamagedFileError):
            self._noted = read_json(self._path)

    def recognise(self, shards: Sequence[Shard], listed: Mapping[str, str]) -> list[Shard]:
        """The same shards; one that holds what it held has the version it was listed with."""
        found = []
        for shard in shards:
            before, path = listed.get(shard.key), shard.path
            if before not in (None, shard.version) and isinstance(path, Path):
                shard = replace(shard, version=self.version_of(path, shard.key, before))
            found.append(shard)
        self._contents.save()
        return found

    def note(self, shards: Sequence[Shard]) -> None:
        """Look at the files that are new or changed; not at objects of stores, nor at datasets."""
        if len(shards) > MOST_FILES:
            return
        new = [
            (shard, shard.path)
            for shard in shards
            if isinstance(shard.path, Path) and self._noted.get(shard.key, [""])[0] != shard.version
        ]
        with Progress("look at files of the pool", total=len(new), unit="files") as progress:
            for number, (shard, path) in enumerate(new, 1):
                self._noted[shard.key] = [shard.version, self._contents.of_file(path)]
                progress.update()
                if number % FILES_AT_ONCE == 0 or number == len(new):
                    write_json(self._path, self._noted, indent=None)

    def version_of(self, path: Path, shard: str, listed: str) -> str:
        """The version that a file was listed with if it holds the same, else that of today.

        Raises FileNotFoundError if it is not there.
        """
        size, version = file_version(path)
        if version == listed or not listed.startswith(f"{size}:"):
            return version
        noted = self._noted.get(shard, ["", ""])
        same = noted[0] == listed and noted[1] == self._contents.of_file(path)
        return listed if same else version
