"""Benchmarks of a target: items of held-out text, as tasks that lm-eval reads.

Belongs here: making items of documents. Does not belong here: the form of tasks
(`pcorr_assets.demo.tasks`), and running them.

Both tasks show a passage and ask what comes next: of four next words (the other three are about as
frequent), or of four orders of the next few words (three are shuffled), which tells an LLM that
knows the language or kind of text from one that does not. Training items are of other domains than
the items that are scored.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random

from pcorr_assets.demo.tasks import CHOICE_COUNT, Item, write_choice_task
from pcorr_assets.errors import PcorrError
from scripts.studies.real.settings import StudySettings, Target
from scripts.studies.real.texts import Document

CONTEXT_WORDS = 24
ORDER_WORDS = 6
# A next word is asked for if it has letters enough to tell something.
_WORD = re.compile(r"[^\W\d_]{3,}")
NEAR_IN_FREQUENCY = 20


def task_names(target: str) -> tuple[str, str]:
    """The names of a target's benchmarks."""
    return f"{target}_word", f"{target}_order"


def of_target(documents: Sequence[Document], target: Target) -> list[Document]:
    """The documents that belong to a target."""
    return [one for one in documents if target.has(one.language, one.kind)]


def write_tasks(
    folder: Path, settings: StudySettings, held_out: Sequence[Document], zoo: Sequence[Document]
) -> None:
    """Write both benchmarks of each target: items of held-out documents, and training items of
    what LLMs read.

    Raises:
        PcorrError: a target has too little held-out text for its items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for target in settings.targets:
        own, others = of_target(held_out, target), of_target(zoo, target)
        for task, make in zip(task_names(target.name), (word_items, order_items), strict=True):
            rng = Random(f"{settings.seed}/{task}")
            items = make(own, settings.item_count, rng)
            if len(items) < settings.item_count // 2:
                raise PcorrError(
                    f"target {target.name}: {len(own)} held-out documents gave {len(items)} "
                    f"items of {settings.item_count}; fetch more packages or lower item_count"
                )
            training = make(others, settings.training_item_count, rng)
            write_choice_task(folder, task, items, rng, training)


def word_items(documents: Sequence[Document], count: int, rng: Random) -> list[Item]:
    """Items that ask for the next word; others are near it in frequency, within its stratum."""
    ranked: dict[tuple[str, str], list[str]] = {}
    for stratum, own in _strata(documents).items():
        found = Counter(word for one in own for word in one.text.split() if _WORD.fullmatch(word))
        ranked[stratum] = [word for word, _ in found.most_common()]
    ranks = {
        stratum: {word: rank for rank, word in enumerate(words)}
        for stratum, words in ranked.items()
    }
    items = []
    for one in _in_turn(documents, rng):
        stratum, words = (one.language, one.kind), one.text.split()
        places = [
            place
            for place in range(CONTEXT_WORDS, len(words))
            if words[place] in ranks[stratum] and words[place] not in words[place - 8 : place]
        ]
        if places and len(items) < count:
            place = rng.choice(places)
            rank, listed = ranks[stratum][words[place]], ranked[stratum]
            near = listed[max(0, rank - NEAR_IN_FREQUENCY) : rank + NEAR_IN_FREQUENCY + 1]
            near.remove(words[place])
            if len(near) >= CHOICE_COUNT - 1:
                others = tuple(rng.sample(near, CHOICE_COUNT - 1))
                items.append(Item(_context(words, place), words[place], others))
    return items


def order_items(documents: Sequence[Document], count: int, rng: Random) -> list[Item]:
    """Items that ask for the order of the next words; others have the same words, shuffled."""
    items = []
    for one in _in_turn(documents, rng):
        words = one.text.split()
        last = len(words) - ORDER_WORDS
        if last <= CONTEXT_WORDS or len(items) >= count:
            continue
        place = rng.randrange(CONTEXT_WORDS, last)
        true = words[place : place + ORDER_WORDS]
        # Of four different words there are orders enough.
        if len(set(true)) < CHOICE_COUNT:
            continue
        orders = {tuple(true): None}
        while len(orders) < CHOICE_COUNT:
            orders[tuple(rng.sample(true, ORDER_WORDS))] = None
        _, *others = (" ".join(order) for order in orders)
        items.append(Item(_context(words, place), " ".join(true), tuple(others)))
    return items


def _context(words: Sequence[str], place: int) -> str:
    return " ".join(words[place - CONTEXT_WORDS : place])


def _strata(documents: Sequence[Document]) -> dict[tuple[str, str], list[Document]]:
    found: dict[tuple[str, str], list[Document]] = defaultdict(list)
    for one in documents:
        found[(one.language, one.kind)].append(one)
    return found


def _in_turn(documents: Sequence[Document], rng: Random) -> list[Document]:
    """All documents in a seeded order, twice: one item of a document, then a second."""
    return [one for _ in range(2) for one in rng.sample(documents, len(documents))]
