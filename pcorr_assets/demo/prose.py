"""Sentences, paragraphs and pages out of the words of the topics.

Belongs here: everything random about text, and the rule that keeps some sentences
out of all texts (`is_held_out`), from which alone the benchmark items are made. Does
not belong here: words (`topics`), files (`corpus`, `tasks`), or anything about LLMs.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from pcorr_assets.demo.topics import TOPICS, Relation, Topic, general

HELD_OUT_SHARE = 0.2
FAVOURED_SHARE = 0.6
_ARTICLE = re.compile(r"\b([Aa]) (?=[aeiouAEIO])")


@dataclass(frozen=True)
class Fact:
    """One relation's subject and the word that goes with it."""

    relation: Relation
    subject: str
    value: str


@dataclass(frozen=True)
class Voice:
    """How one site writes: the people, openers and subjects it favours, and how often.

    `fact_rate` and `general_rate` are the shares of sentences that state a fact and
    that belong to no topic; the rest is colour.
    """

    people: tuple[str, ...]
    openers: tuple[str, ...]
    facts: tuple[Fact, ...]
    fact_rate: float
    general_rate: float
    opener_rate: float


def facts_of(topic: Topic) -> tuple[Fact, ...]:
    """All facts of a topic, relation by relation, in the order of the data."""
    return tuple(
        Fact(relation, subject, value)
        for relation in topic.relations
        for subject, value in relation.pairs.items()
    )


def plain_voice(topic: Topic) -> Voice:
    """The voice without a leaning: every person, opener and fact alike."""
    return Voice(
        people=topic.people,
        openers=topic.openers,
        facts=facts_of(topic),
        fact_rate=0.7,
        general_rate=0.08,
        opener_rate=0.4,
    )


def site_voice(topic: Topic, rng: Random) -> Voice:
    """The voice of one site: some facts twice as often as others, rates of its own."""
    facts = facts_of(topic)
    favourites = rng.sample(facts, int(FAVOURED_SHARE * len(facts)))
    return Voice(
        people=tuple(rng.sample(topic.people, 3)),
        openers=tuple(rng.sample(topic.openers, 4)),
        facts=facts + tuple(favourites),
        fact_rate=rng.uniform(0.55, 0.75),
        general_rate=rng.uniform(0.04, 0.14),
        opener_rate=rng.uniform(0.2, 0.6),
    )


def is_held_out(sentence: str) -> bool:
    """Whether a sentence is kept out of all texts, for the benchmark items.

    It depends on the sentence alone, so that no seed and no other file can leak an
    item: writers skip such sentences, tasks are made of nothing else.
    """
    digest = hashlib.blake2b(sentence.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < HELD_OUT_SHARE * 2**32


def fact_sentence(fact: Fact, template: str, voice: Voice, rng: Random) -> str:
    """One sentence that states `fact`, its last word the fact's value."""
    text = template.format(p=rng.choice(voice.people), s=fact.subject, v=fact.value)
    return _finish(text, voice, rng)


def colour_sentence(topic: Topic, voice: Voice, rng: Random) -> str:
    """One sentence of a topic that states no fact."""
    filled = {name: rng.choice(words) for name, words in topic.slots.items()}
    text = rng.choice(topic.colour).format(p=rng.choice(voice.people), **filled)
    return _finish(text, voice, rng)


def general_sentence(rng: Random) -> str:
    """One sentence that belongs to no topic."""
    filled = {name: rng.choice(words) for name, words in general.SLOTS.items()}
    return _sentence_case(rng.choice(general.SENTENCES).format(**filled))


def sentence(topic: Topic, voice: Voice, rng: Random) -> str:
    """One sentence as a site writes it; never one that is held out."""
    while True:
        kind = rng.random()
        if kind < voice.general_rate:
            return general_sentence(rng)
        if kind >= voice.general_rate + voice.fact_rate:
            return colour_sentence(topic, voice, rng)
        fact = rng.choice(voice.facts)
        text = fact_sentence(fact, rng.choice(fact.relation.templates), voice, rng)
        if not is_held_out(text):
            return text


def paragraph(topic: Topic, voice: Voice, rng: Random, sentence_count: int) -> str:
    """Sentences of one topic, one after the other."""
    return " ".join(sentence(topic, voice, rng) for _ in range(sentence_count))


def page(paragraph_topics: Sequence[str], voices: dict[str, Voice], rng: Random) -> str:
    """A page: one paragraph of 3 to 5 sentences for each topic named, in that order."""
    return "\n\n".join(
        paragraph(TOPICS[name], voices[name], rng, rng.randint(3, 5)) for name in paragraph_topics
    )


def _finish(text: str, voice: Voice, rng: Random) -> str:
    if rng.random() < voice.opener_rate:
        text = f"{rng.choice(voice.openers)}, {text}"
    return _sentence_case(text)


def _sentence_case(text: str) -> str:
    text = _ARTICLE.sub(r"\1n ", text)
    return f"{text[0].upper()}{text[1:]}."
