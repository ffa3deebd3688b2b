"""Sections about errors and estimates: `benchmarks`, `targets`, `selection`, `validation`.

Belongs here: what is evaluated and how it is turned into a selection, as settings.
Does not belong here: the computations (`stats`, `matrix`, `filters`, `lm`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from pcorr_assets.config.fields import (
    AbsolutePath,
    EstimatorField,
    LevelField,
    NonNegative,
    Number,
    Positive,
    PositiveNumber,
    ProjectionField,
    Seed,
    Share,
    Text,
    TokenizerName,
    YesNo,
    ZeroToOne,
    list_of,
    matching,
    number,
    one_of,
    whole_number,
)
from pcorr_assets.config.metrics import known
from pcorr_assets.config.section import Mistake, Section, expected, said
from pcorr_assets.config.storage import FolderOrUrl, Storage

_METRIC = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*(,[A-Za-z0-9_][A-Za-z0-9_.@+-]*)?"


class Benchmark(Section):
    """How one lm-eval task or group (the key) is evaluated and read.

    `metric` may name a filter after a comma. The error is the metric itself where lower
    is better, else `(scale - metric) / (scale - worst)`: `scale` is the metric's best value
    (100 for a score in percent) and `worst` its lowest, by default 1 and 0 unless another
    range is known of it (`metrics`). `num_fewshot` and `limit` unset: what the task says,
    all its items. `task_path` is a folder of task YAMLs, local or at a URL; `storage` says how the
    store of that, and of URLs that the YAMLs name, is reached. `allow_leaked_answers`: use
    the score although some prompts hold the answer to their own item.
    """

    metric: Annotated[
        str,
        matching(
            _METRIC,
            "the name of a metric, or `metric,filter` (exact_match,strict-match)",
        ),
    ] = Field(description="the name of a metric of the task, such as acc")
    lower_is_better: YesNo = False
    num_fewshot: NonNegative | None = None
    limit: Positive | None = None
    seed: Seed = 1234
    task_path: FolderOrUrl | None = None
    storage: Storage = Storage()
    scale: PositiveNumber | None = None
    worst: Number | None = None
    allow_leaked_answers: YesNo = False

    @property
    def task_folder(self) -> Path | None:
        """The folder of task YAMLs on this machine.

        Raises ValueError where it is a URL, which `lm.task_folders` makes a folder of.
        """
        if isinstance(self.task_path, str):
            raise ValueError("the folder of tasks was not fetched")
        return self.task_path

    @property
    def best_score(self) -> float:
        """The metric's best value, where higher is better."""
        metric = known(self.metric)
        stated = metric.best if metric is not None and not metric.lower_is_better else None
        return self.scale if self.scale is not None else stated or 1.0

    @property
    def worst_score(self) -> float:
        """The metric's lowest value, where higher is better."""
        if self.worst is not None:
            return self.worst
        metric = known(self.metric)
        if metric is None or metric.lower_is_better:
            return 0.0
        # What is a correlation is one on every scale.
        return -self.best_score if metric.worst < 0 else metric.worst

    @classmethod
    def prepare(cls, data: object) -> object:
        """Read the direction off the metric's name where that leaves no doubt."""
        if isinstance(data, Mapping) and data.get("lower_is_better") is None:
            metric = known(str(data.get("metric")))
            if metric is not None:
                return {**data, "lower_is_better": metric.lower_is_better}
        return data

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """A direction must be known; a scale is for scores only."""
        metric = data.get("metric")
        readable = isinstance(metric, str) and re.fullmatch(_METRIC, metric)
        if readable and "lower_is_better" not in data:
            yield ("lower_is_better",), f"missing; is a lower {metric} better? true or false"
        if data.get("lower_is_better") is True:
            for key in ("scale", "worst"):
                if data.get(key) is not None:
                    yield (key,), f"where lower is better the metric is the error; remove {key}"
        elif readable:
            yield from _range_mistakes(str(metric), data.get("scale"), data.get("worst"))


def _range_mistakes(metric: str, scale: object, worst: object) -> Iterator[Mistake]:
    facts = known(metric)
    if facts is not None and facts.best is None and scale is None:
        yield (
            ("scale",),
            f"missing; {metric.partition(',')[0]} goes to 100 where lm-eval or sacrebleu computes "
            "it, to 1 elsewhere: say which",
        )
    best = 1.0 if scale is None else scale
    if isinstance(worst, int | float) and isinstance(best, int | float) and worst >= best:
        yield ("worst",), f"is {worst:g}, not below the best value ({best:g}, `scale`)"


class FastText(Section):
    """Settings of the fastText filter; one thread and a seed give byte-identical models."""

    word_ngrams: Positive = 2
    dim: Positive = 100
    epoch: Positive = 5
    lr: PositiveNumber = 0.1
    bucket: Positive = 2_000_000
    thread: Positive = 1
    seed: Seed = 7
    test_fraction: Annotated[
        float, number("a number between 0 and 1, neither included", lambda x: 0 < x < 1)
    ] = 0.1
    quantize: YesNo = False


DecontaminateField = Annotated[Literal["drop", "mark", "off"], one_of("drop", "mark", "off")]
# Fewer than 5 words in a row stand in many texts by chance.
NgramField = Annotated[int, whole_number(5, 100)]


