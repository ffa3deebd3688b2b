"""Does a selection help? Small LLMs trained on it and on others of the same size.

Belongs here: training one LLM on given documents, its error on a target's benchmarks, and
the comparison over paired seeds. Does not belong here: making a selection (`filters`),
and reading its scores from the warehouse.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from pcorr_assets.demo import tasks, train
from pcorr_assets.demo.train import Schedule, Shape
from pcorr_assets.demo.world import POOL, TOKEN_BUDGET, World
from pcorr_assets.errors import PcorrError
from pcorr_assets.progress import Progress
from pcorr_assets.text.files import iter_file
from pcorr_assets.warehouse import connect

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

logger = logging.getLogger(__name__)

SHAPE = Shape("llama", width=64, layer_count=2, head_count=4)
TOKENIZER_VOCAB_SIZE = 2400
TOKENIZER_DOCUMENTS = 400
BATCH_SIZE = 5
SEQUENCE_LENGTH = 112

# The trial counts tokens with a tokenizer of its own, so its budget stays below the pool's.
TRIAL_TOKENS = int(TOKEN_BUDGET * 0.85)

SCORES = "SELECT document_id, score, token_count FROM pool_scores WHERE pool = ? AND target = ?"


@dataclass(frozen=True)
class Trial:
    """What all LLMs of a comparison share, so that only their documents differ.

    Each has one `shape`, reads `token_count` tokens of its documents `passes` times over, with
    one `tokenizer`, and is evaluated by lm-eval on `benchmarks` (task names in `task_folder`).
    """

    tokenizer: PreTrainedTokenizerFast
    task_folder: Path
    benchmarks: tuple[str, ...]
    token_count: int
    passes: int = 3
    shape: Shape = SHAPE

    @property
    def schedule(self) -> Schedule:
        """As many steps as the passes take."""
        per_step = BATCH_SIZE * SEQUENCE_LENGTH
        return Schedule(self.passes * self.token_count // per_step, BATCH_SIZE, SEQUENCE_LENGTH)


@dataclass(frozen=True)
class Difference:
    """How much lower one arm's error is than another's: mean and standard error over seeds."""

    mean: float
    standard_error: float

    @property
    def in_standard_errors(self) -> float:
        """The mean, in standard errors; infinite where all seeds agree exactly."""
        if self.standard_error > 0:
            return self.mean / self.standard_error
        return math.copysign(math.inf, self.mean) if self.mean else 0.0


def make_trial(world: World, target: str, token_count: int, passes: int = 3) -> Trial:
    """The trial of one target of a world; the tokenizer is trained on random pool documents.

    `token_count` is in that tokenizer's tokens, a few percent off what another one counts:
    choose it a tenth below the budget that the arms were filled to.
    """
    texts = list(pool_texts(world).values())
    chosen = Random(f"{world.seed}/comparison").sample(texts, min(TOKENIZER_DOCUMENTS, len(texts)))
    return Trial(
        tokenizer=train.train_tokenizer(chosen, TOKENIZER_VOCAB_SIZE),
        task_folder=world.folder / "tasks",
        benchmarks=tasks.task_names(world.targets[target]),
        token_count=token_count,
        passes=passes,
    )


def train_and_evaluate(documents: Sequence[str], seed: int, trial: Trial) -> float:
    """Train an LLM as `train_on` does; its mean error over the benchmarks, 0 to 1."""
    scores = evaluate(train_on(documents, seed, trial), trial)
    return 1 - fmean(scores.values())


def train_on(documents: Sequence[str], seed: int, trial: Trial) -> PreTrainedModel:
    """Train an LLM from scratch on `documents`.

    The documents are shuffled with `seed`, which also draws the weights, and cut after
    `trial.token_count` tokens. Raises PcorrError if they hold fewer: an arm that reads its
    documents more often than another would not be compared fairly.
    """
    order = Random(f"{seed}/documents").sample(list(documents), len(documents))
    stream = train.token_stream(trial.tokenizer, order)
    if len(stream) < trial.token_count:
        raise PcorrError(
            f"{len(documents)} documents hold {len(stream)} tokens; the trial needs "
            f"{trial.token_count} of every arm. Lower token_count or choose more documents"
        )
    model = train.make_model(trial.shape, len(trial.tokenizer), seed)
    train.train(model, stream[: trial.token_count], trial.schedule, seed)
    return model


def evaluate(model: PreTrainedModel, trial: Trial) -> dict[str, float]:
    """Accuracy of a model in memory on each benchmark of the trial, by lm-eval."""
    import lm_eval.evaluator
    from lm_eval.models import huggingface
    from lm_eval.tasks import TaskManager

    make_harness: Any = huggingface.HFLM
    folder = trial.task_folder.absolute()
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    # The tasks name their data as files beside them.
    with contextlib.chdir(folder):
        found: Any = lm_eval.evaluator.simple_evaluate(
            model=make_harness(
                pretrained=model, tokenizer=trial.tokenizer, batch_size=32, device="cpu"
            ),
            tasks=list(trial.benchmarks),
            task_manager=manager,
            bootstrap_iters=0,
            log_samples=False,
        )
    return {name: float(found["results"][name]["acc,none"]) for name in trial.benchmarks}


def pool_texts(world: World) -> dict[str, str]:
    """All documents of the world's pool, by id."""
    return {
        row["id"]: row["text"]
        for path in sorted((world.folder / "pool").iterdir())
        for rows in iter_file(path, ["id", "text"])
        for row in rows
    }


