"""Names of published LLMs become keys that no two of them share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcorr_assets.errors import PcorrError
from pcorr_assets.matrix.identity import Identity, identify, parse_column


def test_column_names_are_read_as_tuples_or_plain_names() -> None:
    assert parse_column("('pythia', 'EleutherAI/pythia-160m')") == (
        "pythia",
        "EleutherAI/pythia-160m",
    )
    assert parse_column('("it\'s", "a/b")') == ("it's", "a/b")
    assert parse_column("EleutherAI/pythia-160m") == ("EleutherAI", "EleutherAI/pythia-160m")
    assert parse_column("my-model") == ("my-model", "my-model")


@pytest.mark.parametrize(
    "column", ["", "  ", "('a', 'b', 'c')", "('a',)", "('a', 3)", "('a', '')", "(a, b", "a\nb"]
)
def test_a_column_that_names_no_llm_is_refused(column: str) -> None:
    with pytest.raises(PcorrError, match="names no LLM"):
        parse_column(column)


def test_only_a_trailing_step_is_a_revision() -> None:
    names = {
        "o/pythia_step20000": ("o/pythia@step20000", "o/pythia", "step20000"),
        "o/m_v0.1": ("o/m_v0.1", "o/m_v0.1", "main"),
        "o/m_step2_x": ("o/m_step2_x", "o/m_step2_x", "main"),
        "o/m_step": ("o/m_step", "o/m_step", "main"),
        "o/m-step-50K-105b": ("o/m-step-50K-105b", "o/m-step-50K-105b", "main"),
        "o/m_step1_step2": ("o/m_step1@step2", "o/m_step1", "step2"),
        "o/m@abc": ("o/m@abc", "o/m", "abc"),
    }
    found = identify([("f", name) for name in names])
    for name, (key, base, revision) in names.items():
        assert found["f", name] == Identity(key, "f", base, revision)


def test_a_name_under_two_families_gets_the_family_from_the_second_on() -> None:
    columns = [("llm360", "LLM360/Amber"), ("x", "o/m_step1"), ("amber", "LLM360/Amber")]
    columns += [("y", "o/m_step1"), ("third", "LLM360/Amber")]
    keys = [llm.key for llm in identify(columns).values()]
    assert keys == [
        "LLM360/Amber",
        "o/m@step1",
        "LLM360/Amber+amber",
        "o/m@step1+y",
        "LLM360/Amber+third",
    ]
    assert identify(columns)["amber", "LLM360/Amber"].name == "LLM360/Amber"


def test_two_columns_that_end_in_one_key_are_refused() -> None:
    with pytest.raises(PcorrError, match="both mean the LLM 'o/m@step1'"):
        identify([("f", "o/m_step1"), ("f", "o/m@step1")])
    with pytest.raises(PcorrError, match="both mean"):
        identify([("f", "o/m"), ("g", "o/m"), ("h", "o/m+g")])


FAMILIES = st.sampled_from(["a", "b", "c"])
NAMES = st.sampled_from(["o/x", "o/y", "o/x_step1", "o/x_step10", "o/y_v1"])


@given(st.lists(st.tuples(FAMILIES, NAMES), unique=True))
def test_keys_are_unique_and_the_second_file_may_have_any_order(
    columns: list[tuple[str, str]],
) -> None:
    found = identify(columns)
    assert len({llm.key for llm in found.values()}) == len(columns)
    assert identify([*columns, *reversed(columns)]) == found
