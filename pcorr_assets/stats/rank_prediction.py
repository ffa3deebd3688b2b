"""Do the texts that some LLMs select rank LLMs that had no say?

Belongs here: held-out ranks and how good they are. Does not belong here: what
follows from them (see `verdict`).

For each fold the estimate and its `linear` weights are made without the fold's LLMs;
all N LLMs are ranked by their BPB on that mixture, and a held-out LLM's predicted rank
is its rank there. Actual ranks are over all N. Ranks are average ranks, 1 = the
smallest BPB or error.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.groups import Rows, usable
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear
from pcorr_assets.stats.ranks import average_ranks, rank_correlation

SCHEMES = ("family", "random")
PREDICTORS = ("estimate", "mean_bpb")
RANDOM_FOLDS = 5

_RANDOM_STREAM = 1


class PredictedRank(NamedTuple):
    """One held-out LLM of one scheme, as a row of the table `rank_predictions`."""

    scheme: str
    fold: str
    llm: str
    family: str
    predictor: str
    error: float
    predicted_rank: float
    actual_rank: float


@dataclass(frozen=True)
class SchemePrediction:
    """Held-out ranks of all N LLMs under one scheme and predictor.

    Attributes:
        folds: (N,) the fold that each LLM was held out in: its group's name, or a number.
        predicted: (N,) predicted ranks.
        actual: (N,) ranks of the errors.
    """

    scheme: str
    predictor: str
    folds: tuple[str, ...]
    predicted: Floats
    actual: Floats

    @property
    def rank_correlation(self) -> float:
        """Spearman's correlation of predicted and actual ranks."""
        return rank_correlation(self.predicted, self.actual)

    @property
    def rank_r2(self) -> float:
        """1 - SSE/SST of the ranks: 1 = every rank right, 0 = no better than the mean rank."""
        deviations = self.actual - self.actual.mean()
        return 1 - float(np.sum((self.predicted - self.actual) ** 2) / np.sum(deviations**2))


@dataclass(frozen=True)
class RankPredictions:
    """All schemes and predictors that could be computed, and why others could not.

    Attributes:
        predictions: by (scheme, predictor).
        impossible: by scheme, the reason in words.
    """

    predictions: dict[tuple[str, str], SchemePrediction]
    impossible: dict[str, str]
    llms: tuple[str, ...]
    families: tuple[str, ...]
    errors: Floats

    def rows(self) -> Iterator[PredictedRank]:
        """Rows of the table `rank_predictions`, but for its sample, target, level, estimator."""
        for (scheme, predictor), prediction in self.predictions.items():
            for row, llm in enumerate(self.llms):
                yield PredictedRank(
                    scheme=scheme,
                    fold=prediction.folds[row],
                    llm=llm,
                    family=self.families[row],
                    predictor=predictor,
                    error=float(self.errors[row]),
                    predicted_rank=float(prediction.predicted[row]),
                    actual_rank=float(prediction.actual[row]),
                )


def predict_ranks(
    panel: Panel, *, seed: int = 0, ordered: OrderedTexts | None = None
) -> RankPredictions:
    """Held-out ranks by the schemes `family` (leave one group out) and `random` (5-fold).

    Args:
        panel: the matrix, errors and LLMs.
        seed: of the random folds.
        ordered: of the panel's matrix, if it is there already.

    Returns:
        Predictions of both schemes, each by the estimate and by mean BPB over all texts
        (the baseline, which needs no fold). A scheme in which some fold leaves fewer than
        3 LLMs, or LLMs of equal error, is not computed; `impossible` says why.
    """
    ordered = ordered or order_texts(panel.X)
    schemes = {"family": _family_folds(panel), "random": _random_folds(panel, seed)}
    impossible = {
        scheme: reason
        for scheme, folds in schemes.items()
        if (reason := _why_impossible(panel, folds)) is not None
    }
    actual = average_ranks(panel.errors)
    baseline = average_ranks(panel.mean_bpb())
    predictions = {}
    for scheme in (name for name in SCHEMES if name not in impossible):
        folds = schemes[scheme]
        names = tuple(folds.names[number] for number in folds.numbers)
        by_predictor = {
            "estimate": _held_out_ranks(panel, folds, scheme, ordered),
            "mean_bpb": baseline,
        }
        for predictor in PREDICTORS:
            predictions[scheme, predictor] = SchemePrediction(
                scheme, predictor, names, by_predictor[predictor], actual
            )
    return RankPredictions(predictions, impossible, panel.llms, panel.families, panel.errors)


class _Folds(NamedTuple):
    """`numbers` (N,) the fold of each LLM; two folds may have one name, which is for display."""

    numbers: NDArray[np.intp]
    names: tuple[str, ...]


def _held_out_ranks(panel: Panel, folds: _Folds, scheme: str, ordered: OrderedTexts) -> Floats:
    predicted = np.empty(len(panel.llms))
    held_out = [folds.numbers == number for number in range(len(folds.names))]
    training = [_training_rows(panel, fold) for fold in held_out]
    estimates = panel.estimates(training, ordered)
    with Progress(f"rank prediction ({scheme})", total=len(training), unit="folds") as progress:
        for fold, estimate in zip(held_out, estimates, strict=True):
            weights = linear(estimate, panel.tau)
            predicted[fold] = average_ranks(panel.mixture_bpb(weights))[fold]
            progress.update()
    return predicted


def _training_rows(panel: Panel, held_out: NDArray[np.bool_]) -> Rows:
    rows = panel.all_rows
    return rows[~held_out[rows]]


def _family_folds(panel: Panel) -> _Folds:
    return _Folds(panel.groups.labels, panel.groups.names)


def _random_folds(panel: Panel, seed: int) -> _Folds:
    rows = panel.all_rows
    rng = np.random.default_rng([seed, _RANDOM_STREAM])
    count = min(RANDOM_FOLDS, rows.size)
    numbers = np.empty(rows.size, dtype=np.intp)
    numbers[rng.permutation(rows)] = np.arange(rows.size) % count
    return _Folds(numbers, tuple(str(number + 1) for number in range(count)))


def _why_impossible(panel: Panel, folds: _Folds) -> str | None:
    for number, name in sorted(enumerate(folds.names), key=lambda fold: fold[1]):
        rows = _training_rows(panel, folds.numbers == number)
        if rows.size == 0 or not usable(panel.groups, panel.errors, rows):
            return (
                f"without fold {name} there are {rows.size} LLM(s) left, too few different "
                "ones or all with the same error"
            )
    return None
