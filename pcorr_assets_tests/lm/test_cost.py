"""What scoring costs: sizes from names, rates from measurements, and what a budget takes."""

from __future__ import annotations

import numpy as np
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.cost import (
    Cost,
    Measured,
    devices_needed,
    fit,
    predicted_and_actual,
    published,
    size_in_name,
    usual_kind,
    utilisation,
    within,
)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("EleutherAI/pythia-160m", 160e6),
        ("EleutherAI/pythia-6.9b-deduped", 6.9e9),
        ("stabilityai/stablelm-2-1_6b", 1.6e9),
        ("bigscience/bloom-7b1", 7.1e9),
        ("vilm/Mixsmol-4x400M-v0.1-epoch2", 1.6e9),
        ("TinyLlama/TinyLlama-1.1B-step-50K-105b", 1.1e9),
        ("BEE-spoke-data/smol_llama-101M-GQA", 101e6),
        ("mosaicml/mpt-7b-8k", 7e9),
        ("microsoft/phi-1_5", None),
        ("openai-community/gpt2", None),
        ("bigcode/gpt_bigcode-santacoder", None),
    ],
)
def test_sizes_that_names_state(name: str, size: float | None) -> None:
    assert size_in_name(name) == size


def measured(sizes: list[float], fixed: float, slope: float, kind: str = "GPU") -> list[Measured]:
    return [Measured(f"llm-{n}", int(p), fixed + slope * p, kind) for n, p in enumerate(sizes)]


def test_both_terms_are_found_again() -> None:
    rate = fit(measured([1e8, 1e9, 7e9], 2e-6, 3e-15), "GPU")
    assert rate is not None
    assert rate.fixed == pytest.approx(2e-6, rel=1e-6)
    assert rate.per_parameter == pytest.approx(3e-15, rel=1e-6)
    assert rate.seconds(int(2e9), 1e6) == pytest.approx(8.0, rel=1e-6)


def test_no_term_is_below_zero_and_noise_is_borne() -> None:
    random = np.random.default_rng(0)
    points = [
        Measured(one.llm, one.parameters, one.seconds_per_token * random.uniform(0.9, 1.1), "GPU")
        for one in measured([1e8, 4e8, 1e9, 3e9, 7e9, 1.3e10], 0.0, 3e-15)
    ]
    rate = fit(points, "GPU")
    assert rate is not None
    assert min(rate.fixed, rate.per_parameter) >= 0
    for one, told in predicted_and_actual(points):
        assert told == pytest.approx(one.seconds_per_token, rel=0.3)


def test_only_the_same_kind_of_device_counts() -> None:
    points = [*measured([1e9], 0, 3e-15), *measured([1e8, 2e8], 0, 5e-13, "CPU")]
    assert usual_kind(points) == "CPU"
    assert usual_kind([]) is None
    one = fit(points, "GPU")
    assert one is not None
    assert one.seconds(int(2e9), 1) == pytest.approx(6e-6)
    assert fit(points, "TPU") is None
    assert predicted_and_actual(points[:1]) == [(points[0], None)]


def test_before_the_first_measurement_the_data_sheet_counts() -> None:
    # 2 x 1e9 x 1e6 operations at half of 312e12 a second.
    assert published("A100", 0.5).seconds(10**9, 1e6) == pytest.approx(2e15 / 156e12)
    with pytest.raises(PcorrError, match="'Cray' is no device with a published peak"):
        published("Cray", 0.5)


def test_utilisation_of_known_devices() -> None:
    assert utilisation("NVIDIA H100 80GB HBM3", 10**9, 1e5) == pytest.approx(2e14 / 989e12)
    assert utilisation("CPU with 2 threads", 10**9, 1e5) is None


def test_devices_that_the_weights_need() -> None:
    assert devices_needed(14 * 10**9, "A100") == 1
    assert devices_needed(140 * 10**9, "A100") == 2
    assert devices_needed(140 * 10**9, None) == 1


def cost(llm: str, family: str, hours: float) -> Cost:
    return Cost(llm, family, 1, "name", ("web",), 1, hours, 1, 1, 1, 1)


def test_a_budget_buys_families_first() -> None:
    costs = [
        cost("a1", "a", 1.0), cost("a2", "a", 2.0), cost("b1", "b", 3.0), cost("c1", "c", 9.0),
    ]  # fmt: skip
    assert [one.llm for one in within(costs, 6.5)] == ["a1", "b1", "a2"]
    assert [one.llm for one in within(costs, 3.0, families=["a"])] == ["b1"]
    assert within(costs, 0.5) == []
