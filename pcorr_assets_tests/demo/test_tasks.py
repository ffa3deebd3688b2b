"""Benchmark items: held out, well formed, and readable by the real lm-eval."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pcorr_assets.demo import corpus, prose, tasks, zoo
from pcorr_assets.demo.topics import TOPICS
from pcorr_assets.demo.world import TARGETS
from pcorr_assets.text.files import iter_file


def last_sentences(topic: str, seed: int) -> list[str]:
    items = tasks.held_out_items(TOPICS[topic], seed, 2 * tasks.ITEM_COUNT)
    return [f"{item.context.split('. ', 1)[1]} {item.word}." for item in items]


@pytest.mark.parametrize("topic", TARGETS)
def test_items_are_distinct_held_out_and_seeded(topic: str) -> None:
    sentences = last_sentences(topic, seed=1)
    assert len(set(sentences)) == len(sentences) == 2 * tasks.ITEM_COUNT
    assert all(map(prose.is_held_out, sentences))
    assert last_sentences(topic, seed=1) == sentences
    assert last_sentences(topic, seed=2) != sentences


@pytest.mark.parametrize("topic", TARGETS)
def test_the_other_words_belong_to_the_same_relation(topic: str) -> None:
    relations = TOPICS[topic].relations
    for item in tasks.held_out_items(TOPICS[topic], 1):
        (relation,) = [one for one in relations if item.word in one.pairs.values()]
        assert set(item.others) < set(relation.pairs.values()) - {item.word}
        assert len(set(item.others)) == tasks.CHOICE_COUNT - 1


def test_no_item_stands_in_any_text(tmp_path: Path) -> None:
    """Sample, pool and the reading of the LLMs, against the items of the same seed."""
    corpus.write_corpus(tmp_path, seed=1)
    even = dict.fromkeys(TOPICS, 1.0)
    texts = zoo.documents(even, "1/texts/any", 2000)
    for path in (*(tmp_path / "corpus").iterdir(), *(tmp_path / "pool").iterdir()):
        texts.extend(row["text"] for rows in iter_file(path) for row in rows)
    written = {
        sentence.rstrip(".") + "."
        for text in texts
        for part in text.split("\n\n")
        for sentence in part.split(". ")
    }
    assert len(written) > 10_000
    for topic in TARGETS:
        assert not written & set(last_sentences(topic, seed=1))


def test_lm_eval_reads_the_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    from lm_eval.tasks import TaskManager

    tasks.write_tasks(tmp_path / "tasks", TARGETS, seed=1)
    names = [name for topic in TARGETS for name in tasks.task_names(topic)]
    manager = TaskManager(include_path=str(tmp_path / "tasks"), include_defaults=False)
    assert set(names) <= set(manager.all_tasks)
    for name in names:
        rows = [json.loads(line) for line in (tmp_path / "tasks" / f"{name}.jsonl").open()]
        assert len(rows) == tasks.ITEM_COUNT >= 150
        assert "task: " + name in (tmp_path / "tasks" / f"{name}.yaml").read_text()


def test_the_right_choice_is_not_given_away_by_its_place(tmp_path: Path) -> None:
    tasks.write_tasks(tmp_path, TARGETS, seed=1)
    for topic in TARGETS:
        path = tmp_path / f"{tasks.task_names(topic)[0]}.jsonl"
        labels = [json.loads(line)["label"] for line in path.open()]
        assert all(0.15 < labels.count(place) / len(labels) < 0.35 for place in range(4))
