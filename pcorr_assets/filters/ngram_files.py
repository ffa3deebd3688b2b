"""The n-grams that the documents of a pool are searched for, as the warehouse has them.

Belongs here: reading `benchmark_ngrams` for a pass, naming what was searched for, and what was
found as columns. Does not belong here: making them (`steps`) and the search (`clean.ngrams`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from pcorr_assets.clean.ngrams import Found, Ngrams, NgramSet
from pcorr_assets.clean.words import plain
from pcorr_assets.warehouse import Warehouse

TABLE = "benchmark_ngrams"
# The note beside n-grams of the setting that they were made under: with `off` there are none.
DECONTAMINATE = "decontaminate"
# The note beside scores of what their documents were searched for.
SEARCHED = "searched_for"


@dataclass(frozen=True)
class NgramFile:
    """The n-grams of a target, by the content hash of their table."""

    home: Path
    target: str
    sha256: str

    def load(self) -> NgramSet:
        """All of them, in memory; raises DamagedFileError."""
        wh = Warehouse(self.home, with_database=False)
        rows = wh.read(TABLE, self.target)
        names = pc.call_function("unique", [rows["benchmark"]]).to_pylist()
        found = {}
        for name in sorted(names):
            own = rows.filter(pc.call_function("equal", [rows["benchmark"], name]))
            found[name] = Ngrams(
                own["item"].to_pylist(),
                own["word_count"].to_numpy(),
                own["anchor_hash"].to_numpy().view(np.uint64),
                own["ngram_hash"].to_numpy().view(np.uint64),
            )
        return NgramSet(int(wh.metadata(TABLE, self.target)["ngram_words"]), found)


def made_to_search(warehouse: Warehouse, target: str) -> bool:
    """Was the table of a target made, and made while its benchmarks were to be searched for?"""
    if not warehouse.exists(TABLE, target):
        return False
    return warehouse.metadata(TABLE, target).get(DECONTAMINATE) != "off"


def find_ngrams(warehouse: Warehouse, target: str) -> NgramFile | None:
    """What documents are searched for, for a target; None: there is nothing to search for."""
    if not warehouse.exists(TABLE, target) or not warehouse.row_count(TABLE, target):
        return None
    return NgramFile(warehouse.home, target, warehouse.written(TABLE, target).sha256)


def held_columns(
    texts: Sequence[str], found: Found, ngrams: NgramSet
) -> tuple[list[str], list[str | None]]:
    """Of each text the benchmarks that it holds text of, and words that it has in common.

    Benchmarks are joined with commas, and empty for none; the words are the first in a row that
    stand in an item of the first of these benchmarks, in lower case.
    """
    names: dict[int, dict[str, str]] = {}
    for hit in found.named(ngrams):
        words = plain(texts[hit.text])[hit.start : hit.stop]
        names.setdefault(hit.text, {})[hit.benchmark] = words
    benchmarks = [""] * len(texts)
    shared: list[str | None] = [None] * len(texts)
    for text, held in names.items():
        benchmarks[text], shared[text] = ",".join(sorted(held)), held[min(held)]
    return benchmarks, shared