def scores_of(home: Path, target: str) -> tuple[dict[str, float], dict[str, int]]:
    """Score and tokens of every document of the world's pool, by id, as the warehouse has them."""
    with connect(home) as connection:
        rows = connection.execute(SCORES, [POOL, target]).fetchall()
    return {row[0]: row[1] for row in rows}, {row[0]: row[2] for row in rows}


def selected_against_random(world: World, target: str, seed: int) -> dict[str, float]:
    """The error of one LLM trained on the filter's selection, and of one on random documents."""
    scores, token_counts = scores_of(world.home, target)
    arms = draw_arms(scores, token_counts, TOKEN_BUDGET, seed)
    both = {name: arms[name] for name in ("selected", "random")}
    errors = compare(pool_texts(world), {seed: both}, make_trial(world, target, TRIAL_TOKENS))
    return {name: found for name, (found,) in errors.items()}


def take_tokens(
    document_ids: Iterable[str], token_counts: Mapping[str, int], budget: int
) -> list[str]:
    """Documents in the order given until their tokens reach `budget`, the last one included."""
    taken: list[str] = []
    token_count = 0
    for document_id in document_ids:
        if token_count >= budget:
            break
        taken.append(document_id)
        token_count += token_counts[document_id]
    return taken


def draw_arms(
    scores: Mapping[str, float],
    token_counts: Mapping[str, int],
    budget: int,
    seed: int,
    permuted_scores: Mapping[str, float] | None = None,
) -> dict[str, list[str]]:
    """Document ids of each arm, all of the same budget of tokens.

    `selected` has the highest scores, `reverse` the lowest, `random` is drawn with
    `seed`, `permuted` has the highest scores of a filter made from permuted errors (left
    out without them). Ties are broken by document id.
    """
    best_first = sorted(scores, key=lambda key: (-scores[key], key))
    orders = {
        "selected": best_first,
        "random": Random(f"{seed}/random").sample(sorted(scores), len(scores)),
        "reverse": best_first[::-1],
    }
    if permuted_scores is not None:
        orders["permuted"] = sorted(permuted_scores, key=lambda key: (-permuted_scores[key], key))
    return {name: take_tokens(order, token_counts, budget) for name, order in orders.items()}


def compare(
    texts: Mapping[str, str],
    arms_by_seed: Mapping[int, Mapping[str, Sequence[str]]],
    trial: Trial,
) -> dict[str, list[float]]:
    """The error of every arm for every seed, in the order of the seeds.

    `arms_by_seed` gives document ids for each seed and arm. The LLMs of one seed start
    from the same weights, so that arms can be compared seed by seed.
    """
    errors: dict[str, list[float]] = {}
    count = sum(len(arms) for arms in arms_by_seed.values())
    with Progress("compare selections", total=count, unit="LLMs", every=30) as progress:
        for seed, arms in arms_by_seed.items():
            for name, document_ids in arms.items():
                error = train_and_evaluate([texts[key] for key in document_ids], seed, trial)
                errors.setdefault(name, []).append(error)
                logger.info("seed %d, %s: error %.3f", seed, name, error)
                progress.update()
    return errors


def lower_by(errors: Mapping[str, Sequence[float]], arm: str, other: str = "random") -> Difference:
    """How much lower the error of `arm` is than that of `other`, paired by seed.

    Raises PcorrError for fewer than two seeds, from which no standard error follows.
    """
    differences = [b - a for a, b in zip(errors[arm], errors[other], strict=True)]
    if len(differences) < 2:
        raise PcorrError("a standard error needs at least two seeds")
    return Difference(fmean(differences), stdev(differences) / math.sqrt(len(differences)))
