"""What a verdict hangs on, in words.

Belongs here: which changes matter, and sentences about them. Does not belong here: the
analyses themselves (`sensitivity`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcorr_assets.stats.verdict import VERDICTS

# In the order of a report; what is left out comes first.
KINDS = ("none", "family", "benchmark", "llm", "keep_ratio", "level", "estimator")
LEFT_OUT = {"family": "family", "benchmark": "benchmark", "llm": "LLM"}
# A selection of which less than this stays is another selection.
LEAST_OVERLAP = 0.5
_NAMED = 8


@dataclass(frozen=True)
class Change:
    """One change and what it comes to, or the `reason` why it cannot be analysed.

    Attributes:
        kind: one of `KINDS`; "none" is the analysis as it is.
        changed: what is left out, or what is put in place of the setting.
        overlap: share of the selection that stays; see `sensitivity.overlap`.
    """

    kind: str
    changed: str
    verdict: str | None = None
    overlap: float | None = None
    gain: float | None = None
    p_value: float | None = None
    reason: str | None = None

    @property
    def words(self) -> str:
        """The change as the beginning of a sentence."""
        if self.kind == "none":
            return "As it is"
        if self.kind in LEFT_OUT:
            return f"Without {LEFT_OUT[self.kind]} {self.changed}"
        names = {"keep_ratio": "a keep ratio of", "level": "level", "estimator": "estimator"}
        return f"With {names[self.kind]} {self.changed}"


def matters(change: Change, base: Change) -> bool:
    """Whether a change gives another verdict, or another selection, or cannot be analysed."""
    if change.kind == "none":
        return False
    if change.verdict is None or change.overlap is None:
        return True
    return change.verdict != base.verdict or change.overlap < LEAST_OVERLAP


def hangs_on(changes: Sequence[Change]) -> list[str]:
    """Sentences: the families, benchmarks and LLMs on which the verdict or selection hangs.

    Args:
        changes: the one of kind "none", and all others.
    """
    (base,) = (change for change in changes if change.kind == "none")
    sentences = []
    for kind, name in LEFT_OUT.items():
        own = [change for change in changes if change.kind == kind]
        if not own:
            continue
        decisive = sorted((change for change in own if matters(change, base)), key=_severity)
        sentences += [_sentence(change, base) for change in decisive[:_NAMED]]
        if len(decisive) > _NAMED:
            sentences.append(f"So it is with {len(decisive) - _NAMED} more, see the table.")
        if not decisive:
            sentences.append(_steady(name, own, base))
    settings = [c for c in changes if c.kind not in ("none", *LEFT_OUT) and matters(c, base)]
    return sentences + [_sentence(change, base) for change in settings]


def _severity(change: Change) -> tuple[float, float]:
    verdict = -1 if change.verdict is None else -VERDICTS.index(change.verdict)
    return verdict, 0.0 if change.overlap is None else change.overlap


def _steady(name: str, own: Sequence[Change], base: Change) -> str:
    least = min(own, key=lambda change: change.overlap or 0.0)
    assert least.overlap is not None
    return (
        f"No single {name} decides: without any one of the {len(own)} the verdict stays "
        f"{base.verdict}, and at least {least.overlap:.0%} of the selection stays (without "
        f"{least.changed})."
    )


def _sentence(change: Change, base: Change) -> str:
    if change.verdict is None or change.overlap is None:
        return f"{change.words} there is no analysis: {(change.reason or '').rstrip('.')}."
    verdict = "stays" if change.verdict == base.verdict else f"is {change.verdict}, not"
    return (
        f"{change.words} the verdict {verdict} {base.verdict} (p {change.p_value:.3f} instead of "
        f"{base.p_value:.3f}, gain {change.gain:+.3f} instead of {base.gain:+.3f}); "
        f"{change.overlap:.0%} of the selection stays."
    )
