"""What selections consist of: languages and kinds of text, and text of the target.

Belongs here: shares by what paths say, and how far paths can be trusted. Does not belong here:
what comes of training on them (`findings`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from scripts.studies.real.deal import read_part
from scripts.studies.real.selections import methods_of, read_selection
from scripts.studies.real.settings import Target
from scripts.studies.real.texts import Document

# Words that English sentences consist of in large part, and few other languages have.
ENGLISH = frozenset(
    ["the", "of", "and", "to", "is", "that", "for", "you", "are", "with", "this", "be", "from"]
)
LEAST_ENGLISH = 0.1
MOST_STRATA = 3
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Composition:
    """A method's selection for a target, by bytes: shares of the target's text and of strata.

    `strata` are the largest of them, as language/kind. Random documents are those of one seed.
    """

    method: str
    documents: int
    of_target: float
    strata: tuple[tuple[str, float], ...]


def compositions(folder: Path, target: Target, seed: int) -> list[Composition]:
    """Of each method that has a selection for the target."""
    pool = {one.id: one for one in read_part(folder, "pool")}
    found = []
    for method in methods_of(folder, target.name):
        chosen = read_selection(folder, target.name, method, seed)
        found.append(_composition(method, [pool[key] for key in chosen], target))
    return found


def english_elsewhere(folder: Path) -> float:
    """Of the pool's manual pages and documentation whose path names another language, the share
    whose words are English: translations that were not finished."""
    others = [
        one
        for one in read_part(folder, "pool")
        if one.language != "en" and one.kind in ("manual", "documentation")
    ]
    return sum(map(is_english, (one.text for one in others))) / max(1, len(others))


def is_english(text: str) -> bool:
    """Whether as many words are English function words as in English prose."""
    words = _WORD.findall(text.lower())
    return sum(word in ENGLISH for word in words) > LEAST_ENGLISH * len(words)


def _composition(method: str, documents: Iterable[Document], target: Target) -> Composition:
    size: Counter[str] = Counter()
    own = count = 0
    for one in documents:
        length = len(one.text.encode())
        size[f"{one.language}/{one.kind}"] += length
        own += length * target.has(one.language, one.kind)
        count += 1
    total = sum(size.values())
    shares = tuple((name, part / total) for name, part in size.most_common(MOST_STRATA))
    return Composition(method, count, own / total, shares)
