"""The items of a task as they are asked: does one give its answer away, has it a right one?

Belongs here: watching lm-eval make prompts, and counting what would make a score say nothing.
Does not belong here: whether so many are too many (`results`), failures (`task_failures`).

Nothing of a task is called that lm-eval does not call itself, in the same order: functions of
tasks may draw random numbers.

lm-eval leaves an item out of its own few-shot examples only if `fewshot_split` names the
`test_split`, and then by comparing whole rows. The answer stays in the prompt where the
examples come from the evaluated items by another way (a task with nothing but a test split;
`fewshot_split` naming the validation split that is evaluated), where the rows differ by
`process_docs`, and where two splits hold the same item.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pcorr_assets.errors import PcorrError

# Items without a right answer cost every LLM the same share.
MAX_UNANSWERABLE = 0.01


@dataclass
class Items:
    """Counts over the items of a benchmark that were asked, of all its tasks.

    `leaked` items have their own question with their own answer among the examples of their
    prompt; `unanswerable` ones have no right answer among their choices, as `example` says
    of one of them.
    """

    count: int = 0
    leaked: int = 0
    unanswerable: int = 0
    example: str = ""

    def notes(self) -> list[str]:
        """What a user should know of the items.

        Raises:
            PcorrError: more than `MAX_UNANSWERABLE` of them have no right answer.
        """
        if not self.unanswerable:
            return []
        what = (
            f"{self.unanswerable} of {self.count} items have no right answer among their choices "
            f"({self.example})"
        )
        if self.unanswerable > MAX_UNANSWERABLE * self.count:
            raise PcorrError(
                f"{what}: every LLM gets them wrong. Correct `doc_to_target` (the index of the "
                "right choice, from 0, or its text) or `doc_to_choice` of the task, or leave "
                "these items out (`process_docs`)"
            )
        return [f"{what}, so every LLM gets them wrong"]


def watch(tasks: Iterable[Any]) -> Items:
    """Counts that fill up while lm-eval builds the prompts of these tasks."""
    items = Items()
    for task in tasks:
        _Watcher(task, items)
    return items


class _Watcher:
    """Stands between lm-eval and one task's methods, and notes what passes."""

    def __init__(self, task: Any, items: Items) -> None:
        self._task = task
        self._items = items
        self._turns: list[Mapping[str, Any]] = []
        self._targets: list[tuple[Any, Any]] = []
        self._text: Any = None
        self._watching = False
        self._context = task.fewshot_context
        task.fewshot_context = self._fewshot_context
        self._noting("doc_to_text", lambda doc, found: setattr(self, "_text", found))
        self._noting("doc_to_target", lambda doc, found: self._targets.append((doc, found)))
        if hasattr(task, "build_qa_turn"):
            turn = task.build_qa_turn

            def build_qa_turn(**parts: Any) -> Any:
                self._turns.append(parts)
                return turn(**parts)

            task.build_qa_turn = build_qa_turn

    def _noting(self, name: str, note: Any) -> None:
        method = getattr(self._task, name)

        def noted(doc: Any, *options: Any, **named: Any) -> Any:
            found = method(doc, *options, **named)
            if self._watching:  # scoring asks for answers, too
                note(doc, found)
            return found

        setattr(self._task, name, noted)

    def _fewshot_context(self, doc: Any, *rest: Any, **options: Any) -> Any:
        self._turns.clear()
        self._targets.clear()
        self._watching = True
        context = self._context(doc, *rest, **options)
        self._watching = False
        self._items.count += 1
        self._items.leaked += self._holds_own_answer(doc)
        if (problem := self._no_right_choice()) is not None:
            self._items.unanswerable += 1
            self._items.example = self._items.example or problem
        return context

    def _holds_own_answer(self, doc: Any) -> bool:
        # A Python class asks only the examples for their answer, lm-eval's own the item as well.
        shown = self._targets[:-1] if self._turns else self._targets
        if any(_same(example, doc) for example, _ in shown):
            return True
        examples = {(_hashable(t["q"]), _answer(t)) for t in self._turns if _has_answer(t)}
        if not examples or not self._targets:
            return False
        asked = [turn for turn in self._turns if not _has_answer(turn)]
        right = self._text if self._task.multiple_input else 0
        if not isinstance(right, int) or not -len(asked) <= right < len(asked):
            return False
        turn, target = asked[right], self._targets[-1][1]
        answers = target if isinstance(target, list) else [target]
        return any((_hashable(turn["q"]), _answer({**turn, "a": a})) in examples for a in answers)

    def _no_right_choice(self) -> str | None:
        """Why no choice is the right one, by the rules of lm-eval's own scoring; None if one is."""
        task = self._task
        if (
            getattr(task, "OUTPUT_TYPE", None) != "multiple_choice"
            or not self._turns
            or not self._targets
            or callable(task.config.process_results)
        ):
            return None
        if task.multiple_input:
            choices = [turn["q"] for turn in self._turns if not _has_answer(turn)]
            target = self._text
        else:
            choices, target = self._turns[-1].get("c"), self._targets[-1][1]
        if not isinstance(choices, list | tuple):
            return None
        for one in target if isinstance(target, list) else [target]:
            if isinstance(one, int) and not 0 <= one < len(choices):
                return f"the index {one} of {len(choices)} choices"
            if isinstance(one, str) and not isinstance(target, list) and one not in choices:
                return f"the text {one[:40]!r}, which is none of {len(choices)} choices"
        return None


def _same(one: object, other: object) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays have no single answer; what is made of them is compared next
        return False


def _has_answer(turn: Mapping[str, Any]) -> bool:
    return turn.get("a") is not None and turn.get("a") != ""


def _answer(turn: Mapping[str, Any]) -> object:
    """The text that lm-eval puts after a question."""
    choices, answer = turn.get("c"), turn.get("a")
    if choices and isinstance(answer, int):
        return _hashable(choices[answer]) if -len(choices) <= answer < len(choices) else answer
    return _hashable(answer[0] if isinstance(answer, list) and answer else answer)


def _hashable(value: object) -> object:
    return value if isinstance(value, str | int | float | None) else repr(value)
