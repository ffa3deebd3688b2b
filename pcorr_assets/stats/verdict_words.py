"""A verdict in plain words: what was found, what it is worth, and what would help.

Belongs here: sentences made from numbers. Does not belong here: the numbers and the rule
(`verdict`).
"""

from __future__ import annotations

from dataclasses import dataclass

from pcorr_assets.stats.gain import Gain
from pcorr_assets.stats.stability import Stability

ADVICE = (
    "More LLM families, texts of other kinds, or another level (domain instead of page) "
    "may give a clearer answer."
)


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on; see `verdict.Verdict` for the numbers."""

    p_value: float
    gain: Gain
    gain_needed: float
    delta: float
    delta_low: float
    delta_high: float
    steadiness: Stability
    group_count: int


def cannot_be_validated(why: str) -> str:
    """The reason of a verdict for which there are too few LLMs."""
    return f"The estimate cannot be validated: {why}. Add LLM families."


def in_words(verdict: str, evidence: Evidence, *, largest_p: float, groups_for_go: int) -> str:
    """The `reason` of a verdict, a few sentences."""
    sentences = [
        _dependence(evidence.p_value, largest_p),
        _gain(evidence.gain, evidence.gain_needed),
        _alternatives(evidence.gain),
        _ranking(evidence),
        _steadiness(evidence.steadiness),
    ]
    if evidence.group_count < groups_for_go:
        sentences.append(
            f"With {evidence.group_count} independent groups of LLMs the verdict is caution at "
            f"best; {groups_for_go} are needed."
        )
    if verdict != "go":
        sentences.append(ADVICE)
    return " ".join(sentences)


def _dependence(p: float, largest_p: float) -> str:
    shown = f"p = {p:.3f}, at most {largest_p:.2f} needed"
    if p <= largest_p:
        return f"The errors depend on which texts, beyond overall ability ({shown})."
    return (
        f"The errors may depend on overall ability alone, and not on which texts ({shown}): "
        "without any such dependence a selection looks as good as this one in "
        f"{p:.0%} of cases."
    )


def _gain(gain: Gain, needed: float) -> str:
    worth = "worth having" if gain.value >= needed else "too little to be worth having"
    doubt = ", though it may be less" if gain.value >= needed > gain.low else ""
    return (
        f"What is selected is expected to have a rank correlation {gain.value:+.3f} above that "
        f"of random texts, which have {gain.random_texts:.3f} (90 % interval {gain.low:+.3f} to "
        f"{gain.high:+.3f}): {worth}{doubt} (at least {needed:+.3f})."
    )


def _alternatives(gain: Gain) -> str:
    others = (
        f"The texts of lowest mean BPB gain {gain.mean_bpb:+.3f}, those that the strongest LLM "
        f"finds easiest {gain.strongest_llm:+.3f}"
    )
    if max(gain.mean_bpb, gain.strongest_llm) > gain.high:
        return f"{others}: taking those is simpler, and better."
    return f"{others}."


def _ranking(evidence: Evidence) -> str:
    beats = "beats" if evidence.delta_low > 0 else "does not clearly beat"
    return (
        f"Held-out LLMs: the selected texts rank them so that it {beats} mean BPB over all texts "
        f"(delta {evidence.delta:+.3f}, 90 % interval {evidence.delta_low:+.3f} to "
        f"{evidence.delta_high:+.3f})."
    )


def _steadiness(steadiness: Stability) -> str:
    if steadiness.value is None:
        return f"Stability is unknown: {steadiness.reason}."
    return (
        "A selection made on half of the LLM groups is worth "
        f"{steadiness.value:.2f} of the other half's own (stability)."
    )
