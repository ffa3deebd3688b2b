"""What to do next, in words.

Belongs here: sentences about more LLMs, made from a learning curve. Does not belong here:
the curve (`learning`), and which LLMs those would be (`candidates`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from pcorr_assets.stats.learning import CurvePoint, groups_needed
from pcorr_assets.stats.sensitivity import Analysis
from pcorr_assets.stats.verdict import GROUPS_FOR_GO, LARGEST_P

# Nobody finds more than so many times the families that there are.
WITHIN_REACH = 5
NO_EFFECT = 50
MUCH_NOISE = 0.5


def next_step(now: Analysis, points: Sequence[CurvePoint], noise: float | None) -> str:
    """A few sentences: how many more families for a go, or what would help instead.

    Args:
        now: the analysis of all LLMs.
        points: of `learning_curve`.
        noise: see `learning.noise_share`; None where it is not known.
    """
    if now.verdict == "go":
        return (
            f"The verdict is go. More LLMs make it surer: about {3 * now.group_count} more "
            "families like these would halve the interval of the gain."
        )
    if now.p_value <= LARGEST_P:
        return _enough_evidence(now)
    wanted = groups_needed(points)
    if wanted <= WITHIN_REACH * now.group_count:
        more = max(1, math.ceil(wanted) - now.group_count, GROUPS_FOR_GO - now.group_count)
        return _more_families(now, more) + _noise_helps(noise)
    return _out_of_reach(now, wanted, noise)


def _enough_evidence(now: Analysis) -> str:
    """The errors depend on which texts, and still the verdict is no go."""
    if now.group_count < GROUPS_FOR_GO:
        return (
            f"At least {GROUPS_FOR_GO - now.group_count} more independent families of LLMs: a go "
            f"takes {GROUPS_FOR_GO}."
        )
    if now.gain < now.gain_needed <= now.gain_high:
        return (
            "The errors depend on which texts, but what is selected gains too little, as far as is "
            "known. More LLMs narrow the interval, which reaches to a gain worth having; texts of "
            "other kinds, or a smaller keep ratio, may gain more."
        )
    if now.gain < now.gain_needed:
        return (
            "The errors depend on which texts, but the gain is too little to be worth having, and "
            "more LLMs will not change that. Take texts of other kinds, a smaller keep ratio, or "
            "another level."
        )
    return (
        "A selection that needs no correlation gains more than this one can. More LLMs will not "
        "change that: take the simpler selection."
    )


def _more_families(now: Analysis, more: int) -> str:
    families = "family" if more == 1 else "families"
    size = now.llm_count / now.group_count
    return (
        f"About {more} more {families} of LLMs for a go at the present effect (of {size:.1f} LLMs "
        "each, as now; with so many, four of five studies would find it)."
    )


def _noise_helps(noise: float | None) -> str:
    if noise is None or noise < MUCH_NOISE:
        return ""
    return (
        f" Fewer do where the errors are measured better: {noise:.0%} of what overall ability "
        "leaves of them is noise of the items. Evaluate on more items, or on more benchmarks of "
        "the same kind."
    )


def _out_of_reach(now: Analysis, wanted: float, noise: float | None) -> str:
    if noise is not None and noise >= MUCH_NOISE:
        return (
            f"More LLMs will not help, the errors do: {noise:.0%} of what overall ability leaves "
            "of them is noise of the items. Evaluate on more items, or on more benchmarks of the "
            "same kind."
        )
    effect = (
        "there is no effect that would show with any number of families"
        if wanted > NO_EFFECT * now.group_count
        else f"the present effect would take about {wanted:,.0f} families for a go, and there are "
        f"{now.group_count}"
    )
    unknown = (
        " How much of the errors is noise is not known here; if they rest on few items, begin "
        "with these."
        if noise is None
        else ""
    )
    return (
        f"More LLMs like these will not help: {effect}. Texts of other kinds, another level or "
        f"another target may.{unknown}"
    )
