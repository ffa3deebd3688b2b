"""How often resampled LLM groups select each text, and how often they would by chance.

Belongs here: the group bootstrap of the selection, and its baseline. Does not belong
here: the verdict. The frequency is a stability, not a probability of being right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcorr_assets.progress import Progress
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.choice import PLAIN
from pcorr_assets.stats.groups import draw_resample
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.projection import linear

GROUPS_FOR_FREQUENCY = 5

_BOOTSTRAP_STREAM = 5
_WORLD_STREAM = 6


@dataclass(frozen=True)
class SelectionFrequency:
    """Selection frequency of D texts, or the reason why there is none.

    Attributes:
        frequency: (D,) share of resamples in which the text's `linear` weight is above 0;
            None with fewer than 5 groups.
        selected_mean: its mean over the texts that all LLMs together select.
        chance_mean: the same mean in a seeded world of exchangeable texts.
        redrawn: resamples drawn again (fewer than 3 different LLMs, or equal errors).
        reason: None, or why there is no frequency.
    """

    frequency: Floats | None
    selected_mean: float | None
    chance_mean: float | None
    redrawn: int
    reason: str | None


def selection_frequency(panel: Panel, *, resamples: int = 200, seed: int = 0) -> SelectionFrequency:
    """Bootstrap the groups (as many as there are, by multiplicity) under the same caps.

    Args:
        panel: the matrix, errors and LLMs.
        resamples: how many, for the panel and again for the world of chance.
        seed: of the resamples and of that world.
    """
    group_count = len(panel.groups)
    if group_count < GROUPS_FOR_FREQUENCY:
        return SelectionFrequency(
            None,
            None,
            None,
            0,
            f"{group_count} independent group(s) of LLMs are too few to resample, "
            f"{GROUPS_FOR_FREQUENCY} are needed",
        )
    frequency, redrawn = _bootstrap(panel, resamples, seed, "selection frequency")
    world = panel.with_matrix(exchangeable_texts(panel, seed=seed))
    by_chance, _ = _bootstrap(world, resamples, seed, "selection frequency by chance")
    return SelectionFrequency(
        frequency=frequency,
        selected_mean=_mean_of_selected(panel, frequency),
        chance_mean=_mean_of_selected(world, by_chance),
        redrawn=redrawn,
        reason=None,
    )


def exchangeable_texts(panel: Panel, *, seed: int = 0) -> np.ndarray:
    """A matrix (N, D) like the panel's in which no text is better than another.

    What is left of BPB after each LLM's and each text's mean is shuffled over the texts,
    by one permutation for each group: LLMs keep their overall level, families keep what
    their members share, and nothing ties a text to itself across groups.
    """
    dtype = np.float32 if panel.X.dtype == np.float32 else np.float64
    rng = np.random.default_rng([seed, _WORLD_STREAM])
    text_means = panel.X.mean(axis=0, dtype=np.float64)
    text_means -= text_means.mean()
    world = np.empty(panel.X.shape, dtype=dtype)
    for rows in panel.groups.members:
        order = rng.permutation(panel.text_count)
        for row in rows:
            world[row] = (panel.X[row] - text_means)[order]
    return world


def _bootstrap(panel: Panel, resamples: int, seed: int, label: str) -> tuple[Floats, int]:
    rng = np.random.default_rng([seed, _BOOTSTRAP_STREAM])
    drawn = [draw_resample(panel.groups, panel.errors, rng) for _ in range(resamples)]
    ordered = order_texts(panel.X) if panel.estimator == PLAIN else None
    estimates = panel.estimates([rows for rows, _ in drawn], ordered)
    selected = np.zeros(panel.text_count)
    with Progress(label, total=resamples, unit="resamples") as progress:
        for estimate in estimates:
            selected += linear(estimate, panel.tau) > 0
            progress.update()
    return selected / resamples, sum(redrawn for _, redrawn in drawn)


def _mean_of_selected(panel: Panel, frequency: Floats) -> float:
    return float(frequency[panel.weights(panel.all_rows) > 0].mean())
