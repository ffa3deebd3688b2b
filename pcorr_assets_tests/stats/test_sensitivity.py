"""What a verdict hangs on: against the verdict with the rows really removed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.ordered import order_texts
from pcorr_assets.stats.panel import Panel, make_panel
from pcorr_assets.stats.sensitivity import analyse, overlap, part_of, rows_without
from pcorr_assets.stats.sensitivity_words import Change, hangs_on, matters
from pcorr_assets.stats.verdict import ValidationSettings, judge

QUICK = ValidationSettings(bootstrap=20, halvings=8, permutations=100)


def panel_of(world, estimator: str = "spearmanr") -> Panel:
    return make_panel(
        world.X, world.errors, world.tau,
        llms=world.llms, families=world.families, estimator=estimator,
    )  # fmt: skip


def judged(panel: Panel) -> dict:
    verdict = judge(panel, settings=QUICK)
    names = ("verdict", "p_value", "gain", "gain_low", "gain_high", "gain_needed", "stability")
    return {name: getattr(verdict, name) for name in (*names, "llm_count", "group_count")}


def analysed(panel: Panel, ordered) -> dict:
    found = analyse(panel, QUICK, ordered)
    return {name: value for name, value in vars(found).items() if name != "weights"}


@pytest.mark.parametrize("estimator", ["spearmanr", "sign"])
@pytest.mark.parametrize("left_out", [{"family": "family-03"}, {"llm": "llm-006"}, {}])
def test_an_analysis_is_the_verdict_had_the_rows_never_been_there(
    make_world: Callable, estimator: str, left_out: dict
) -> None:
    world = make_world(7, error_noise=0.6, family_count=9)
    panel = panel_of(world, estimator)
    rows = rows_without(panel, **left_out)
    found = analysed(part_of(panel, rows), order_texts(panel.X).part(rows))
    kept = [
        row
        for row, (llm, family) in enumerate(zip(world.llms, world.families, strict=True))
        if llm != left_out.get("llm") and family != left_out.get("family")
    ]
    removed = make_panel(
        world.X[kept], world.errors[kept], world.tau,
        llms=[world.llms[row] for row in kept],
        families=[world.families[row] for row in kept],
        estimator=estimator,
    )  # fmt: skip
    assert found == judged(removed)
    assert len(kept) == len(rows) == 18 - (2 if "family" in left_out else len(left_out))


def test_the_verdict_hangs_on_the_family_that_makes_it(make_world: Callable) -> None:
    """One family alone knows the topic and has low errors; without it nothing is found."""
    world = make_world(3, topic_strength=0.0, family_count=10, llms_per_family=3)
    X, errors = world.X.copy(), world.errors.copy()
    own = np.flatnonzero(np.array(world.families) == "family-04")
    X[np.ix_(own, np.flatnonzero(world.topics == 0))] -= 0.5
    errors[own] = 0.01 * np.arange(1, 4)
    panel = make_panel(X, errors, world.tau, llms=world.llms, families=world.families)
    ordered = order_texts(panel.X)
    base = analyse(panel, QUICK, ordered)
    kept = {}
    for family in sorted(set(world.families)):
        rows = rows_without(panel, family=family)
        other = analyse(part_of(panel, rows), QUICK, ordered.part(rows))
        kept[family] = overlap(base.weights, other.weights)
    assert min(kept, key=lambda family: kept[family]) == "family-04"
    assert kept["family-04"] < 0.5


def test_a_few_randomisations_do_where_they_leave_no_doubt(clear_world) -> None:
    panel = panel_of(clear_world)
    settings = ValidationSettings(halvings=2, permutations=500)
    assert analyse(panel, settings).p_value == pytest.approx(1 / 201)
    assert analyse(panel, settings, thorough=True).p_value == pytest.approx(1 / 501)


def test_overlap_is_in_tokens_of_the_smaller_selection() -> None:
    own = np.array([0.5, 0.5, 0, 0])
    assert overlap(own, own) == 1
    assert overlap(own, np.array([0, 0, 0.5, 0.5])) == 0
    assert overlap(own, np.array([0, 0.5, 0.5, 0])) == pytest.approx(0.5)
    # Twice the tokens: everything that the smaller one selects, and two units more.
    assert overlap(own, np.full(4, 0.25), 0.1, 0.2) == pytest.approx(1)
    assert overlap(np.full(4, 0.25), own, 0.2, 0.1) == pytest.approx(1)


def test_too_few_groups_are_refused(make_world: Callable) -> None:
    panel = panel_of(make_world(1, family_count=3))
    two = part_of(panel, rows_without(panel, family="family-00"))
    with pytest.raises(PcorrError, match="only 2 independent group"):
        analyse(two, QUICK)


def change(kind: str, name: str, verdict: str = "go", share: float = 0.9) -> Change:
    return Change(kind, name, verdict, share, gain=0.1, p_value=0.2)


def test_words_name_what_it_hangs_on_worst_first() -> None:
    base = Change("none", "nothing", "go", 1.0, gain=0.2, p_value=0.01)
    changes = [
        base,
        change("family", "opt", "caution"),
        change("family", "pythia", "no-go"),
        change("family", "bloom"),
        change("benchmark", "piqa"),
        change("benchmark", "sciq", share=0.8),
        Change("llm", "a/b", reason="the errors are the same for all LLMs."),
        change("estimator", "product", share=0.2),
        change("estimator", "sign"),
    ]
    said = hangs_on(changes)
    assert said == [
        "Without family pythia the verdict is no-go, not go (p 0.200 instead of 0.010, gain "
        "+0.100 instead of +0.200); 90% of the selection stays.",
        "Without family opt the verdict is caution, not go (p 0.200 instead of 0.010, gain "
        "+0.100 instead of +0.200); 90% of the selection stays.",
        "No single benchmark decides: without any one of the 2 the verdict stays go, and at "
        "least 80% of the selection stays (without sciq).",
        "Without LLM a/b there is no analysis: the errors are the same for all LLMs.",
        "With estimator product the verdict stays go (p 0.200 instead of 0.010, gain +0.100 "
        "instead of +0.200); 20% of the selection stays.",
    ]
    assert [matters(found, base) for found in changes] == [
        False, True, True, False, False, False, True, True, False
    ]  # fmt: skip


def test_of_many_the_worst_are_named() -> None:
    base = change("none", "nothing")
    said = hangs_on([base, *(change("llm", f"llm-{n}", "no-go") for n in range(11))])
    assert len(said) == 9
    assert said[-1] == "So it is with 3 more, see the table."
