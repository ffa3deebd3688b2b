"""The five estimators against the published package, SciPy, brute force and closed forms."""

from __future__ import annotations

import warnings
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from perplexity_correlations import estimation as reference

from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.estimation import (
    ESTIMATOR_NAMES,
    ESTIMATORS,
    estimate_all,
    product,
    sign,
    sign_cdf,
    sign_sign,
    spearmanr,
)

RANK_BASED = ("sign_cdf", "sign_sign", "spearmanr")


def brute_force(name: str, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The definitions, pair by pair."""
    count = X.shape[0]
    if name == "sign_cdf":
        X = scipy.stats.rankdata(X, axis=0) / count
    total = np.zeros(X.shape[1])
    for k, g in combinations(range(count), 2):
        difference = X[g] - X[k]
        total += np.sign(y[g] - y[k]) * (np.sign(difference) if name == "sign_sign" else difference)
    return 2 * total / (count * (count - 1))


def tied(rng: np.random.Generator, shape: tuple[int, ...], values: int = 7) -> np.ndarray:
    return rng.integers(0, values, size=shape) / values


@pytest.mark.parametrize("name", ESTIMATOR_NAMES)
@pytest.mark.parametrize("llm_count", [3, 4, 90, 130])
def test_agrees_with_the_published_package_without_ties(name: str, llm_count: int) -> None:
    rng = np.random.default_rng(llm_count)
    X, Y = rng.random((llm_count, 400)), rng.random((llm_count, 3))
    ours = ESTIMATORS[name](X, Y)
    published = [getattr(reference, name)(X, y) for y in Y.T]
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, np.stack(published, axis=1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("llm_count", [3, 17, 128, 129, 300])
def test_spearmanr_agrees_with_scipy_on_ties(llm_count: int) -> None:
    rng = np.random.default_rng(llm_count)
    X, y = tied(rng, (llm_count, 60)), tied(rng, (llm_count,), 4)
    y[:2] = [0, 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.ConstantInputWarning)
        expected = [np.asarray(scipy.stats.spearmanr(column, y))[0] for column in X.T]
    np.testing.assert_allclose(spearmanr(X, y), np.nan_to_num(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["sign", "sign_cdf", "sign_sign"])
@pytest.mark.parametrize("llm_count", [3, 17, 128, 260])
def test_pair_sums_agree_with_brute_force_on_ties(name: str, llm_count: int) -> None:
    rng = np.random.default_rng(llm_count)
    X, y = tied(rng, (llm_count, 40)), tied(rng, (llm_count,), 5)
    y[:2] = [0, 1]
    np.testing.assert_allclose(ESTIMATORS[name](X, y), brute_force(name, X, y), rtol=0, atol=1e-12)


def test_sign_sign_is_kendalls_tau_without_ties() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(90, 50)), rng.normal(size=90)
    expected = [np.asarray(scipy.stats.kendalltau(column, y))[0] for column in X.T]
    np.testing.assert_allclose(sign_sign(X, y), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rho", [-0.9, -0.3, 0.0, 0.5, 0.8])
def test_converges_to_the_closed_forms_on_gaussian_data(rho: float) -> None:
    rng = np.random.default_rng(5)
    llm_count = 4000
    y = rng.normal(size=llm_count)
    x = rho * y + np.sqrt(1 - rho**2) * rng.normal(size=llm_count)
    # Any increasing function of the errors gives the same; it must not be linear to count.
    estimates = estimate_all(x[:, np.newaxis], np.exp(y), ESTIMATOR_NAMES[1:])
    closed = {
        "sign": 2 * rho / np.sqrt(np.pi),
        "sign_cdf": 2 / np.pi * np.arcsin(rho / 2),
        "sign_sign": 2 / np.pi * np.arcsin(rho),
        "spearmanr": 6 / np.pi * np.arcsin(rho / 2),
    }
    for name, expected in closed.items():
        # About four standard errors of the widest of them.
        assert estimates[name][0] == pytest.approx(expected, abs=4 * 1.2 / np.sqrt(llm_count)), name


def test_sign_cdf_is_spearmanr_scaled_without_ties() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.random((25, 100)), rng.random(25)
    np.testing.assert_allclose(
        sign_cdf(X, y), spearmanr(X, y) * (25 + 1) / (3 * 25), rtol=1e-13, atol=1e-15
    )


@pytest.mark.parametrize("name", ESTIMATOR_NAMES)
def test_does_not_depend_on_the_order_of_the_llms(name: str) -> None:
    rng = np.random.default_rng(3)
    X = np.concatenate([rng.random((90, 50)), tied(rng, (90, 50))], axis=1)
    y = tied(rng, (90,), 20)
    order = rng.permutation(90)
    before, after = ESTIMATORS[name](X, y), ESTIMATORS[name](X[order], y[order])
    if name in RANK_BASED:
        np.testing.assert_array_equal(before, after)
    else:
        np.testing.assert_allclose(before, after, rtol=0, atol=1e-14)


@pytest.mark.parametrize("value", [0.0, 0.1, 1 / 3, 1e6, -7.3])
def test_constant_column_gives_exactly_zero_except_product(value: float) -> None:
    y = np.random.default_rng(4).random(31)
    estimates = estimate_all(np.full((31, 2), value), y)
    for name in ESTIMATOR_NAMES[1:]:
        assert (estimates[name] == 0).all(), name
    np.testing.assert_allclose(estimates["product"], y.mean() * value, rtol=1e-14)


def test_perfect_agreement_is_exactly_one() -> None:
    y = np.random.default_rng(6).random(90)
    X = np.stack([y, -y, np.exp(y)], axis=1)
    np.testing.assert_array_equal(spearmanr(X, y), [1, -1, 1])
    np.testing.assert_array_equal(sign_sign(X, y), [1, -1, 1])


def test_large_errors_and_offsets_keep_their_digits() -> None:
    rng = np.random.default_rng(7)
    X, y = rng.random((50, 30)), rng.random(50)
    np.testing.assert_allclose(product(X, y * 1e6), product(X, y) * 1e6, rtol=1e-13)
    np.testing.assert_array_equal(sign(X, y * 1e6), sign(X, y))
    whole = np.round(X * 1024)
    np.testing.assert_array_equal(sign(whole + 2.0**40, y), sign(whole, y))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int32, ">f4"])
def test_every_real_type_is_taken_and_float64_given(dtype: str | type) -> None:
    rng = np.random.default_rng(8)
    X = rng.integers(0, 1000, size=(20, 30)).astype(dtype)
    y = rng.random(20)
    for name, values in estimate_all(X, y).items():
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, ESTIMATORS[name](X.astype(np.float64), y))


def test_blocks_layouts_and_a_memory_map_give_the_same(tmp_path: Path) -> None:
    rng = np.random.default_rng(9)
    X = rng.random((10, 30_000)).astype(np.float32)
    Y = rng.random((10, 2))
    together = estimate_all(X, Y)
    path = tmp_path / "X.npy"
    np.save(path, X)
    mapped = estimate_all(np.load(path, mmap_mode="r"), Y)
    fortran = estimate_all(np.asfortranarray(X), Y)
    part = estimate_all(X[:, 29_000:29_700], Y)
    for name in ESTIMATOR_NAMES:
        assert together[name].shape == (30_000, 2)
        np.testing.assert_array_equal(together[name], mapped[name])
        np.testing.assert_array_equal(together[name], fortran[name])
        np.testing.assert_allclose(together[name][29_000:29_700], part[name], rtol=0, atol=1e-15)


@pytest.mark.parametrize("target_count", [1, 2, 9, 40, 300])
def test_all_targets_at_once_equal_one_by_one(target_count: int) -> None:
    rng = np.random.default_rng(10)
    X, Y = tied(rng, (12, 3000), 40), rng.random((12, target_count))
    together = estimate_all(X, Y)
    for name in ESTIMATOR_NAMES:
        alone = ESTIMATORS[name](X, Y[:, -1])
        assert alone.shape == (3000,)
        np.testing.assert_allclose(together[name][:, -1], alone, rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ESTIMATOR_NAMES)
@pytest.mark.parametrize("llm_count", [9, 90, 200])
def test_repeated_rows_count_by_multiplicity(name: str, llm_count: int) -> None:
    rng = np.random.default_rng(11)
    X = np.concatenate([rng.random((llm_count, 40)), tied(rng, (llm_count, 40))], axis=1)
    y = tied(rng, (llm_count,), 9)
    rows = np.concatenate([[3, 3, 3], rng.integers(llm_count, size=llm_count)])
    resampled = estimate_all(X, y, (name,), rows=rows)[name]
    written_out = ESTIMATORS[name](X[rows], y[rows])
    if name in RANK_BASED:
        np.testing.assert_array_equal(resampled, written_out)
    else:
        np.testing.assert_allclose(resampled, written_out, rtol=0, atol=1e-14)


def test_negative_zero_ties_with_zero() -> None:
    X = np.array([[0.0], [-0.0], [1.0], [2.0]])
    y = np.array([2.0, 1.0, 3.0, 4.0])
    np.testing.assert_allclose(sign_sign(X, y), brute_force("sign_sign", np.abs(X), y))


def test_nan_and_infinity_are_refused_with_number_and_place() -> None:
    X = np.zeros((5, 60_000), dtype=np.float32)
    X[3, 7] = X[1, 59_999] = np.nan
    X[4, 2] = np.inf
    with pytest.raises(PcorrError, match=r"2 NaN and 1 infinite.*row 1 .*column 59999"):
        spearmanr(X, np.arange(5))
    y = np.array([0, 1, np.nan, 3, np.inf])
    with pytest.raises(PcorrError, match=r"1 NaN and 1 infinite.*row 2"):
        spearmanr(np.zeros((5, 2)), y)


def test_constant_errors_are_refused_by_name() -> None:
    X = np.random.default_rng(12).random((5, 4))
    Y = np.array([[1.0, 2.0, 3.0, 4.0, 5.0], [0.3] * 5]).T
    with pytest.raises(PcorrError, match="target sciq"):
        estimate_all(X, Y, target_names=["piqa", "sciq"])
    with pytest.raises(PcorrError, match="target column 1 of 2"):
        product(X, Y)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.zeros(5), np.arange(5), "1 dimension"),
        (np.zeros((5, 2, 2)), np.arange(5), "3 dimension"),
        (np.zeros((5, 2)), np.arange(4), "5 LLMs .* 4 LLMs"),
        (np.zeros((2, 2)), np.arange(2), "at least 3"),
        (np.zeros((5, 0)), np.arange(5), "no texts"),
        (np.zeros((5, 2)), np.zeros((5, 0)), "no targets"),
        (np.zeros((5, 2)), np.zeros((5, 1, 1)), "3 dimension"),
        (np.array([["a"] * 2] * 5), np.arange(5), "real numbers"),
        (np.zeros((5, 2), dtype=complex), np.arange(5), "real numbers"),
    ],
)
def test_wrong_shapes_and_types_are_refused(X: np.ndarray, y: np.ndarray, words: str) -> None:
    for estimator in ESTIMATORS.values():
        with pytest.raises(PcorrError, match=words):
            estimator(X, y)


def test_results_beyond_float64_are_refused_and_ranks_still_work() -> None:
    X = np.array([[-1.7e308], [0.0], [1.7e308]])
    y = np.array([1e300, 2e300, 3e300])
    for estimator in (product, sign):
        with pytest.raises(PcorrError, match="beyond the largest float64"):
            estimator(X, y)
    assert spearmanr(X, y)[0] == 1


def test_sign_of_a_spread_beyond_float64() -> None:
    column = np.array([-1e308, 0.0, 1e308])
    X = np.column_stack([column, column / 1e308, -column])
    y = np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(sign(X, y), [4 / 3 * 1e308, 4 / 3, -4 / 3 * 1e308], rtol=1e-15)


def test_unknown_estimators_and_rows_are_refused() -> None:
    X, y = np.random.default_rng(13).random((5, 4)), np.arange(5)
    with pytest.raises(PcorrError, match="pearson"):
        estimate_all(X, y, ("pearson",))
    with pytest.raises(PcorrError, match="at least 3"):
        estimate_all(X, y, rows=[0, 1])
    with pytest.raises(PcorrError, match="0 to 4"):
        estimate_all(X, y, rows=[0, 1, 5])
    with pytest.raises(PcorrError, match="target name"):
        estimate_all(X, y, target_names=["a", "b"])


@pytest.mark.parametrize("name", ESTIMATOR_NAMES)
def test_a_target_alone_and_among_others_is_the_same_to_the_bit(name: str) -> None:
    rng = np.random.default_rng(11)
    X, Y = rng.normal(size=(37, 5003)), rng.normal(size=(37, 7))
    together = estimate_all(X, Y, (name,))[name]
    for target in range(7):
        alone = estimate_all(X, Y[:, target], (name,))[name]
        assert np.array_equal(alone, together[:, target])
