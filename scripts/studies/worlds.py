"""Worlds of LLMs, texts and errors whose truth is known.

Belongs here: drawing a world, and what is true of its kind. Does not belong here: how
the statistics do in it (`verdicts`).

Families of LLMs differ in ability and in skill at eight topics; a topic has six domains.
BPB falls with ability and with skill at the topic, errors with ability and, unless the
world is a null world, with skill at topic 0. The names in the code are those of the
formulas in docs/studies.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pcorr_assets.stats.estimation import spearmanr
from pcorr_assets.stats.panel import Panel, make_panel

TOPICS = 8
LLMS_OF_TRUTH = 6000


@dataclass(frozen=True)
class Cell:
    """A kind of world: everything but its seed.

    `size` multiplies ability: 1 as it is, about 4 where model size dominates. `link` bends
    the error's logit, `heavy` draws everything from t with 3 degrees of freedom, `unequal`
    makes families of one to many LLMs, `uneven` gives domains shares of 1 to 20.
    """

    llms: int
    families: int
    sigma: float
    null: bool
    size: float = 1.0
    link: str = "linear"
    heavy: bool = False
    unequal: bool = False
    uneven: bool = False
    domains: int = 48

    @property
    def topic(self) -> np.ndarray:
        """(D,) the topic of each domain."""
        return np.arange(self.domains) * TOPICS // self.domains


def draw(cell: Cell, seed: list[int], *, llms: int = 0, families: int = 0) -> Panel:
    """The world of a seed; with `llms` and `families` one of the same kind, larger."""
    rng = np.random.default_rng(seed)
    count, family_count = llms or cell.llms, families or cell.families
    family = _families(count, family_count, cell.unequal)

    def noise(*shape: int) -> np.ndarray:
        if cell.heavy:
            return rng.standard_t(3, size=shape) / 3**0.5
        return rng.normal(size=shape)

    def skills() -> np.ndarray:
        return 0.6 * noise(family_count, TOPICS)[family] + 0.8 * noise(count, TOPICS)

    ability = cell.size * (0.7 * noise(family_count)[family] + 0.7 * noise(count))
    skill = skills()
    X = (
        1
        - 0.10 * ability[:, np.newaxis]
        - 0.05 * skill[:, cell.topic]
        + 0.02 * 0.3 * noise(family_count, cell.domains)[family]
        + 0.02 * noise(count, cell.domains)
    )
    logit = -ability + cell.sigma * noise(count) + 0.3 * noise(family_count)[family]
    if not cell.null:
        logit -= skill[:, 0]
    shares = np.ones(cell.domains)
    if cell.uneven:
        shares = np.exp(np.random.default_rng(0).uniform(0, np.log(20), size=cell.domains))
    return make_panel(
        X,
        _error(logit, cell.link),
        TOPICS * shares / shares.sum(),
        llms=[f"llm-{row:05}" for row in range(count)],
        families=[f"family-{number:05}" for number in family],
    )


def true_correlations(cell: Cell) -> np.ndarray:
    """(D,) the rank correlation of each domain in the population of LLMs.

    Of very many LLMs of very many families, and the same for all domains of topic 0 and
    for all others, which differ by chance alone. Families are of equal size: one LLM is like
    any other whatever their sizes, and a few large families would leave much to chance.
    """
    cell = replace(cell, unequal=False)
    panel = draw(cell, [1, 2, 3], llms=LLMS_OF_TRUTH, families=LLMS_OF_TRUTH // 2)
    rho = spearmanr(panel.X, panel.errors)
    on_topic = (cell.topic == 0) & (not cell.null)
    other = rho[~on_topic].mean()
    return np.where(on_topic, rho[on_topic].mean() if on_topic.any() else other, other)


def _families(count: int, family_count: int, unequal: bool) -> np.ndarray:
    if not unequal:
        return np.arange(count) * family_count // count
    sizes = np.ones(family_count, dtype=int)
    # Each next family takes half of what is left: a few large ones, many of one LLM.
    left, place = count - family_count, 0
    while left:
        taken = max(1, left // 2)
        sizes[place % family_count] += taken
        left, place = left - taken, place + 1
    return np.repeat(np.arange(family_count), sizes)


def _error(logit: np.ndarray, link: str) -> np.ndarray:
    if link == "sigmoid":
        return 1 / (1 + np.exp(-logit))
    if link == "step":
        return np.round(12 / (1 + np.exp(-(logit - logit.mean()) / logit.std())))
    return logit