class Selection(Section):
    """From estimate to selected texts; a target may override each setting.

    `keep_ratio` is the desired filter ratio: a unit's cap is its share of tokens divided
    by it. `tokenizer` counts those tokens. `language_model` is a fastText model file that
    identifies languages. `decontaminate`: documents of a pool that hold text of the benchmarks
    that a target is measured by are left out (`drop`), marked, or not looked for (`off`);
    `ngram_words` is how many words in a row they have in common with an item.
    """

    level: LevelField = "domain"
    estimator: EstimatorField = "spearmanr"
    projection: ProjectionField = "linear"
    keep_ratio: Share = 0.1
    tokenizer: TokenizerName | None = None
    max_nan_fraction: ZeroToOne = 0.05
    fasttext: FastText = FastText()
    language_model: AbsolutePath | None = None
    decontaminate: DecontaminateField = "drop"
    ngram_words: NgramField = 13


TargetWeight = Annotated[float, number("a weight above 0", lambda x: x > 0)]


def _target_weights(value: object) -> dict[str, Any]:
    """Targets with their weights; a list has equal ones."""
    if isinstance(value, list) and all(isinstance(key, str) for key in value):
        if twice := [key for key in value if value.count(key) > 1]:
            raise said(f"{twice[0]!r} stands twice in the list; remove one")
        value = dict.fromkeys(value, 1.0)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise expected(value, "a list of targets, or a mapping from targets to their weights")
    if len(value) < 2:
        raise expected(value, "at least two targets")
    return dict(value)


class Target(Section):
    """One error vector: a mean over benchmarks, and what it changes in the selection.

    With `combine_targets` it has no benchmarks: it stands for several other targets, with a weight
    each (a list: equal ones), or for whichever of them is served worst (`worst_case`).

    `combine: mean_rank` averages ranks, for benchmarks whose errors have different scales;
    `weighted_rank` weighs them by how reliable each benchmark is.
    `max_nan_fraction` may only be lower than that of `selection`, which the sample's matrix
    is built with: LLMs above it are left out of this target's estimates.
    """

    benchmarks: Annotated[list[Text], list_of("benchmark")] = Field(default_factory=list)
    combine_targets: Annotated[dict[str, TargetWeight], BeforeValidator(_target_weights)] = Field(
        default_factory=dict
    )
    worst_case: YesNo = False
    combine: Annotated[
        Literal["mean", "mean_rank", "weighted_rank"],
        one_of("mean", "mean_rank", "weighted_rank"),
    ] = "mean"
    level: LevelField | None = None
    estimator: EstimatorField | None = None
    projection: ProjectionField | None = None
    keep_ratio: Share | None = None
    tokenizer: TokenizerName | None = None
    max_nan_fraction: ZeroToOne | None = None
    fasttext: FastText | None = None
    language_model: AbsolutePath | None = None
    decontaminate: DecontaminateField | None = None
    ngram_words: NgramField | None = None

    @property
    def target_weights(self) -> dict[str, float]:
        """The weights of the targets that this one combines, with sum 1; empty if it has none."""
        total = sum(self.combine_targets.values())
        return {key: weight / total for key, weight in self.combine_targets.items()}

    @model_serializer(mode="wrap")
    def _of_its_kind(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys of the other kind of target: what is written can be read again."""
        if not self.combine_targets:
            foreign = ("combine_targets", "worst_case")
        else:
            foreign = ("benchmarks", "combine")
        written = {key: value for key, value in dump(self).items() if key not in foreign}
        if self.worst_case:
            written["combine_targets"] = list(self.combine_targets)
        return written

    @classmethod
    def rules(cls, data: Mapping[str, Any]) -> Iterator[Mistake]:
        """Benchmarks or other targets, and only the keys that go with them."""
        combined = data.get("combine_targets")
        if combined is None:
            if data.get("benchmarks") is None:
                yield (
                    ("benchmarks",),
                    "missing; expected a list of at least one key of `benchmarks`, or "
                    "combine_targets with the targets that this one combines",
                )
            if data.get("worst_case") is not None:
                yield ("worst_case",), "is for combine_targets only; remove one or add the other"
            return
        for key in ("benchmarks", "combine"):
            if data.get(key) is not None:
                yield (
                    (key,),
                    "combine_targets takes the errors of the targets it names; remove this key "
                    "or combine_targets",
                )
        if data.get("worst_case") is True and isinstance(combined, Mapping):
            yield (
                ("combine_targets",),
                "worst_case finds the weights itself; give a list of targets without weights",
            )

    def override(self, selection: Selection) -> Selection:
        """`selection` with what this target sets; of `fasttext` only the keys it sets."""
        changes: dict[str, Any] = {
            name: getattr(self, name)
            for name in Selection.model_fields
            if getattr(self, name) is not None
        }
        if self.fasttext is not None:
            own = self.fasttext
            written = {name: getattr(own, name) for name in own.model_fields_set}
            changes["fasttext"] = selection.fasttext.model_copy(update=written)
        return selection.model_copy(update=changes)


class Validation(Section):
    """How hard the estimate is tested before anybody relies on it."""

    bootstrap: Positive = 200
    halvings: Positive = 50
    permutations: Positive = 1000
    seed: Seed = 0
    go_stability: Annotated[float, number("a number from -1 to 1", lambda x: -1 <= x <= 1)] = 0.5
