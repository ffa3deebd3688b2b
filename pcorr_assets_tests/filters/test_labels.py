"""Labels come from the linear projection; pages inherit them; one class is refused."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.labels import LabelledPages, label_pages, label_units
from pcorr_assets.filters.splitting import split_pages
from pcorr_assets.stats.projection import l2, linear

COLUMNS = {
    "sample": pa.string(), "target": pa.string(), "level": pa.string(), "unit": pa.string(),
    "token_count": pa.int64(), "tau": pa.float64(), "weight": pa.float64(), "included": pa.bool_(),
}  # fmt: skip


def distribution(
    units: Mapping[str, tuple[float | None, float, bool | None]], level: str = "domain"
) -> pa.Table:
    rows = [
        {
            "sample": "s", "target": "t", "level": level, "unit": unit, "token_count": 1,
            "tau": tau, "weight": weight, "included": included,
        }
        for unit, (weight, tau, included) in units.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(list(COLUMNS.items())))


def chunks(rows: Sequence[tuple[str, str, str | None, int, int]]) -> list[pa.RecordBatch]:
    names = ["chunk_id", "page_id", "domain", "byte_count", "reference_token_count"]
    table = pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in rows])
    return table.to_batches(max_chunksize=2)


def test_units_without_an_estimate_are_neither() -> None:
    labels = label_units(
        distribution(
            {"a": (1.0, 1.0, True), "b": (0.0, 1.0, False), "c": (None, 1.0, None),
             "d": (math.nan, 1.0, False)}
        )
    )  # fmt: skip
    assert dict(labels.is_included) == {"a": True, "b": False}
    assert labels.unlabelled_count == 2


@pytest.mark.parametrize("seed", range(10))
def test_boundary_unit_is_the_last_that_the_linear_projection_fills(seed: int) -> None:
    generator = np.random.default_rng(seed)
    estimate = generator.normal(size=12)
    tau = generator.uniform(0.05, 0.5, size=12)
    units = [f"u{i}" for i in range(12)]
    by_linear, by_l2 = linear(estimate, tau), l2(estimate, tau)
    order = np.argsort(-estimate, kind="stable")
    expected = units[order[np.flatnonzero(np.cumsum(tau[order]) > 1)[0]]]
    rows = {
        u: (float(w), float(t), bool(w > 0)) for u, w, t in zip(units, by_linear, tau, strict=True)
    }
    assert label_units(distribution(rows)).boundary_unit == expected
    # After l2 the weights say nothing about it; the estimates do.
    rows = {
        u: (float(x), float(t), bool(w > 0))
        for u, x, w, t in zip(units, by_l2, by_linear, tau, strict=True)
    }
    estimates = dict(zip(units, estimate.tolist(), strict=True))
    assert label_units(distribution(rows), estimates).boundary_unit == expected


def test_no_boundary_unit_where_the_budget_ends_between_two() -> None:
    rows = {"a": (0.5, 0.5, True), "b": (0.5, 0.5, True), "c": (0.0, 0.5, False)}
    assert label_units(distribution(rows)).boundary_unit is None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({"a": (0.5, 0.5, True), "b": (0.5, 0.5, True)}, "all 2 domains are included"),
        ({"a": (0.0, 0.5, False)}, "all 1 domains are excluded"),
        ({"a": (None, 0.5, None)}, "none of its 1 units has a label"),
    ],
)
def test_labels_of_one_class_are_refused(rows: dict, message: str) -> None:
    with pytest.raises(PcorrError, match=message) as error:
        label_units(distribution(rows))
    assert "s|t" in str(error.value)


def test_pages_inherit_from_their_domain() -> None:
    labels = label_units(distribution({"x": (1.0, 1.0, True), "y": (0.0, 1.0, False)}))
    pages = label_pages(
        chunks(
            [("1", "p1", "x", 5, 2), ("2", "p1", "x", 5, 3), ("3", "p2", "y", 5, 4),
             ("4", "p3", "z", 5, 5)]
        ),
        labels,
    )  # fmt: skip
    assert pages.page_ids == ["p1", "p2"]
    assert pages.groups == ["x", "y"]
    assert pages.is_included.tolist() == [True, False]
    assert pages.token_counts.tolist() == [5, 4]
    assert pages.unlabelled_count == 1


def test_page_labels_and_chunk_labels() -> None:
    rows = [("1", "p1", None, 6, 1), ("2", "p1", None, 4, 1), ("3", "p2", None, 5, 1),
            ("4", "p2", None, 9, 1), ("5", "p2", None, 4, 1)]  # fmt: skip
    by_page = label_units(distribution({"p1": (1.0, 1.0, True), "p2": (0.0, 1.0, False)}, "page"))
    assert label_pages(chunks(rows), by_page).is_included.tolist() == [True, False]
    # Page 1: 6 of 10 bytes included. Page 2: 4 of 9 labelled bytes; chunk 4 has no label.
    by_chunk = label_units(
        distribution(
            {"1": (1.0, 1.0, True), "2": (0.0, 1.0, False), "3": (0.0, 1.0, False),
             "5": (1.0, 1.0, True)},
            "chunk",
        )
    )  # fmt: skip
    pages = label_pages(chunks(rows), by_chunk)
    assert pages.is_included.tolist() == [True, False]
    assert pages.groups == ["p1", "p2"]
    assert not pages.has_domains


def test_labels_that_fit_no_page_are_refused() -> None:
    labels = label_units(distribution({"x": (1.0, 1.0, True), "y": (0.0, 1.0, False)}))
    with pytest.raises(PcorrError, match="0 have a label"):
        label_pages(chunks([("1", "p", "other", 5, 1)]), labels)
    with pytest.raises(PcorrError, match="have no domain"):
        label_pages(chunks([("1", "p", None, 5, 1)]), labels)


def labelled(groups: list[str], is_included: list[bool], has_domains: bool = True) -> LabelledPages:
    ids = [f"page {i}" for i in range(len(groups))]
    return LabelledPages(ids, groups, np.array(is_included), np.ones(len(ids), int), 0, has_domains)


def test_split_holds_out_whole_domains_of_both_classes() -> None:
    groups = [f"d{i % 20}" for i in range(200)]
    is_included = [int(group[1:]) < 6 for group in groups]
    split = split_pages(labelled(groups, is_included), 0.25, seed=1)
    test = {group for group, held in zip(groups, split.is_test, strict=True) if held}
    train = {group for group, held in zip(groups, split.is_test, strict=True) if not held}
    assert not test & train
    assert test == set(split.test_groups)
    assert sum(int(group[1:]) < 6 for group in test) == 2  # ceil(6 / 4)
    assert len(test) == 2 + 4  # and ceil(14 / 4)
    assert split.grouped_by == "domain"


def test_split_depends_on_names_and_seed_only() -> None:
    groups = [f"d{i % 20}" for i in range(100)]
    is_included = [int(group[1:]) < 10 for group in groups]
    rows = list(zip(groups, is_included, strict=True))
    random.Random(3).shuffle(rows)
    first = split_pages(labelled(groups, is_included), 0.2, seed=1)
    again = split_pages(labelled([g for g, _ in rows], [i for _, i in rows]), 0.2, seed=1)
    other = split_pages(labelled(groups, is_included), 0.2, seed=2)
    assert first.test_groups == again.test_groups != other.test_groups


def test_split_by_page_where_a_class_has_one_domain_says_so() -> None:
    pages = labelled(["a", "a", "a", "b", "b", "c"], [True, True, True, False, False, False])
    split = split_pages(pages, 0.1, seed=0)
    assert split.grouped_by == "page"
    assert split.note is not None
    assert "never seen" in split.note
    held = pages.is_included[split.is_test]
    assert sorted(held.tolist()) == [False, True]


def test_a_class_with_one_page_is_refused() -> None:
    with pytest.raises(PcorrError, match="only 1 of 3 pages is labelled include"):
        split_pages(labelled(["a", "b", "c"], [True, False, False]), 0.1, seed=0)
