"""Known metrics: which way is better, and between which values they lie.

Belongs here: facts about metrics, as data. Does not belong here: turning a score into an
error (`lm.results`), and what guessing scores (`plausibility.llms`).

A metric is named here only if every implementation of its name has this direction and
range. BLEU and chrF go to 100 where sacrebleu computes them (lm-eval's own do) and to 1
elsewhere, so their direction is known and their best value has to be said. `gold_bpb` and
`choice_probability` are made here of lm-eval's answers (`lm.item_scores`).
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Metric(NamedTuple):
    """One metric: `best` None where it depends on who computes it."""

    lower_is_better: bool
    worst: float
    best: float | None


_SHARE = Metric(lower_is_better=False, worst=0.0, best=1.0)
_CORRELATION = Metric(lower_is_better=False, worst=-1.0, best=1.0)
_OVERLAP = Metric(lower_is_better=False, worst=0.0, best=None)
_PERPLEXITY = Metric(lower_is_better=True, worst=math.inf, best=1.0)

METRICS: dict[str, Metric] = {
    **dict.fromkeys(
        ("acc", "acc_norm", "acc_bytes", "acc_mutual_info", "acc_all", "exact_match", "f1"),
        _SHARE,
    ),
    "choice_probability": _SHARE,
    **dict.fromkeys(("mcc", "pearson", "pearsonr", "spearman", "spearmanr"), _CORRELATION),
    **dict.fromkeys(("bleu", "chrf", "chrf++"), _OVERLAP),
    **dict.fromkeys(("perplexity", "word_perplexity", "byte_perplexity"), _PERPLEXITY),
    **dict.fromkeys(
        ("bits_per_byte", "gold_bpb"), Metric(lower_is_better=True, worst=math.inf, best=0.0)
    ),
    "brier_score": Metric(lower_is_better=True, worst=2.0, best=0.0),
    "ter": Metric(lower_is_better=True, worst=math.inf, best=0.0),
}


def known(metric: str) -> Metric | None:
    """What is known of a metric, with or without a filter after a comma."""
    return METRICS.get(metric.partition(",")[0])
