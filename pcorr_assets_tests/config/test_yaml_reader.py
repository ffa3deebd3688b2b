"""YAML is read without its old surprises, and what is broken is named with its line."""

from __future__ import annotations

import math

import pytest

from pcorr_assets.config.yaml_reader import read_yaml
from pcorr_assets.errors import PcorrError

ALIAS_CHAIN = "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 2000))
LIST_BOMB = "".join(f"a{i}: &a{i} [{f'*a{i - 1}, ' * 9}]\n" for i in range(1, 9))
MAPPING_BOMB = "".join(f"a{i}: &a{i} {{x: *a{i - 1}, y: *a{i - 1}}}\n" for i in range(1, 28))
MERGE_BOMB = "".join(f"a{i}: &a{i} {{<<: [{f'*a{i - 1}, ' * 4}]}}\n" for i in range(1, 14))


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("24:00:00", "24:00:00"),
        ("2024-05-01", "2024-05-01"),
        ("1e-3", 0.001),
        ("3e9", 3e9),
        ("0.1", 0.1),
        ("-.5", -0.5),
        ("12", 12),
        ("3_000_000", 3_000_000),
        ("007", "007"),
        ("0x1F", "0x1F"),
        ("-0", 0),
        ("1.2.3", "1.2.3"),
        ("~", None),
        ("", None),
        ("null", None),
        ("'12'", "12"),
        ("!!str 12", "12"),
        ("+", "+"),
        ("e5", "e5"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(scalar: str, value: object) -> None:
    read = read_yaml(f"a: {scalar}\n", "x").data["a"]
    assert read == value
    assert type(read) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    data = read_yaml("a: -.inf\nb: .nan\n", "x").data
    assert data["a"] == -math.inf
    assert math.isnan(data["b"])


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n"])
def test_a_file_without_content_is_none(text: str) -> None:
    assert read_yaml(text, "x").data is None


def test_lines_of_keys_and_list_elements() -> None:
    lines = read_yaml("a:\n  b: 1\n  c:\n    - x\n    - y\n", "x").lines
    assert lines == {
        ("a",): 1,
        ("a", "b"): 2,
        ("a", "c"): 3,
        ("a", "c", "0"): 4,
        ("a", "c", "1"): 5,
    }


def test_keys_that_stand_twice_are_all_found() -> None:
    twice = read_yaml("a: 1\nb: {c: 1, c: 2}\na: 3\n'a': 4\n", "x").twice
    assert twice == [
        (("b", "c"), "stands twice, on lines 2 and 2; remove one"),
        (("a",), "stands twice, on lines 1 and 3; remove one"),
        (("a",), "stands twice, on lines 3 and 4; remove one"),
    ]


def test_anchors_and_merges_work() -> None:
    text = "base: &base {dtype: float32, seed: 1}\nother:\n  <<: *base\n  seed: 2\n"
    document = read_yaml(text, "x")
    assert document.data["other"] == {"dtype": "float32", "seed": 2}
    assert document.twice == []


def test_an_anchor_may_be_used_as_often_as_its_values_fit() -> None:
    uses = "".join(f"u{i}: *a\n" for i in range(1000))
    document = read_yaml(f"a: &a {{x: [1, 2, 3], y: no}}\n{uses}", "x")
    assert document.data["u999"] == {"x": [1, 2, 3], "y": "no"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a: [1, 2\nb: 3\n", ["x, line 2, column 2", "flow sequence of line 1"]),
        ("a:\n\tb: 1\n", ["x, line 2, column 1", "spaces, not tabs"]),
        ("a: b: c\n", ["x, line 1, column 5", "a ':' too many"]),
        ("a: 'open\n", ["x, line 2", "quoted scalar"]),
        ("a: *nobody\n", ["x, line 1, column 4", "nobody"]),
        ("a: 1\n---\nb: 2\n", ["x, line 2", "document"]),
        ("a: &a [*a]\n", ["line 1 contains itself"]),
        ("? [a, b]\n: 1\n", ["unhashable key"]),
        ("a: !!python/name:os.system x\n", ["x, line 1", "constructor"]),
        ("a: !!timestamp x\n", ["x, line 1", "constructor"]),
        ("a: !!int x\n", ["x, line 1, column 4", "does not fit its '!!' tag"]),
        ("a: !!bool maybe\n", ["x, line 1, column 4", "does not fit its '!!' tag"]),
        ("a: 1\nb: " + "9" * 5000, ["x, line 2, column 4", "of 5,000 characters", "too long"]),
        ("a: 1\nb: \x00\n", ["x, line 2: not readable as YAML", "U+0000", "special characters"]),
        ('a: "\\uD800"\n', ["x, line 1, column 4", "half of a surrogate pair"]),
        ("x: &x {<<: *x}\n", ["x, line 1, column 4", "contains itself"]),
        ("[" * 100_000, ["x, line 1, column ", "30 levels deep"]),
        ("- " * 100_000, ["x, line 1, column ", "30 levels deep"]),
        ("a0: &a0 [1]\n" + ALIAS_CHAIN, ["30 levels deep, counting those below an anchor"]),
        ("a0: &a0 [1, 1]\n" + LIST_BOMB, ["x, line ", "25,000 values", "fewer anchors"]),
        ("a0: &a0 {k: 1}\n" + MAPPING_BOMB, ["x, line ", "25,000 values"]),
        ("a0: &a0 {k: 1}\n" + MERGE_BOMB, ["x, line ", "25,000 values"]),
        (f"[{'x, ' * 30_000}]", ["x, line 1, column ", "25,000 values"]),
    ],
)
def test_what_is_not_readable_is_named_with_its_line(text: str, parts: list[str]) -> None:
    with pytest.raises(PcorrError) as caught:
        read_yaml(text, "x")
    for part in parts:
        assert part in str(caught.value)


def test_a_long_text_is_read_once_however_often_its_anchor_is_used() -> None:
    """Half a megabyte of YAML: twenty thousand looks at the text would take minutes."""
    document = read_yaml("a: &a '" + "x" * 500_000 + "'\nb: [" + "*a, " * 20_000 + "]\n", "x")
    assert len(document.data["b"]) == 20_000
