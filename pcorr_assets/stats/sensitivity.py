"""What would change the verdict: the same analysis of other LLMs, errors or caps.

Belongs here: an analysis (selection, gain, p-value, verdict) of any panel, panels without
some of their LLMs, and how much of two selections is the same. Does not belong here: which
changes are tried (`steps`), and what they come to in words (`sensitivity_words`).

Texts are sorted once, for all panels with LLMs of one matrix (see `ordered`). Everything
else is done anew: ability, groups, halvings, randomisations. So an analysis without a
family is what would have been found had there never been that family.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.ability import Residuals, residuals
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.dependence import residual_p
from pcorr_assets.stats.gain import selection_gain
from pcorr_assets.stats.groups import Rows, usable
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.stability import stability
from pcorr_assets.stats.verdict import (
    GROUPS_FOR_VALIDATION,
    LARGEST_P_OF_HINT,
    ValidationSettings,
    decide,
    gain_needed,
)

# A first look at p takes so many randomisations; where they leave the verdict open, all.
FIRST_RANDOMISATIONS = 200
_CLEARLY_SMALL = 0.015
_CLEARLY_LARGE = LARGEST_P_OF_HINT + 0.07


@dataclass(frozen=True)
class Analysis:
    """What the evidence comes to for one panel; the numbers are those of `verdict.Verdict`.

    `weights` (D,) are the selection's; they are no part of equality.
    """

    verdict: str
    p_value: float
    gain: float
    gain_low: float
    gain_high: float
    gain_needed: float
    stability: float | None
    llm_count: int
    group_count: int
    weights: Floats = field(compare=False, repr=False)


def analyse(
    panel: Panel,
    settings: ValidationSettings,
    ordered: OrderedTexts | None = None,
    *,
    thorough: bool = False,
) -> Analysis:
    """Selection, gain, p-value and verdict of a panel, as `verdict.judge` finds them.

    Args:
        panel: the matrix, errors, caps and groups.
        settings: counts and seed.
        ordered: of the panel's matrix, if it is there already.
        thorough: take all randomisations even where a few of them leave no doubt about the
            verdict; then every number is that of `verdict.judge`.

    Raises:
        PcorrError: fewer than 3 groups of LLMs, or LLMs that carry no estimate.
    """
    groups = panel.groups
    if len(groups) < GROUPS_FOR_VALIDATION:
        raise PcorrError(f"only {len(groups)} independent group(s) of LLMs are left")
    if not usable(groups, panel.errors, panel.all_rows):
        raise PcorrError(f"the {len(panel.llms)} LLMs that are left are too few, or all alike")
    ordered = ordered or order_texts(panel.X)
    steadiness = stability(panel, halvings=settings.halvings, seed=settings.seed, ordered=ordered)
    weights = panel.weights(panel.all_rows, ordered)
    gain = selection_gain(panel, steadiness, ordered, weights)
    p_value = _p_value(panel, settings, thorough)
    needed = gain_needed(gain)
    alternative = max(gain.mean_bpb, gain.strongest_llm)
    return Analysis(
        verdict=decide(p_value, gain.value, gain.high, needed, alternative, len(groups)),
        p_value=p_value,
        gain=gain.value,
        gain_low=gain.low,
        gain_high=gain.high,
        gain_needed=needed,
        stability=steadiness.value,
        llm_count=len(panel.llms),
        group_count=len(groups),
        weights=weights,
    )


def _p_value(panel: Panel, settings: ValidationSettings, thorough: bool) -> float:
    rest: Residuals = residuals(panel.X, panel.errors)
    wanted = settings.permutations
    first = wanted if thorough else min(wanted, FIRST_RANDOMISATIONS)
    p = residual_p(rest, panel.tau, panel.groups, randomisations=first, seed=settings.seed)
    if first == wanted or not _CLEARLY_SMALL < p < _CLEARLY_LARGE:
        return p
    return residual_p(rest, panel.tau, panel.groups, randomisations=wanted, seed=settings.seed)


def part_of(panel: Panel, rows: Rows) -> Panel:
    """The panel of these LLMs alone, each row once; their groups are made anew.

    Raises:
        PcorrError: fewer than 3 LLMs, or errors that are all the same.
    """
    return make_panel(
        panel.X[rows],
        panel.errors[rows],
        panel.tau,
        llms=[panel.llms[row] for row in rows],
        families=[panel.families[row] for row in rows],
        identities=panel.groups.identities[rows].tolist(),
        estimator=panel.estimator,
    )


def rows_without(panel: Panel, *, family: str | None = None, llm: str | None = None) -> Rows:
    """Rows of all LLMs but those of a family, or but one LLM."""
    return np.array(
        [
            row
            for row, (name, own) in enumerate(zip(panel.llms, panel.families, strict=True))
            if own != family and name != llm
        ],
        dtype=np.intp,
    )


def overlap(
    weights: Floats, other: Floats, budget: float = 1.0, other_budget: float = 1.0
) -> float:
    """Share of the smaller selection's tokens that the other selects as well.

    Args:
        weights: (D,) of one selection, summing to 1.
        other: (D,) of another one of the same texts.
        budget: tokens of the first selection, in any unit (its keep ratio).
        other_budget: those of the other, in the same unit.
    """
    both = np.minimum(weights * budget, other * other_budget).sum()
    return float(min(1.0, both / min(budget, other_budget)))
