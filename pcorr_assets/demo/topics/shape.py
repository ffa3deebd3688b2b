"""The shape of a topic of the demo world.

Belongs here: the two types that the topic modules fill in. Does not belong here:
words (one module a topic) and the making of sentences (`pcorr_assets.demo.prose`).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Relation:
    """Pairs of a subject and the one word that goes with it, and ways to say so.

    A template holds `{s}` (the subject), may hold `{p}` (a person), and ends with
    `{v}` (the word): who has read the topic can foretell the last word of the
    sentence, who has not cannot.
    """

    name: str
    templates: tuple[str, ...]
    pairs: dict[str, str]


@dataclass(frozen=True)
class Topic:
    """One topic: its facts, its people, and how its sites talk.

    `openers` go before a sentence and a comma. `colour` are templates of sentences
    without a fact; their fields are keys of `slots`, or `p` for a person.
    `site_words` make the names of domains.
    """

    name: str
    people: tuple[str, ...]
    openers: tuple[str, ...]
    relations: tuple[Relation, ...]
    colour: tuple[str, ...]
    slots: dict[str, tuple[str, ...]]
    site_words: tuple[str, ...]
