"""How verdict, gain and inclusion probability do in worlds whose truth is known.

Belongs here: one world's outcomes, by the platform's rule and by others. Does not belong
here: the worlds (`worlds`), and the page (`page`).
"""

from __future__ import annotations

import numpy as np

from pcorr_assets.stats.ability import residuals
from pcorr_assets.stats.dependence import claims_by_chance, randomised, selected_means
from pcorr_assets.stats.gain import selection_gain
from pcorr_assets.stats.inclusion import inclusion_probability
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.rank_prediction import predict_ranks
from pcorr_assets.stats.stability import stability
from pcorr_assets.stats.verdict import (
    ValidationSettings,
    decide,
    delta_interval,
    gain_needed,
    permutation_p,
)
from scripts.studies.worlds import Cell, draw

HALVINGS = 50
RANDOMISATIONS = 200
RIVALS = ("largest", "quadratic", "halves", "topics known", "topic known")


def outcome(cell: Cell, seed: int, rho: np.ndarray, *, rivals: bool, former: bool) -> dict:
    """What the platform says of one world, beside the truth.

    Args:
        cell: the kind of world.
        seed: its number.
        rho: (D,) true correlations.
        rivals: whether to try the other tests as well.
        former: whether to try the former rule, which takes longest.
    """
    panel = draw(cell, [seed, cell.llms, int(100 * cell.sigma), cell.null])
    ordered = order_texts(panel.X)
    steadiness = stability(panel, halvings=HALVINGS, ordered=ordered)
    gain = selection_gain(panel, steadiness, ordered)
    rest = residuals(panel.X, panel.errors)
    claims = claims_by_chance(rest, panel.tau, panel.groups, randomisations=RANDOMISATIONS, seed=0)
    if claims is None:
        raise RuntimeError("a world whose errors are ability alone")
    p = claims.p_value
    best = max(gain.mean_bpb, gain.strongest_llm)
    verdict = decide(p, gain.value, gain.high, gain_needed(gain), best, cell.families)
    weights = panel.weights(panel.all_rows)
    truth = float(weights @ rho - rho.mean())
    found = {
        "go": verdict == "go",
        "p": p,
        "strength": claims.strength,
        "headroom": 1 - gain.random_texts,
        "simpler is better": best > gain.high,
        "covered": gain.low <= truth <= gain.high,
        "bias": gain.value - truth,
        "truth": truth,
        "on topic": float(weights[cell.topic == 0].sum()),
    }
    if not cell.null and not cell.uneven:
        probability = inclusion_probability(panel, steadiness, draws=100).probability
        if probability is not None:
            found["bins"] = _bins(probability, cell.topic == 0)
    if rivals:
        found["rivals"] = _rivals(panel, cell)
    if former:
        found["former"] = former_rule(panel, steadiness.value)
    return found


def former_rule(panel: Panel, stable: float | None) -> bool:
    """Go by the rule before this one: delta above 0 for certain, and stability of a half."""
    predictions = predict_ranks(panel).predictions
    low, _ = delta_interval(
        panel,
        predictions["family", "estimate"].predicted,
        predictions["family", "mean_bpb"].predicted,
        ValidationSettings().bootstrap,
        0,
    )
    holds = stable is not None and stable >= 0.5
    return bool(low > 0 and holds and permutation_p(panel, permutations=99) <= 0.05)


def _rivals(panel: Panel, cell: Cell) -> dict[str, float]:
    """p-values of other statistics on the same residuals and draws of signs.

    The last two are bounds: what one could find who knows which domains are of one topic,
    or which topic it is.
    """
    rest = residuals(panel.X, panel.errors)
    rng = np.random.default_rng(0)
    drawn = randomised(rest.errors, panel.groups, RANDOMISATIONS, rng, apart=True)
    drawn -= (drawn @ rest.basis) @ rest.basis.T
    errors = np.vstack([rest.errors, drawn])
    errors /= np.linalg.norm(errors, axis=1, keepdims=True)
    scores = errors @ rest.texts
    within = sum((errors[:, rows] @ rest.texts[rows]) ** 2 for rows in panel.groups.members)
    topics = np.column_stack([scores[:, cell.topic == t].mean(axis=1) for t in set(cell.topic)])
    statistics = {
        "largest": scores.max(axis=1),
        "quadratic": (scores**2 - within).sum(axis=1),
        "halves": _halves(panel, errors, rest.texts),
        "topics known": topics.max(axis=1),
        "topic known": topics[:, 0],
    }
    return {name: float((t >= t[0] - 1e-9).mean()) for name, t in statistics.items()}


def _halves(panel: Panel, errors: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Selected on one half of the groups, measured on the other, over random halvings."""
    rng = np.random.default_rng(1)
    whole = errors @ texts
    total = np.zeros(errors.shape[0])
    for _ in range(8):
        rows = panel.groups.rows_of(rng.permutation(len(panel.groups))[: len(panel.groups) // 2])
        half = errors[:, rows] @ texts[rows]
        for chosen, other in ((half, whole - half), (whole - half, half)):
            order = np.argsort(-chosen, axis=1)[:, : max(1, round(1 / panel.tau[0]))]
            total += np.take_along_axis(other, order, axis=1).mean(axis=1) - other.mean(axis=1)
    return total


def _bins(probability: np.ndarray, truth: np.ndarray) -> list[list[float]]:
    """By tenth: how many units, the sum of their probabilities, how many belong."""
    place = np.minimum((10 * probability).astype(int), 9)
    return [
        [
            int((place == b).sum()),
            float(probability[place == b].sum()),
            int(truth[place == b].sum()),
        ]
        for b in range(10)
    ]


__all__ = ["RIVALS", "former_rule", "outcome", "selected_means"]
