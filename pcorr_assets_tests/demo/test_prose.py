"""Sentences: whole, readable, and each held-out one kept out of all texts."""

from __future__ import annotations

import re
from random import Random

import pytest

from pcorr_assets.demo import prose
from pcorr_assets.demo.topics import TOPICS, general

SENTENCE = re.compile(r"[A-Z][A-Za-zé,' -]+\.")


def test_there_are_at_least_six_topics_with_words_of_their_own() -> None:
    assert len(TOPICS) >= 6
    values = {
        name: {fact.value for fact in prose.facts_of(topic)} for name, topic in TOPICS.items()
    }
    for name, words in values.items():
        others = set().union(*(other for key, other in values.items() if key != name))
        assert len(words & others) <= 2, f"{name} shares {words & others} with other topics"


@pytest.mark.parametrize("name", TOPICS)
def test_every_fact_has_one_subject_and_one_plain_last_word(name: str) -> None:
    topic = TOPICS[name]
    for relation in topic.relations:
        assert len(set(relation.pairs.values())) == len(relation.pairs) >= 6
        for word in relation.pairs.values():
            assert re.fullmatch(r"[A-Za-z]+", word)
        for template in relation.templates:
            assert template.count("{s}") == 1
            assert template.endswith("{v}")


@pytest.mark.parametrize("name", TOPICS)
def test_sentences_can_be_read(name: str) -> None:
    topic = TOPICS[name]
    rng = Random("readable")
    voice = prose.site_voice(topic, rng)
    written = [prose.sentence(topic, voice, rng) for _ in range(400)]
    for text in written:
        assert SENTENCE.fullmatch(text), text
        assert 3 <= len(text.split()) <= 30, text
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiouAEIOh]|  ", text), text
    assert len(set(written)) > 250


def test_every_slot_of_a_template_has_words() -> None:
    for topic in TOPICS.values():
        named = set().union(*(re.findall(r"{(\w+)}", text) for text in topic.colour))
        assert named - {"p"} == set(topic.slots)
    named = set().union(*(re.findall(r"{(\w+)}", text) for text in general.SENTENCES))
    assert named == set(general.SLOTS)


def test_written_facts_are_never_held_out() -> None:
    topic = TOPICS["chess"]
    rng = Random("leak")
    voice = prose.plain_voice(topic)
    endings = {(fact.subject, f" {fact.value}.") for fact in prose.facts_of(topic)}
    written = [prose.sentence(topic, voice, rng) for _ in range(3000)]
    facts = [
        text
        for text in written
        if any(subject in text and text.endswith(end) for subject, end in endings)
    ]
    assert len(facts) > 1500
    assert not any(prose.is_held_out(text) for text in facts)


def test_about_a_fifth_of_all_facts_is_held_out() -> None:
    topic = TOPICS["sailing"]
    rng = Random("share")
    voice = prose.plain_voice(topic)
    drawn = {
        prose.fact_sentence(fact, template, voice, rng)
        for fact in prose.facts_of(topic)
        for template in fact.relation.templates
        for _ in range(10)
    }
    share = sum(map(prose.is_held_out, drawn)) / len(drawn)
    assert share == pytest.approx(prose.HELD_OUT_SHARE, abs=0.06)


def test_pages_have_a_paragraph_for_each_topic_named() -> None:
    rng = Random("page")
    voices = {name: prose.plain_voice(TOPICS[name]) for name in ("chess", "music")}
    text = prose.page(["chess", "music", "chess"], voices, rng)
    assert text.count("\n\n") == 2
    assert all(3 <= part.count(".") <= 5 for part in text.split("\n\n"))
