"""What selections consist of: languages and kinds of text, and text of the target.

Belongs here: shares by what paths say, and how far paths can be trusted. Does not belong here:
what comes of training on them (`findings`).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pcorr_assets.config.texts import NearDuplicates
from pcorr_assets.filters.shingles import ngram_hashes
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

    `strata` are the largest of them, as language/kind; `alike` is the share of the documents that
    are near-duplicates of one before them. Random documents are those of one seed.
    """

    method: str
    documents: int
    of_target: float
    alike: float
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


def near_duplicates(texts: Sequence[str], settings: NearDuplicates) -> int:
    """How many texts have at least the stated Jaccard similarity with one before them, exactly."""
    hashes, starts = ngram_hashes([text.encode() for text in texts], settings.ngram)
    sets = [set(own.tolist()) for own in np.split(hashes, starts[1:-1])]
    before: dict[int, list[int]] = {}
    found = 0
    for number, own in enumerate(sets):
        shared = Counter(other for ngram in own for other in before.get(ngram, ()))
        found += any(
            both >= settings.jaccard * (len(own) + len(sets[other]) - both)
            for other, both in shared.items()
        )
        for ngram in own:
            before.setdefault(ngram, []).append(number)
    return found


def _composition(method: str, documents: Sequence[Document], target: Target) -> Composition:
    size: Counter[str] = Counter()
    own = 0
    for one in documents:
        length = len(one.text.encode())
        size[f"{one.language}/{one.kind}"] += length
        own += length * target.has(one.language, one.kind)
    total = sum(size.values())
    shares = tuple((name, part / total) for name, part in size.most_common(MOST_STRATA))
    alike = near_duplicates([one.text for one in documents], NearDuplicates()) / len(documents)
    return Composition(method, len(documents), own / total, alike, shares)
