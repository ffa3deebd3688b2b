"""What each method selects of the pool, with one budget of tokens.

Belongs here: the table from methods to ids of documents, and keeping it. Does not belong here:
methods themselves, and training on what they select (`proxies`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pcorr_assets.demo.comparison import take_tokens
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import connect
from pcorr_assets.warehouse.files import write_text
from scripts.studies.real.world import POOL

FILTER, RANDOM = "filter", "random"
# What holds text of a benchmark is left out for every method, as the platform does.
_SCORES = """SELECT document_id, score, token_count FROM pool_scores
WHERE pool = ? AND target = ? AND token_count > 0 AND coalesce(contaminated_by, '') = ''"""


@dataclass(frozen=True)
class Candidates:
    """The documents that may be selected for a target: score of the filter, and tokens, by id."""

    scores: dict[str, float]
    tokens: dict[str, int]


Order = Callable[[Candidates, int], list[str]]


def by_score(candidates: Candidates, seed: int) -> list[str]:
    """The platform's filter: the best first, ties by id."""
    return sorted(candidates.scores, key=lambda key: (-candidates.scores[key], key))


def at_random(candidates: Candidates, seed: int) -> list[str]:
    """A seeded order."""
    return Random(f"{seed}/random").sample(sorted(candidates.scores), len(candidates.scores))


# In this order they stand on the page. Which of them are drawn anew for each seed: DRAWN.
METHODS: dict[str, Order] = {FILTER: by_score, RANDOM: at_random}
DRAWN = frozenset({RANDOM})


def selection_file(folder: Path, target: str) -> Path:
    """Where the selections for a target lie."""
    return folder / "selections" / f"{target}.json"


def select(folder: Path, home: Path, target: str, budget: int, seeds: Sequence[int]) -> None:
    """Write what each method selects for each seed, unless that is there.

    Raises:
        PcorrError: the pool has too few documents for two selections that could differ.
    """
    path = selection_file(folder, target)
    arms = json.loads(path.read_text()) if path.is_file() else {}
    missing = {
        (method, seed): order
        for method, order in METHODS.items()
        for seed in (seeds if method in DRAWN else seeds[:1])
        if str(seed) not in arms.get(method, {})
    }
    if not missing:
        return
    with connect(home) as connection:
        rows = connection.execute(_SCORES, [POOL, target]).fetchall()
    candidates = Candidates({row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows})
    total = sum(candidates.tokens.values())
    if total < 2 * budget:
        raise PcorrError(
            f"target {target}: the pool has {total:,} tokens, less than twice the budget of "
            f"{budget:,}; fetch more packages or lower token_budget"
        )
    for (method, seed), order in missing.items():
        chosen = take_tokens(order(candidates, seed), candidates.tokens, budget)
        arms.setdefault(method, {})[str(seed)] = chosen
    path.parent.mkdir(exist_ok=True)
    write_text(path, json.dumps(arms))


def read_selection(folder: Path, target: str, method: str, seed: int) -> list[str]:
    """Ids of the documents that a method selects for a target, with a seed."""
    of_seed = json.loads(selection_file(folder, target).read_text())[method]
    return of_seed[str(seed)] if method in DRAWN else next(iter(of_seed.values()))


def methods_of(folder: Path, target: str) -> list[str]:
    """The methods that have a selection for a target."""
    return list(json.loads(selection_file(folder, target).read_text()))
