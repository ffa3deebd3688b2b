"""What each method selects of the pool, with one budget of tokens.

Belongs here: the table from methods to ids of documents, with what luck and a rule by hand select
beside them, and keeping it. Does not belong here: methods themselves (`pcorr_assets.methods`), and
training on what they select (`proxies`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pcorr_assets.config import Settings
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.groups import groups_of
from pcorr_assets.filters.pools import list_shards
from pcorr_assets.methods.choosing import ScoredPool, scored_pool
from pcorr_assets.methods.table import METHODS, OWN
from pcorr_assets.steps.compared_selections import material_of, write_compared
from pcorr_assets.warehouse import Warehouse, connect
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.deal import read_part
from scripts.studies.real.items import of_target
from scripts.studies.real.settings import Target
from scripts.studies.real.texts import Document
from scripts.studies.real.world import POOL

RANDOM, BY_HAND = "random", "by_hand"
# The filter's selection of a pool that keeps near-duplicates.
NOT_DEDUPLICATED = "filter_not_deduplicated"
# Drawn anew for each seed. `by_hand` is no method: it is what one selects who knows of each text
# what it is, documents of the target as luck has them.
DRAWN = (RANDOM, BY_HAND)
ORDER = (*METHODS, NOT_DEDUPLICATED, BY_HAND)
_CHOSEN = """SELECT method, document_id FROM compared_documents WHERE pool = ? AND target = ?
ORDER BY method, shard, row"""
_LEFT_OUT = """SELECT method, reason FROM compared_selections
WHERE pool = ? AND target = ? AND reason IS NOT NULL"""


def selection_file(folder: Path, target: str) -> Path:
    """Where the selections for a target lie."""
    return folder / "selections" / f"{target}.json"


def select(
    folder: Path, wh: Warehouse, settings: Settings, target: Target, seeds: Sequence[int]
) -> None:
    """Write what each method selects, and what is drawn for each seed; what is there is kept.

    `chosen` has the ids by method, and those of the filter without deduplication; `random` and
    `by_hand` by seed; `left_out` why a method has none.

    Raises:
        PcorrError: the pool has too few documents for selections that could differ.
    """
    path, name = selection_file(folder, target.name), target.name
    found = _read(folder, name) if path.is_file() else _of_methods(wh, settings, name)
    for drawn in DRAWN:
        of_seed = found.setdefault(drawn, {})
        own = of_target(read_part(folder, "pool"), target) if drawn == BY_HAND else None
        for seed in seeds:
            if str(seed) not in of_seed:
                of_seed[str(seed)] = _at_random(wh, settings, name, seed, own)
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(found))


def read_selection(folder: Path, target: str, method: str, seed: int) -> list[str]:
    """Ids of the documents that a method selects for a target, with a seed."""
    found = _read(folder, target)
    return found[method][str(seed)] if method in DRAWN else found["chosen"][method]


def methods_of(folder: Path, target: str) -> list[str]:
    """The methods that have a selection for a target, in the order of the platform's table, and
    what is selected by hand."""
    found = _read(folder, target)
    return [name for name in ORDER if name in DRAWN or name in found["chosen"]]


def left_out(folder: Path, target: str) -> dict[str, str]:
    """The methods that have none, and why."""
    return _read(folder, target)["left_out"]


def _read(folder: Path, target: str) -> dict[str, Any]:
    return json.loads(selection_file(folder, target).read_text())


def _of_methods(wh: Warehouse, settings: Settings, target: str) -> dict[str, Any]:
    budget = settings.pools[POOL].token_budget or 0
    counts = [wh.read("pool_documents", key)["token_count"].to_numpy() for key in _groups(wh)]
    total = sum(int(own.sum()) for own in counts)
    if total < 2 * budget:
        raise PcorrError(
            f"the pool has {total:,} tokens, less than twice the budget of {budget:,}, so that "
            "selections could not differ much: fetch more packages or lower token_budget"
        )
    write_compared(wh, settings, POOL, target)
    found: dict[str, Any] = {"chosen": {}}
    with connect(wh.home) as connection:
        for method, document in connection.execute(_CHOSEN, [POOL, target]).fetchall():
            found["chosen"].setdefault(method, []).append(document)
        found["left_out"] = dict(connection.execute(_LEFT_OUT, [POOL, target]).fetchall())
    pool = _pool(wh, settings, target, near_duplicates=None)
    with material_of(wh, settings, POOL, target) as (material, _):
        chosen = pool.chosen(METHODS[OWN](material, pool.documents)).documents
    found["chosen"][NOT_DEDUPLICATED] = chosen["document_id"].to_pylist()
    return found


def _at_random(
    wh: Warehouse, settings: Settings, target: str, seed: int, only: Sequence[Document] | None
) -> list[str]:
    """Random documents of a seed: of `only`, or of all; others where these do not fill the
    budget."""
    pool = _pool(wh, settings, target)
    with material_of(wh, settings, POOL, target) as (material, _):
        scores = METHODS[RANDOM](replace(material, seed=seed), pool.documents)
    if only is not None:
        own = {one.text.encode() for one in only}
        scores[[text not in own for text in pool.documents.read()]] = -np.inf
    return pool.chosen(scores).documents["document_id"].to_pylist()


def _pool(wh: Warehouse, settings: Settings, target: str, **changed: object) -> ScoredPool:
    """The pool as it is configured, but for what is changed."""
    stated = settings.pools[POOL].model_copy(update=changed)
    decontaminate = settings.selection_for(target).decontaminate
    shards = list_shards(POOL, stated)
    return scored_pool(wh, POOL, stated, target, shards, _groups(wh), decontaminate)


def _groups(wh: Warehouse) -> list[str]:
    return groups_of(wh, POOL)
