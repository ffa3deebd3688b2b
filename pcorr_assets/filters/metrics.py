"""How good a filter is on pages it has never seen, beside chance.

Belongs here: the numbers of `fasttext_filters`, from scores and labels. Does not belong
here: making the scores (`model`) and deciding what is good enough (asset checks).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pcorr_assets.errors import PcorrError

THRESHOLD = 0.5
RANDOM_ORDERS = 200


@dataclass(frozen=True)
class Metrics:
    """Metrics of one filter on the test pages, all shares in [0, 1].

    Page by page: `precision`, `recall`, `f1` at threshold 0.5 (None without a page above
    it), `roc_auc`, `average_precision`. By tokens, of the pages taken from the top of the
    score until they hold `keep_ratio` of the test tokens: `budget_precision` is the share
    of the taken tokens that is labelled include, `budget_recall` the share of the tokens
    labelled include that is taken.
    """

    precision: float | None
    recall: float | None
    f1: float | None
    roc_auc: float | None
    average_precision: float | None
    budget_precision: float | None
    budget_recall: float | None

    def columns(self, prefix: str = "") -> dict[str, float | None]:
        """The columns of `fasttext_filters`, with the prefix of the control."""
        return {f"{prefix}{name}": value for name, value in asdict(self).items()}


def evaluate(
    scores: np.ndarray,
    is_included: np.ndarray,
    token_counts: np.ndarray,
    page_ids: list[str],
    keep_ratio: float,
) -> Metrics:
    """Metrics of `scores` (N,), higher for include, against the labels (N,).

    Pages of equal score are taken in the order of their ids.

    Raises:
        PcorrError: the labels are of one class.
    """
    from sklearn.metrics import average_precision_score, roc_auc_score

    included_count = int(is_included.sum())
    if not 0 < included_count < len(is_included):
        raise PcorrError(
            f"{included_count} of {len(is_included)} test pages are labelled include: metrics "
            "need both classes"
        )
    positive = scores >= THRESHOLD
    true_positive = int((positive & is_included).sum())
    precision = true_positive / int(positive.sum()) if positive.any() else None
    recall = true_positive / included_count
    taken = top_of_budget(scores, token_counts, page_ids, keep_ratio)
    budget_precision, budget_recall = _at_budget(taken, is_included, token_counts)
    return Metrics(
        precision,
        recall,
        2 * true_positive / (int(positive.sum()) + included_count),
        float(roc_auc_score(is_included, scores)),
        float(average_precision_score(is_included, scores)),
        budget_precision,
        budget_recall,
    )


def top_of_budget(
    scores: np.ndarray, token_counts: np.ndarray, page_ids: list[str], keep_ratio: float
) -> np.ndarray:
    """Which pages (N,) bool hold the top `keep_ratio` of the tokens.

    Whole pages in descending order of score, ties by page id, until their tokens reach
    `keep_ratio` of all: the last page taken is the one that reaches it.
    """
    order = np.lexsort((np.array(page_ids), -scores))
    taken = np.zeros(len(scores), bool)
    taken[order[: _reach(token_counts[order], keep_ratio)]] = True
    return taken


def _reach(token_counts: np.ndarray, keep_ratio: float) -> int:
    """How many leading pages it takes to hold `keep_ratio` of the tokens."""
    cumulative = np.cumsum(token_counts)
    # The tolerance keeps 0.1 of 30 tokens at 3, whatever the product rounds to.
    budget = keep_ratio * cumulative[-1] * (1 - 1e-12)
    return int(np.searchsorted(cumulative, budget)) + 1


def _at_budget(
    taken: np.ndarray, is_included: np.ndarray, token_counts: np.ndarray
) -> tuple[float | None, float | None]:
    right = int(token_counts[taken & is_included].sum())
    taken_tokens = int(token_counts[taken].sum())
    wanted_tokens = int(token_counts[is_included].sum())
    return (
        right / taken_tokens if taken_tokens else None,
        right / wanted_tokens if wanted_tokens else None,
    )


def random_metrics(
    is_included: np.ndarray, token_counts: np.ndarray, keep_ratio: float, seed: int
) -> tuple[Metrics, float]:
    """A filter that scores at random: its expected metrics, and how lucky it can get.

    At threshold 0.5 it takes every other page; ROC AUC is 1/2 and average precision about
    the share of include pages. At the budget the means over 200 seeded orders. The second
    value is the 95th percentile of `budget_precision` over these orders.
    """
    generator = np.random.default_rng(seed)
    at_budget = np.empty((RANDOM_ORDERS, 2))
    for index in range(RANDOM_ORDERS):
        order = generator.permutation(len(is_included))
        taken = np.zeros(len(is_included), bool)
        taken[order[: _reach(token_counts[order], keep_ratio)]] = True
        precision, recall = _at_budget(taken, is_included, token_counts)
        at_budget[index] = (
            math.nan if precision is None else precision,
            math.nan if recall is None else recall,
        )
    means = [None if np.isnan(column).any() else float(column.mean()) for column in at_budget.T]
    share = float(is_included.mean())
    metrics = Metrics(share, 0.5, share / (share + 0.5), 0.5, share, means[0], means[1])
    return metrics, float(np.quantile(at_budget[:, 0], 0.95))


def beats_random(budget_precision: float | None, lucky_random: float) -> bool:
    """Is the filter at the budget better than 95 % of random ones?"""
    return budget_precision is not None and budget_precision > lucky_random


def class_counts(
    is_test: np.ndarray, is_included: np.ndarray, token_counts: np.ndarray
) -> dict[str, Any]:
    """Pages and tokens by split and class, as columns of `fasttext_filters`."""
    counts: dict[str, Any] = {}
    for split, in_split in (("train", ~is_test), ("test", is_test)):
        for name, in_class in (("include", is_included), ("exclude", ~is_included)):
            rows = in_split & in_class
            counts[f"{split}_{name}_pages"] = int(rows.sum())
            counts[f"{split}_{name}_tokens"] = int(token_counts[rows].sum())
    return counts
