"""Local lm-eval tasks whose items are held-out sentences.

Belongs here: the items of the benchmarks and the YAML files that lm-eval reads. Does
not belong here: running them (the room `lm`), or choosing targets (`world`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from pcorr_assets.demo import prose
from pcorr_assets.demo.topics import TOPICS, Topic
from pcorr_assets.warehouse.files import atomic_path

ITEM_COUNT = 200
CHOICE_COUNT = 4

_CHOICE_TASK = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
{training}test_split: test
output_type: multiple_choice
doc_to_text: "{{{{context}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{label}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""

_LAST_WORD_TASK = """\
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {data}
test_split: test
output_type: loglikelihood
doc_to_text: "{{{{context}}}}"
doc_to_target: " {{{{word}}}}"
metric_list:
  - metric: perplexity
    aggregation: perplexity
    higher_is_better: false
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""

_TRAINING = """\
    train: {data}
training_split: train
"""


@dataclass(frozen=True)
class Item:
    """A passage without its last word, that word, and other words that could stand there."""

    context: str
    word: str
    others: tuple[str, ...]


def held_out_items(topic: Topic, seed: int, count: int = ITEM_COUNT) -> list[Item]:
    """Seeded items of one topic: a sentence of colour, then a held-out fact.

    The last sentence is in no text of any world (`prose.is_held_out`), and no two
    items share it; the other words belong to the same relation.
    """
    rng = Random(f"{seed}/items/{topic.name}")
    voice = prose.plain_voice(topic)
    items: list[Item] = []
    seen: set[str] = set()
    while len(items) < count:
        fact = rng.choice(voice.facts)
        text = prose.fact_sentence(fact, rng.choice(fact.relation.templates), voice, rng)
        if text in seen or not prose.is_held_out(text):
            continue
        seen.add(text)
        others = [word for word in fact.relation.pairs.values() if word != fact.value]
        stem = text.removesuffix(f" {fact.value}.")
        items.append(
            Item(
                context=f"{prose.colour_sentence(topic, voice, rng)} {stem}",
                word=fact.value,
                others=tuple(rng.sample(others, CHOICE_COUNT - 1)),
            )
        )
    return items


def task_names(topic: str) -> tuple[str, str]:
    """The names of a topic's multiple-choice and last-word tasks."""
    return f"{topic}_choice", f"{topic}_last_word"


def write_tasks(folder: Path, topics: tuple[str, ...], seed: int) -> None:
    """Write both tasks of each topic into `folder`: a YAML and its JSON lines each.

    The two tasks of a topic have different items.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in topics:
        items = held_out_items(TOPICS[name], seed, 2 * ITEM_COUNT)
        choice, last_word = task_names(name)
        rng = Random(f"{seed}/order/{name}")
        write_choice_task(folder, choice, items[:ITEM_COUNT], rng)
        rows = [_last_word_row(item) for item in items[ITEM_COUNT:]]
        _write_task(folder, last_word, _LAST_WORD_TASK, rows)


def write_choice_task(
    folder: Path, task: str, items: Sequence[Item], rng: Random, training: Sequence[Item] = ()
) -> None:
    """Write a multiple-choice task into `folder`, its choices in the order of `rng`.

    `training` are items that nothing is scored on: the task's training split, if there are any.
    """
    split = ""
    if training:
        place = _write_rows(folder, f"{task}_training", [_choice_row(one, rng) for one in training])
        split = _TRAINING.format(data=json.dumps(place))
    template = _CHOICE_TASK.replace("{training}", split)
    _write_task(folder, task, template, [_choice_row(item, rng) for item in items])


def _choice_row(item: Item, rng: Random) -> dict[str, object]:
    choices = rng.sample([item.word, *item.others], CHOICE_COUNT)
    return {"context": item.context, "choices": choices, "label": choices.index(item.word)}


def _last_word_row(item: Item) -> dict[str, object]:
    return {"context": item.context, "word": item.word}


def _write_task(folder: Path, task: str, template: str, rows: list[dict[str, object]]) -> None:
    data = json.dumps(_write_rows(folder, task, rows))
    with atomic_path(folder / f"{task}.yaml") as temporary:
        temporary.write_text(template.format(task=task, data=data))


def _write_rows(folder: Path, name: str, rows: list[dict[str, object]]) -> str:
    """Write rows as JSON lines; the file's name, so that the world can be moved."""
    data = folder / f"{name}.jsonl"
    with atomic_path(data) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return data.name
