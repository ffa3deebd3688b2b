"""Odd task files of lm-eval, generated: each a small damage to a good local task.

Belongs here: the generator, what a file came to when it was evaluated, and what must hold of
it. Does not belong here: a test that runs some of them (`test_task_files`), other kinds of
input.

What a task file is trusted for: it is code. lm-eval imports the modules that `!function` and
`class` name and calls what it finds there, its templates are Jinja outside of any sandbox,
and an unknown metric is looked for as a script of the library `evaluate`. So nothing here
names a function that does harm, and a template that counts for ever is not a fault of the
platform. Beyond that a file is data: YAML tags other than `!function`, strings that look like
Python, and reading or hashing the folder must run nothing. Files here try that with
`CANARY`, which must not appear.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pcorr_assets.lm.evaluation import Evaluator, missing_benchmarks
from pcorr_assets.lm.results import KeptResults
from pcorr_assets_tests.lm.local_tasks import benchmark

NAME = "odd"
CANARY = "canary_was_here"
# Of the processor, not of the clock: a busy machine is slow, and that is no hang.
MAX_CPU_SECONDS = 5.0

Task = dict[str, Any]


class Function(str):
    """The text of a `!function`."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


_Dumper.add_representer(
    Function, lambda dumper, value: dumper.represent_scalar("!function", str(value))
)


@dataclass(frozen=True)
class OddTask:
    """Files of a folder by name; `kinds` says how the good task was damaged."""

    kinds: tuple[str, ...]
    files: Mapping[str, bytes] = field(repr=False)

    def write(self, folder: Path) -> None:
        """Lay the folder out; `DATA` and `CANARY` in its files become paths in it."""
        folder.mkdir(parents=True)
        for name, content in self.files.items():
            placed = content.replace(b"DATA", str(folder).encode())
            path = folder / name
            path.write_bytes(placed.replace(b"CANARY", str(folder / CANARY).encode()))


def good_task() -> Task:
    """What all others are made of: multiple choice, with few-shot examples of other items."""
    return {
        "task": NAME,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "DATA/test.jsonl", "train": "DATA/train.jsonl"}},
        "test_split": "test",
        "fewshot_split": "train",
        "num_fewshot": 1,
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "{{answer}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


def _rows(beginning: str) -> list[dict[str, Any]]:
    return [
        {"question": f"{beginning} {n} of the", "choices": ["rain", "tide", "fox"], "answer": n % 3}
        for n in range(6)
    ]


