"""What more LLMs would bring: the evidence on fewer of them, and its way up from there.

Belongs here: the learning curve, and how many groups a go takes at the present effect.
Does not belong here: which LLMs to add (`candidates`), and the words (`learning_words`).

The claim of a selection stands so many standard deviations above chance. Chance falls as
the square root of the number of groups, a claim with substance stays; so this *strength* is
a line in that square root, which the curve gives. Below 0 lies what the best of many texts
claims anyway: the line starts there, between `LOWEST_START` and 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.progress import Progress
from pcorr_assets.stats.ability import ability_basis, residuals
from pcorr_assets.stats.checks import Floats
from pcorr_assets.stats.dependence import claims_by_chance
from pcorr_assets.stats.gain import selection_gain
from pcorr_assets.stats.groups import Rows, usable
from pcorr_assets.stats.ordered import OrderedTexts, order_texts
from pcorr_assets.stats.panel import Panel
from pcorr_assets.stats.sensitivity import part_of
from pcorr_assets.stats.stability import stability
from pcorr_assets.stats.threads import in_threads
from pcorr_assets.stats.verdict import LARGEST_P, ValidationSettings, decide, gain_needed

SMALLEST_SUBSET = 4
SIZES = 6
DRAWS = 12
HALVINGS = 8
RANDOMISATIONS = 100
UNIT_SHARES = (0.125, 0.25, 0.5)
# Strength at which about four of five simulated studies have p at most .05: docs/correlation.md.
WANTED_STRENGTH = 2.7
LOWEST_START = -2.0

_STREAM = 10


@dataclass(frozen=True)
class CurvePoint:
    """The evidence on some of the groups (or of the texts), as a mean over draws.

    Attributes:
        group_count: groups in each draw; `llm_count` is the mean number of their LLMs.
        unit_count: texts in each draw.
        draws: how many subsets.
        gain: expected gain, cross-fitted and shrunk.
        stability: see `stability`; None where no draw can be halved.
        power: share of draws with p at most .05; `go_share` of draws whose verdict is go.
        strength: standard deviations that the claim stands above chance.
    """

    group_count: int
    llm_count: float
    unit_count: int
    draws: int
    gain: float
    stability: float | None
    power: float
    go_share: float
    strength: float


def learning_curve(
    panel: Panel, settings: ValidationSettings, ordered: OrderedTexts | None = None
) -> list[CurvePoint]:
    """The evidence on subsets of the groups, then on all groups and subsets of the texts.

    The last point of the first kind is that of everything, with more randomisations. Sizes
    on which no draw carries an estimate are left out.

    Args:
        panel: the matrix, errors, caps and groups.
        settings: the seed; and the counts of the last point.
        ordered: of the panel's matrix, if it is there already.
    """
    ordered = ordered or order_texts(panel.X)
    rng = np.random.default_rng([settings.seed, _STREAM])
    tasks = list(_tasks(panel, rng))
    found: dict[tuple[int, int], list[_Evidence]] = {}
    with Progress("learning curve", total=len(tasks), unit="subsets") as progress:
        analysed = in_threads(
            lambda task: _analysed(panel, settings, ordered, task), tasks, entries=panel.X.size
        )
        for (groups, texts), evidence in zip(tasks, analysed, strict=True):
            size = len(panel.groups) if groups is None else len(groups)
            units = panel.text_count if texts is None else len(texts)
            if evidence is not None:
                found.setdefault((units, size), []).append(evidence)
            progress.update()
    points = [_point(size, units, evidence) for (units, size), evidence in found.items()]
    return sorted(points, key=lambda point: (-point.unit_count, point.group_count))


def groups_needed(points: Sequence[CurvePoint]) -> float:
    """Groups with which four of five worlds like this one have p at most .05; inf: none do.

    Args:
        points: of `learning_curve`; those of all texts count.
    """
    start, slope = strength_line(points)
    if slope <= 0:
        return math.inf
    return ((WANTED_STRENGTH - start) / slope) ** 2


def strength_line(points: Sequence[CurvePoint]) -> tuple[float, float]:
    """Strength as `start + slope * sqrt(groups)`, by least squares, start within its limits."""
    units = max(point.unit_count for point in points)
    own = [point for point in points if point.unit_count == units]
    root = np.array([point.group_count**0.5 for point in own])
    strength = np.array([point.strength for point in own])
    start = 0.0
    if root.size > 2:
        slope = np.cov(root, strength, bias=True)[0, 1] / root.var()
        start = float(np.clip(strength.mean() - slope * root.mean(), LOWEST_START, 0.0))
    # Through the start: every point says how steep, those of many groups most surely.
    return start, float(root @ (strength - start) / (root @ root))


def noise_share(panel: Panel, reliability: float) -> float:
    """Which share of what overall ability leaves of the errors is noise of the benchmarks.

    `(1 - reliability) var(errors) / var(rest)`, with what a curve of ability leaves (see
    `ability`); at most 1, and 1 where ability leaves nothing.

    Args:
        panel: the matrix and errors.
        reliability: of the errors over LLMs, from 0 to 1.
    """
    basis = ability_basis(panel.mean_bpb())
    rest = panel.errors - basis @ (basis.T @ panel.errors)
    left = float(rest @ rest) / max(1, panel.errors.size - basis.shape[1])
    noise = (1 - reliability) * float(panel.errors.var(ddof=1))
    return min(1.0, max(0.0, noise / left)) if left > 0 else 1.0


@dataclass(frozen=True)
class _Evidence:
    """What one draw comes to."""

    llm_count: int
    gain: float
    stability: float | None
    p_value: float
    verdict: str
    strength: float


def _tasks(panel: Panel, rng: np.random.Generator) -> Iterator[tuple[Rows | None, Rows | None]]:
    """Groups and texts of each draw; None: all."""
    count = len(panel.groups)
    sizes = np.unique(np.linspace(min(SMALLEST_SUBSET, count), count, SIZES).round().astype(int))
    for size in sizes[:-1]:
        for _ in range(DRAWS):
            yield np.sort(rng.permutation(count)[:size]), None
    yield None, None
    for share in UNIT_SHARES:
        size = int(panel.text_count * share)
        if size >= 2 and panel.tau.sum() * share > 0:
            for _ in range(DRAWS // 3):
                yield None, np.sort(rng.permutation(panel.text_count)[:size])


def _analysed(
    panel: Panel,
    settings: ValidationSettings,
    ordered: OrderedTexts,
    task: tuple[Rows | None, Rows | None],
) -> _Evidence | None:
    """The evidence of a draw; None where its LLMs carry no estimate."""
    groups, texts = task
    rows = np.sort(panel.all_rows if groups is None else panel.groups.rows_of(groups))
    if not usable(panel.groups, panel.errors, rows):
        return None
    part = part_of(panel, rows)
    if texts is None:
        return _evidence(part, settings, ordered.part(rows), whole=groups is None)
    return _evidence(_with_texts(part, texts), settings, None, whole=False)


def _with_texts(panel: Panel, texts: Rows) -> Panel:
    """The panel on some of its texts, whose caps sum to what all sum to."""
    tau = panel.tau[texts]
    return panel.with_texts(texts, tau * (panel.tau.sum() / tau.sum()))


def _evidence(
    panel: Panel, settings: ValidationSettings, ordered: OrderedTexts | None, *, whole: bool
) -> _Evidence:
    halvings = settings.halvings if whole else min(HALVINGS, settings.halvings)
    draws = settings.permutations if whole else min(RANDOMISATIONS, settings.permutations)
    ordered = ordered or order_texts(panel.X)
    steadiness = stability(panel, halvings=halvings, seed=settings.seed, ordered=ordered)
    gain = selection_gain(panel, steadiness, ordered)
    claims = claims_by_chance(
        residuals(panel.X, panel.errors),
        panel.tau,
        panel.groups,
        randomisations=draws,
        seed=settings.seed,
    )
    p_value = 1.0 if claims is None else claims.p_value
    alternative = max(gain.mean_bpb, gain.strongest_llm)
    return _Evidence(
        llm_count=len(panel.llms),
        gain=gain.value,
        stability=steadiness.value,
        p_value=p_value,
        verdict=decide(
            p_value, gain.value, gain.high, gain_needed(gain), alternative, len(panel.groups)
        ),
        strength=0.0 if claims is None else claims.strength,
    )


def _point(group_count: int, unit_count: int, found: list[_Evidence]) -> CurvePoint:
    steady: Floats = np.array([e.stability for e in found if e.stability is not None])
    return CurvePoint(
        group_count=group_count,
        llm_count=float(np.mean([e.llm_count for e in found])),
        unit_count=unit_count,
        draws=len(found),
        gain=float(np.mean([e.gain for e in found])),
        stability=float(steady.mean()) if steady.size else None,
        power=float(np.mean([e.p_value <= LARGEST_P for e in found])),
        go_share=float(np.mean([e.verdict == "go" for e in found])),
        strength=float(np.mean([e.strength for e in found])),
    )
