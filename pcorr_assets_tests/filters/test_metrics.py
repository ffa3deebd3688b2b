"""Metrics against brute force and closed forms."""

from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.languages import language_mix
from pcorr_assets.filters.metrics import beats_random, evaluate, random_metrics, top_of_budget

pages = st.lists(
    st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans(), st.integers(1, 9)),
    min_size=2,
    max_size=9,
).filter(lambda rows: len({label for _, label, _ in rows}) == 2)


@given(pages, st.sampled_from(["0.1", "0.3", "0.5", "1.0"]))
def test_equals_brute_force(rows: list[tuple[float, bool, int]], ratio: str) -> None:
    scores = np.array([row[0] for row in rows])
    labels = np.array([row[1] for row in rows])
    tokens = np.array([row[2] for row in rows])
    ids = [f"p{i}" for i in range(len(rows))]
    found = evaluate(scores, labels, tokens, ids, float(ratio))

    pairs = [
        1.0 if a > b else 0.5 if a == b else 0.0
        for a, b in itertools.product(scores[labels], scores[~labels])
    ]
    assert found.roc_auc == pytest.approx(sum(pairs) / len(pairs), abs=1e-12)
    positive = scores >= 0.5
    right = int((positive & labels).sum())
    assert found.recall == pytest.approx(right / labels.sum(), abs=1e-12)
    if positive.any():
        assert found.precision == pytest.approx(right / positive.sum(), abs=1e-12)
    else:
        assert found.precision is None

    taken, so_far = [], 0
    for index in sorted(range(len(rows)), key=lambda i: (-scores[i], ids[i])):
        if so_far >= Fraction(ratio) * int(tokens.sum()):
            break
        taken.append(index)
        so_far += int(tokens[index])
    right_tokens = sum(int(tokens[i]) for i in taken if labels[i])
    assert found.budget_precision == pytest.approx(right_tokens / so_far, abs=1e-12)
    assert found.budget_recall == pytest.approx(right_tokens / tokens[labels].sum(), abs=1e-12)


def test_average_precision_of_a_known_ranking() -> None:
    # Right at ranks 1 and 3: (1/1 + 2/3) / 2.
    found = evaluate(
        np.array([0.9, 0.8, 0.7]),
        np.array([True, False, True]),
        np.ones(3, int),
        ["a", "b", "c"],
        1,
    )
    assert found.average_precision == pytest.approx(5 / 6, abs=1e-12)


def test_one_class_is_refused() -> None:
    with pytest.raises(PcorrError, match="both classes"):
        evaluate(np.zeros(2), np.array([True, True]), np.ones(2, int), ["a", "b"], 0.5)


def test_random_filter_at_the_budget_has_the_share_of_the_class() -> None:
    labels = np.arange(1000) % 4 == 0
    found, lucky = random_metrics(labels, np.full(1000, 7), 0.1, seed=3)
    # Means over 200 orders of 100 pages: standard error .25 x .75 / 100, over 200, is .003.
    assert found.budget_precision == pytest.approx(0.25, abs=0.012)
    assert found.budget_recall == pytest.approx(0.1, abs=0.005)
    assert found.roc_auc == 0.5
    # One order of 100 pages has a standard deviation of .041: the 95th percentile is at .32.
    assert lucky == pytest.approx(0.318, abs=0.03)
    assert beats_random(0.5, lucky)
    assert not beats_random(0.25, lucky)
    assert not beats_random(None, lucky)


def test_whole_budget_takes_everything() -> None:
    assert top_of_budget(np.arange(5.0), np.ones(5, int), list("abcde"), 1.0).all()


def test_language_mix_is_by_tokens() -> None:
    mix = language_mix(
        ["en", "de", "en", "none"],
        np.array([1, 6, 2, 1]),
        {"before": np.ones(4, bool), "filter": np.array([True, False, True, False])},
    )
    assert mix == {"before": {"de": 0.6, "en": 0.3, "none": 0.1}, "filter": {"en": 1.0}}
