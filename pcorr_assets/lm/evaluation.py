"""Benchmark errors of an LLM, by lm-eval, one benchmark after the other.

Belongs here: running lm-eval on a loaded model, collecting what fails. Does not belong here:
loading tasks (`task_loading`), several processes (`evaluation_crew`), what a score means
(`results`), what a failure says (`task_failures`), what is watched on the way (`task_items`,
`harness`), and which benchmarks there are (`config`).

The calls are those of `lm_eval.simple_evaluate` (seeds, few-shot rule, `evaluate`),
without its inventory of the machine, which costs a second for each benchmark.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.benchmark_settings import evaluation_sha256
from pcorr_assets.lm.chance import chance_score
from pcorr_assets.lm.evaluation_crew import evaluate_together
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.item_scores import SOFT_METRICS, ItemScores, ItemWatch, items_sha256
from pcorr_assets.lm.results import KeptResults, Result, Row, judge_leaks, make_row
from pcorr_assets.lm.task_failures import describe
from pcorr_assets.lm.task_items import watch
from pcorr_assets.lm.task_loading import TaskLoader
from pcorr_assets.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from pcorr_assets.config import Benchmark
    from pcorr_assets.lm.harness import Harness

logger = logging.getLogger(__name__)

CPU_BATCH_SIZE = 8
# Resamples for the standard error of metrics without a formula for it, such as perplexity.
BOOTSTRAP_ITERATIONS = 1000


@dataclass
class Evaluation:
    """What came of the benchmarks: `rows` of `benchmark_errors` of all kept results.

    `failures` says for each benchmark that has no row why; `evaluated` and `reused` name
    the others. `chance` is the share of items that a guess gets right, where it is known;
    `items_sha256` are the hashes of the scores of items, `batch_sizes` those that were used of
    what was evaluated now, by so many `processes`.
    """

    rows: list[Row] = field(default_factory=list)
    evaluated: list[str] = field(default_factory=list)
    reused: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)
    items_sha256: dict[str, str] = field(default_factory=dict)
    batch_sizes: dict[str, list[int]] = field(default_factory=dict)
    processes: int = 1

    def raise_failures(self, llm: str) -> None:
        """One PcorrError that names every benchmark that failed; nothing if none did."""
        if self.failures:
            lines = [f"  {name}: {reason}" for name, reason in self.failures.items()]
            done = len(self.evaluated) + len(self.reused)
            raise PcorrError(
                f"{len(self.failures)} of {len(self.failures) + done} benchmarks of {llm} failed "
                "(the results of the others are kept):\n" + "\n".join(lines)
            )


def missing_benchmarks(
    benchmarks: Mapping[str, Benchmark], kept: KeptResults, commit_sha: str, dtype: str
) -> list[str]:
    """The benchmarks that have no kept result of these weights and settings.

    A benchmark whose folder of tasks is gone counts as missing: evaluating it says why.
    """
    missing: list[str] = []
    for name, benchmark in benchmarks.items():
        try:
            wanted = evaluation_sha256(name, benchmark)
        except PcorrError:
            missing.append(name)
            continue
        result = kept.find(name, commit_sha, dtype, wanted)
        if result is None or not result.serves(benchmark.metric):
            missing.append(name)
    return missing


class Evaluator:
    """Runs lm-eval on one loaded LLM.

    `batch_size` None: a fixed one on the CPU, lm-eval's own search elsewhere.
    """

    def __init__(
        self,
        resolved: ResolvedLLM,
        model: PreTrainedModel | None,
        tokenizer: PreTrainedTokenizerBase | None,
        dtype: str,
        batch_size: int | None = None,
    ) -> None:
        self.resolved = resolved
        self.dtype = dtype
        self._model = model
        self._tokenizer = tokenizer
        self.batch_size = batch_size
        self._tasks = TaskLoader()
        self._harness: Harness | None = None

    def run(
        self, benchmarks: Mapping[str, Benchmark], kept: KeptResults, helpers: Sequence[str] = ()
    ) -> Evaluation:
        """Evaluate what is not kept; every result is kept as soon as it is there.

        A benchmark that fails ends up in `failures` and does not stop the others. One whose
        kept result is damaged is evaluated again, with a warning. `helpers` are devices of
        processes that evaluate some of the benchmarks meanwhile.
        """
        outcome = Evaluation(warnings=kept.damaged())
        for warning in outcome.warnings:
            logger.warning("%s: %s", self.resolved.label, warning)
        missing = missing_benchmarks(benchmarks, kept, self.resolved.commit_sha, self.dtype)
        failed: Mapping[str, str] = {}
        if helpers and len(missing) > 1:
            shared = evaluate_together(self, {n: benchmarks[n] for n in missing}, kept, helpers)
            failed, outcome.processes = shared.failures, shared.processes
            outcome.warnings += shared.warnings
        label = f"evaluate {self.resolved.label}"
        with Progress(label, total=len(benchmarks), unit="benchmarks") as progress:
            for name, benchmark in benchmarks.items():
                try:
                    if name in failed:
                        raise PcorrError(failed[name])
                    self._one(name, benchmark, kept, outcome, name in missing)
                except PcorrError as error:
                    outcome.failures[name] = str(error)
                except OSError as error:
                    outcome.failures[name] = _not_kept(kept, error)
                progress.update()
        outcome.rows = kept.rows(self.resolved.commit_sha, self.dtype)
        return outcome

    def keep(self, name: str, benchmark: Benchmark, kept: KeptResults) -> str | None:
        """Evaluate a benchmark and keep its result; why that failed, if it did."""
        try:
            kept.keep(self._tried(name, benchmark), None)
        except PcorrError as error:
            return str(error)
        except OSError as error:
            return _not_kept(kept, error)
        return None

    def _one(
        self,
        name: str,
        benchmark: Benchmark,
        kept: KeptResults,
        outcome: Evaluation,
        is_new: bool,
    ) -> None:
        commit = self.resolved.commit_sha
        result = kept.find(name, commit, self.dtype, evaluation_sha256(name, benchmark))
        if result is None or not result.serves(benchmark.metric):
            result = self._tried(name, benchmark)
            # Kept before it is read: a metric that is not there must not cost the evaluation.
            kept.keep(result, None)
        if is_new:
            outcome.batch_sizes[name] = result.batch_sizes
        try:
            row, warnings = make_row(result, benchmark)
        except PcorrError:
            kept.keep(result, None)
            raise
        kept.keep(result, row)
        if result.chance is not None:
            outcome.chance[name] = result.chance
        if result.items is not None:
            outcome.items_sha256[name] = items_sha256(result.items)
        (outcome.evaluated if is_new else outcome.reused).append(name)
        outcome.warnings += warnings
        wanted = benchmark.num_fewshot
        if wanted is not None and result.num_fewshot != wanted:
            outcome.warnings.append(
                f"{name} was evaluated with {result.num_fewshot} examples in the prompt, not "
                f"{wanted}: the task itself fixes their number"
            )

    def _tried(self, name: str, benchmark: Benchmark) -> Result:
        """The result of a benchmark; whatever its task raises is a PcorrError about it.

        `SystemExit` can only come from the task: what ends a run (KeyboardInterrupt, Dagster's
        and the node's own interruption) is none, and goes on.
        """
        try:
            return self.evaluate(name, benchmark)
        except PcorrError:
            raise
        except (Exception, SystemExit) as error:
            logger.exception("%s: benchmark %s failed", self.resolved.label, name)
            source = self._tasks.source_of(name, benchmark)
            raise PcorrError(describe(error, benchmark.task_folder, source)) from error

    def evaluate(self, name: str, benchmark: Benchmark) -> Result:
        """Run one benchmark now.

        Raises:
            PcorrError: unknown benchmark, one without items, prompts that hold their answers,
                or what the LLM cannot be asked. Whatever else the task raises.
        """
        import lm_eval.evaluator
        import torch

        random.seed(benchmark.seed)
        np.random.seed(benchmark.seed)
        torch.manual_seed(benchmark.seed)
        loaded = self._tasks.load(name, benchmark)
        harness = self._harness_of()
        harness.forget()
        items = watch(loaded["tasks"].values())
        scored = ItemWatch(loaded["tasks"].values())

        def before_asking() -> list[str]:
            judge_leaks(name, items.leaked, items.count, benchmark)
            return items.notes()

        harness.before_asking = before_asking
        with _quiet_bootstrap():
            found: Any = lm_eval.evaluator.evaluate(
                lm=harness,
                task_dict=loaded,
                limit=benchmark.limit,
                bootstrap_iters=BOOTSTRAP_ITERATIONS,
                log_samples=False,
            )
        try:
            chance = chance_score(loaded["tasks"].values())
        except Exception:
            # Hours of evaluation must not be lost for what only a check wants to know.
            logger.exception("%s: what guessing scores on %s is unknown", self.resolved.label, name)
            chance = None
        result = self._result(name, benchmark, found, chance)
        notes = [f"{name}: {note}" for note in (*items.notes(), *harness.notes())]
        result = replace(result, leaked_prompts=items.leaked, notes=notes)
        return _with_items(result, self._scores_of_items(name, scored))

    def _scores_of_items(self, name: str, scored: ItemWatch) -> ItemScores:
        try:
            return scored.scores()
        except Exception as error:
            # As above: the metrics of the task itself are there, and are kept.
            logger.exception("%s: the scores of the items of %s", self.resolved.label, name)
            return ItemScores(absent=dict.fromkeys(SOFT_METRICS, f"it could not be made ({error})"))

    def _harness_of(self) -> Harness:
        from pcorr_assets.lm.harness import Harness

        if self._harness is None:
            if self._model is None or self._tokenizer is None:
                raise RuntimeError("an evaluation is missing, but no model was loaded")
            self._check_model(self._model, self._tokenizer)
            device = str(self._model.device)
            fixed = self.batch_size or CPU_BATCH_SIZE
            options: dict[str, Any] = {
                "pretrained": self._model,
                "tokenizer": self._tokenizer,
                "batch_size": fixed if device == "cpu" or self.batch_size else "auto",
                "device": device,
            }
            self._harness = Harness(self.resolved.label, **options)
        return self._harness

    def _check_model(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        """PcorrError if this is no causal model: lm-eval would give meaningless scores."""
        from pcorr_assets.lm.forward import prepare

        ids: Any = tokenizer("What a text says first must not depend on what it says later.")
        prepare(model, np.asarray(ids["input_ids"], dtype=np.int32), self.resolved.label)

    def _result(self, name: str, benchmark: Benchmark, found: Any, chance: float | None) -> Result:
        from importlib.metadata import version

        values = {
            key: _number(value)
            for key, value in found["results"].get(name, {}).items()
            if "," in key and key != " "
        }
        versions = found.get("versions", {})
        counts = found.get("n-samples", {})
        count = counts[name] if name in counts else _summed(counts)
        fewshot = found.get("n-shot", {})
        task_version = versions.get(name)
        return Result(
            llm=self.resolved.spec.key,
            benchmark=name,
            commit_sha=self.resolved.commit_sha,
            dtype=self.dtype,
            evaluation_sha256=evaluation_sha256(name, benchmark),
            lm_eval_version=version("lm_eval"),
            task_version=None if task_version is None else str(task_version),
            num_fewshot=_common(fewshot.get(name), fewshot),
            limit=benchmark.limit,
            seed=benchmark.seed,
            sample_count=int(count["effective"]) if count else None,
            values=values,
            higher_is_better=dict(found.get("higher_is_better", {}).get(name, {})),
            chance=chance,
            batch_sizes=self._harness_of().used_batch_sizes(),
        )


def _not_kept(kept: KeptResults, error: OSError) -> str:
    return (
        f"its result could not be kept in {kept.folder} ({error}): make room, or correct the "
        "permissions, and materialise again"
    )


def _with_items(result: Result, items: ItemScores) -> Result:
    """The result with its items and soft metrics; a metric of the task's own goes first."""
    return replace(
        result,
        values={**items.values(), **result.values},
        higher_is_better={**SOFT_METRICS, **result.higher_is_better},
        items=items.scores,
        absent=items.absent,
    )


def _common(own: int | None, fewshot: Mapping[str, int]) -> int | None:
    if own is not None:
        return int(own)
    different = set(fewshot.values())
    return int(different.pop()) if len(different) == 1 else None


def _summed(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    return {"effective": sum(int(count["effective"]) for count in counts.values())}


def _number(value: object) -> float | None:
    """A number as such; None for the texts that lm-eval gives where it has none ("N/A")."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        return None
    number = float(value)
    return None if math.isnan(number) else number


@contextlib.contextmanager
def _quiet_bootstrap() -> Iterator[None]:
    """Keep lm-eval from forking worker processes and from printing to standard output."""
    before = os.environ.get("DISABLE_MULTIPROC")
    os.environ["DISABLE_MULTIPROC"] = "1"
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if before is None:
            del os.environ["DISABLE_MULTIPROC"]
        else:
            os.environ["DISABLE_MULTIPROC"] = before
