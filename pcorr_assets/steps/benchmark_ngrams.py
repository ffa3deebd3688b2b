"""Rows of `benchmark_ngrams`: what documents are searched for, for one target.

Belongs here: which benchmarks a target is searched for, and their n-grams as rows. Does not
belong here: items of tasks (`lm.benchmark_items`) and n-grams themselves (`clean.ngrams`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from pcorr_assets.clean.ngrams import Item, Ngrams, ngrams_of
from pcorr_assets.config import Benchmark, Settings
from pcorr_assets.filters.ngram_files import DECONTAMINATE, TABLE
from pcorr_assets.warehouse import TABLES, Warehouse, WrittenPartition

WORDS, COUNTS = "ngram_words", "counts"

ReadItems = Callable[[str, Benchmark], list[Item]]


@dataclass
class TargetNgrams:
    """The written partition, and of each benchmark what is searched.

    `counts`: items, those too short to be searched, n-grams, and those left out for standing in
    too many items. `without_task`: benchmarks of an imported matrix that have no task here.
    """

    written: WrittenPartition
    counts: dict[str, dict[str, int]] = field(default_factory=dict)
    without_task: list[str] = field(default_factory=list)
    is_off: bool = False


def write_ngrams(
    warehouse: Warehouse, settings: Settings, target: str, read_items: ReadItems | None = None
) -> TargetNgrams:
    """Write the n-grams of the items of a target's benchmarks; none with `decontaminate: off`.

    A target that combines others has the benchmarks of all of them.

    Raises:
        PcorrError: a task cannot be loaded.
    """
    selection = settings.selection_for(target)
    names = settings.benchmarks_of(target)
    found: dict[str, Ngrams] = {}
    is_off = selection.decontaminate == "off"
    for name in names:
        if name in settings.benchmarks and not is_off:
            items = (read_items or _read)(name, local_tasks(settings, name))
            found[name] = ngrams_of(items, selection.ngram_words)
    counts = {
        name: {
            "items": one.item_count,
            "too short": one.too_short,
            "n-grams": one.words.size,
            "in too many items": one.common,
        }
        for name, one in found.items()
    }
    noted = {
        WORDS: str(selection.ngram_words),
        COUNTS: json.dumps(counts),
        DECONTAMINATE: selection.decontaminate,
    }
    with warehouse.writer(TABLE, (target,)) as writer:
        for name, one in found.items():
            writer.write(_rows(target, name, one))
        writer.metadata.update(noted)
    without = [name for name in names if name not in settings.benchmarks]
    return TargetNgrams(writer.written, counts, without, is_off)


def _read(name: str, benchmark: Benchmark) -> list[Item]:
    from pcorr_assets.lm.benchmark_items import read_items

    return read_items(name, benchmark)


def local_tasks(settings: Settings, name: str) -> Benchmark:
    """A benchmark with its folder of tasks on this machine; raises PcorrError."""
    from pcorr_assets.lm.task_folders import CACHE, usable_tasks

    return usable_tasks(name, settings.benchmarks[name], settings.home / CACHE)


def _rows(target: str, benchmark: str, ngrams: Ngrams) -> pa.Table:
    size = ngrams.words.size
    columns = {
        "target": pa.repeat(target, size),
        "benchmark": pa.repeat(benchmark, size),
        "item": pa.array(ngrams.items, pa.string()),
        "word_count": pa.array(ngrams.words),
        # The same 64 bits, as numbers with a sign.
        "anchor_hash": pa.array(ngrams.anchors.view(np.int64)),
        "ngram_hash": pa.array(ngrams.hashes.view(np.int64)),
    }
    return pa.table(columns, schema=TABLES[TABLE].schema)