CODE = """
def text(doc):
    return doc["question"]


def number(doc):
    return 7


def nothing(*rest, **options):
    return None


def too_much(*rest, **options):
    return ["x" * 1000] * 1000


def raising(*rest, **options):
    raise type("OddError", (Exception,), {})("odd " * 500)


def empty(docs):
    return docs.select([])


def leaving(*rest, **options):
    raise SystemExit


def deep(*rest, **options):
    return deep(*rest)


class Thing:
    pass


not_callable = 3
"""
VALUES: list[Any] = [
    None, True, 0, -1, 3, 10**30, 1.5, float("nan"), float("inf"), "", " ", "test", "no such thing",
    "\U0001f642\u2028", "x" * 5000, [], [None], ["a", 1], {}, {"a": {"b": []}}, [[[]]], b"\x00\xff",
]  # fmt: skip
TEMPLATES = [
    "{{", "}}", "{% if %}", "{{ question.nothing.more }}", "{{ 1 / 0 }}", "{{ answer + question }}",
    "{{ question * 2000 }}", "{% for n in range(4000) %}{{ n }} {% endfor %}",
    "{% include 'other' %}", "{{ choices[9] }}", "{{ question | nofilter }}", "{{ none }}",
    "{{ [choices, choices] }}", "[1, 2", "['a', 'b']", "{% raw %}", "{{ answer + 3 }}",
    "{{ -1 }}", "{{ question[:0] }}", "{% set x = 5 %}", "__import__('os').mkdir('CANARY')",
]  # fmt: skip
FUNCTIONS = [
    "code.text", "code.number", "code.nothing", "code.too_much", "code.raising", "code.empty",
    "code.leaving", "code.deep", "code.Thing", "code.not_callable", "code.missing", "nomodule.f",
    "broken.f", "code", "", ".", "json.dumps", "os.path.join", "builtins.len", "..code.text",
]  # fmt: skip
KEYS = [
    "task", "tag", "group", "include", "class", "dataset_path", "dataset_name", "dataset_kwargs",
    "training_split", "validation_split", "test_split", "fewshot_split", "fewshot_config",
    "process_docs", "doc_to_text", "doc_to_target", "doc_to_choice", "doc_to_image",
    "process_results", "use_prompt", "description", "target_delimiter", "fewshot_delimiter",
    "num_fewshot", "metric_list", "output_type", "generation_kwargs", "repeats", "filter_list",
    "should_decontaminate", "gen_prefix", "metadata", "unsafe_code", "custom_dataset", "unknown",
]  # fmt: skip
TEXT_KEYS = ["doc_to_text", "doc_to_choice", "doc_to_target", "description", "gen_prefix"]
CALLED_KEYS = [*TEXT_KEYS, "process_docs", "process_results", "custom_dataset", "class"]
METRICS: list[Any] = [
    [], [{}], [{"metric": "acurracy"}], [{"metric": "mcc"}], [{"metric": "bypass"}], "acc",
    [{"metric": "acc", "aggregation": "no such"}], [{"metric": "acc"}, {"metric": "acc"}],
    [{"metric": Function("code.raising"), "aggregation": "mean", "higher_is_better": True}],
    [{"metric": "acc", "aggregation": Function("code.nothing"), "higher_is_better": True}],
    [{"metric": "acc", "higher_is_better": "perhaps"}], [{"metric": 3}], [{"metric": ["acc"]}],
    [{"metric": "perplexity"}], [{"metric": "brier_score"}], [{"metric": "f1"}],
]  # fmt: skip
TYPES = ["loglikelihood", "loglikelihood_rolling", "generate_until", "multiple_choice", "other", 3]
DATA = [
    b"", b"\n\n", b"{", b"[]", b'{"question": 1}\n', b'{"question": null, "choices": null}\n',
    b'{"question": "q", "choices": [], "answer": 0}\n', b"\xff\xfe\x00",
    b'{"question": "q", "choices": ["a", ""], "answer": 1}\n', b'"text"\n',
    b'{"question": "q", "choices": ["a", "b"], "answer": 9}\n' * 3,
    b'{"question": "q", "choices": ["a", "b"], "answer": "b"}\n' * 3,
    json.dumps({"question": "long " * 3000, "choices": ["a", "b"], "answer": 0}).encode() + b"\n",
]  # fmt: skip
BOMB = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n".encode()
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
RAW: list[Callable[[bytes, random.Random], bytes]] = [
    lambda text, rng: text[: rng.randrange(len(text))],
    lambda text, rng: text.replace(b"\n", b"\r"),
    lambda text, rng: text.replace(b": ", b":\t"),
    lambda text, rng: b"\x00" + text,
    lambda text, rng: text.decode().encode("utf-16"),
    lambda text, rng: text + text,
    lambda text, rng: BOMB + text,
    lambda text, rng: BOMB + text + b"metadata: {bomb: *i}\n",
    lambda text, rng: text + b"include: odd.yaml\n",
    lambda text, rng: text + b'include: ["../odd/odd.yaml", nothing.yaml]\n',
    lambda text, rng: text + b"metadata: &m {again: *m}\n",
    lambda text, rng: text + b'x: !!python/object/apply:os.mkdir ["CANARY"]\n',
    lambda text, rng: text + b'metadata: !!python/object/new:os.mkdir ["CANARY"]\n',
    lambda text, rng: text + b"x: " + b"[" * 2000 + b"]" * 2000 + b"\n",
    lambda text, rng: b"- " + text.replace(b"\n", b"\n  "),
    lambda text, rng: b"group: odd\n" + text,
]


def odd_tasks(seed: int, count: int) -> Iterator[OddTask]:
    """The same for a seed, each independent of those before it."""
    for index in range(count):
        yield odd_task(seed, index)


