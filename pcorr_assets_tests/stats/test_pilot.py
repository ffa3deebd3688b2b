"""What a pilot leaves open, against closed forms and worlds in which all pages are known."""

from __future__ import annotations

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.estimation import estimate_all
from pcorr_assets.stats.pilot import PilotPages, page_variance, predict_overlaps
from pcorr_assets.stats.projection import linear
from scripts.studies.cells import CELLS
from scripts.studies.pilots import World, outcome


def pages_of(X: np.ndarray, sizes: list[int], page_count: list[int]) -> PilotPages:
    unit = np.repeat(np.arange(len(sizes)), sizes)
    return PilotPages(X, np.full(len(unit), 1000), unit, np.asarray(page_count))


def test_the_variance_is_the_one_of_a_mean() -> None:
    """Pearson's numerator is linear in BPB: there the variance has a closed form."""
    rng = np.random.default_rng(0)
    errors = rng.normal(size=40)
    sizes, page_sd = [400] * 6, 0.01
    # What LLMs have in common on a page leaves ranks as they are; what each has alone does not.
    base = np.linspace(1, 2, 40)[rng.permutation(40)]
    X = base[:, np.newaxis] + page_sd * rng.normal(size=(40, 2400))
    pages = pages_of(X, sizes, [10_000] * 6)
    found = page_variance(pages, errors, "product", resamples=400)
    weights = estimate_all(X[:, :1] * 0 + np.eye(40), errors, ("product",))["product"]
    expected = page_sd**2 * (weights**2).sum()
    np.testing.assert_allclose(found, expected, rtol=0.25)


def test_scored_in_full_nothing_is_open() -> None:
    rng = np.random.default_rng(1)
    sizes = [3] * 12
    pages = pages_of(1 + rng.random((20, 36)), sizes, sizes)
    assert pages.share == 1
    errors, tau = rng.random(20), np.full(12, 0.25)
    estimate = rng.normal(size=12)
    variance = page_variance(pages, errors, "spearmanr", resamples=20)
    assert (variance > 0).all()
    own, smaller = predict_overlaps(pages, estimate, variance, tau, (0.3,), draws=50)
    assert (own.overlap, own.overlap_low, own.changed_share) == (1, 1, 0)
    assert smaller.overlap < 1


def test_more_pages_agree_more_and_bytes_do_not_count_twice() -> None:
    rng = np.random.default_rng(2)
    pages = pages_of(1 + 0.1 * rng.random((30, 60)), [3] * 20, [30] * 20)
    errors, tau = rng.random(30), np.full(20, 0.2)
    X = pages.X.reshape(30, 20, 3).mean(axis=2)
    estimate = estimate_all(X, errors, ("spearmanr",))["spearmanr"]
    variance = page_variance(pages, errors, "spearmanr", resamples=100)
    _, *others = predict_overlaps(pages, estimate, variance, tau, (0.1, 0.3, 0.6, 0.9, 1))
    overlaps = [one.overlap for one in others]
    assert overlaps == sorted(overlaps)
    assert overlaps[-1] == 1
    heavy = PilotPages(pages.X, pages.byte_count * 7, pages.unit, pages.page_count)
    again = page_variance(heavy, errors, "spearmanr", resamples=100)
    np.testing.assert_allclose(again, variance, rtol=1e-9)


def test_a_unit_with_one_page_leans_on_the_others() -> None:
    rng = np.random.default_rng(3)
    X = 1 + 0.1 * rng.random((20, 9))
    errors = rng.random(20)
    found = page_variance(pages_of(X, [4, 4, 1], [9, 9, 9]), errors, "spearmanr")
    assert found[2] == pytest.approx(np.mean(found[:2]), rel=0.5)
    with pytest.raises(PcorrError, match="no unit has two pages"):
        page_variance(pages_of(X[:, :3], [1, 1, 1], [9, 9, 9]), errors, "spearmanr")


@pytest.mark.parametrize("name", ["N30 signal 0.75", "N30 null 0.75"])
def test_what_is_predicted_comes_to_pass(name: str) -> None:
    """A small form of the study: on average within a fifth, and never far too high."""
    found = [outcome(World(CELLS[name], 25, 5, 0.05), seed) for seed in range(8)]
    off = np.mean([one["predicted"] - one["actual"] for one in found])
    assert -0.2 < off < 0.1


def test_equal_seeds_give_equal_predictions() -> None:
    rng = np.random.default_rng(4)
    pages = pages_of(1 + rng.random((20, 36)), [3] * 12, [9] * 12)
    errors, tau = rng.random(20), np.full(12, 0.25)
    once, twice = (page_variance(pages, errors, "spearmanr", resamples=20) for _ in range(2))
    assert (once == twice).all()
    estimate = rng.normal(size=12)
    same = [predict_overlaps(pages, estimate, once, tau, draws=20) for _ in range(2)]
    assert same[0] == same[1]
    assert linear(estimate, tau).sum() == pytest.approx(1)
