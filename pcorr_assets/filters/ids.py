"""Ids of documents, unique within a shard.

Belongs here: making them so. Does not belong here: reading documents (`pools`).
"""

from __future__ import annotations

from collections.abc import Iterable

from pcorr_assets.filters.pools import Shard


class UniqueIds:
    """Ids that are unique within a shard, remembering 64 bits of each.

    `first_row` and `earlier` are those of a shard that is gone on with: the number of rows
    that are finished, and the ids that they got.
    """

    def __init__(self, shard: Shard, first_row: int = 0, earlier: Iterable[str] = ()) -> None:
        self._prefix = shard.slug
        self._row = first_row
        self._seen = {hash(name) for name in earlier}
        self._copies: dict[str, int] = {}

    def unique(self, name: str | None) -> tuple[str, bool]:
        """The id of the next row, and whether it had to be changed because it came before."""
        row, self._row = self._row, self._row + 1
        if name is None:
            name = f"{self._prefix}:{row}"
        if (code := hash(name)) not in self._seen:
            self._seen.add(code)
            return name, False
        copy = self._copies.get(name, 1) + 1
        while (code := hash(candidate := f"{name}#{copy}")) in self._seen:
            copy += 1
        self._seen.add(code)
        self._copies[name] = copy
        return candidate, True