def odd_task(seed: int, index: int) -> OddTask:
    """One of them, to look at alone."""
    rng = random.Random(f"{seed} {index}")
    task, kinds = good_task(), []
    files = {
        "code.py": CODE.encode(),
        "broken.py": b"def f(:\n",
        "touching.py": b"import os\nos.mkdir('CANARY')\n",
        "test.jsonl": _lines("Word"),
        "train.jsonl": _lines("Line"),
    }
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        damage = rng.choice(DAMAGES)
        kinds.append(damage(rng, task, files))
    text = yaml.dump(task, Dumper=_Dumper, allow_unicode=True, sort_keys=False).encode()
    if rng.random() < 0.2:
        number = rng.randrange(len(RAW))
        kinds.append(f"raw {number}")
        text = RAW[number](text, rng)
    return OddTask(tuple(kinds), {**files, "odd.yaml": text})


def _lines(beginning: str) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in _rows(beginning)).encode()


def _set_value(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    key, number = rng.choice(KEYS), rng.randrange(len(VALUES))
    task[key] = VALUES[number]
    return f"{key} = value {number}"


def _remove(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    key = rng.choice(sorted(task))
    del task[key]
    return f"no {key}"


def _template(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    key, task_text = rng.choice(TEXT_KEYS), rng.choice(TEMPLATES)
    task[key] = task_text
    return f"{key} = {task_text}"


def _function(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    key, name = rng.choice(CALLED_KEYS), rng.choice(FUNCTIONS)
    task[key] = Function(name)
    return f"{key} = !function {name}"


def _choices(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    task["doc_to_choice"] = rng.choice(([], [""], [1, 2, 3], "", {}, {"a": "x"}, ["a"], "question"))
    return f"doc_to_choice = {task['doc_to_choice']}"


def _metrics(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    number = rng.randrange(len(METRICS))
    task["metric_list"] = METRICS[number]
    return f"metrics {number}"


def _type(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    task["output_type"] = rng.choice(TYPES)
    if rng.random() < 0.5:
        task["metric_list"] = [{"metric": rng.choice(("perplexity", "exact_match", "bleu"))}]
    return f"output_type = {task['output_type']}"


def _data(rng: random.Random, task: Task, files: dict[str, bytes]) -> str:
    name, number = rng.choice(("test.jsonl", "train.jsonl")), rng.randrange(len(DATA))
    files[name] = DATA[number]
    return f"{name} = data {number}"


DAMAGES = (_set_value, _remove, _template, _function, _choices, _metrics, _type, _data)


def problems(odd: OddTask, evaluator: Evaluator, folder: Path) -> list[str]:
    """What is wrong with how the platform takes it; nothing for success or a good message."""
    odd.write(folder / NAME)
    benchmarks = {NAME: benchmark(folder / NAME)}
    kept = KeptResults(folder / "kept")
    started = time.process_time()
    try:
        missing_benchmarks(benchmarks, kept, evaluator.resolved.commit_sha, evaluator.dtype)
        outcome = evaluator.run(benchmarks, kept)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return [f"raised {type(error).__name__}: {error}"]
    found = []
    if (seconds := time.process_time() - started) > MAX_CPU_SECONDS:
        found.append(f"took {seconds:.1f} s")
    if (folder / NAME / CANARY).exists():
        found.append("ran code that it must not run")
    failure = outcome.failures.get(NAME)
    if (failure is None) != (len(outcome.rows) == 1):
        found.append(f"{len(outcome.rows)} rows and the failure {failure}")
    if failure is not None:
        found += _faults_of_message(failure)
    return found


def _faults_of_message(message: str) -> Iterator[str]:
    """Without the place or the remedy a message helps nobody."""
    if "Traceback" in message or len(message) > 2000:
        yield f"no message for people: {message[:300]}"
    if message.startswith(("KeyError", "AssertionError")) and " while " not in message:
        yield f"no place: {message}"
    if not any(word in message for word in _ADVICE):
        yield f"no remedy: {message}"


_ADVICE = (
    "Correct", "correct", "Look", "Take", "take", "set `", "Set `", "Give", "list its tasks",
    "leave", "say which", "write the task", "see `", "it has ",
    "process_docs", "Name one", "did you mean",
)  # fmt: skip
