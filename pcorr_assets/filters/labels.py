"""Labels: which units, and through them which pages, a filter is to include or exclude.

Belongs here: reading labels off a sampling distribution and passing them on to pages.
Does not belong here: computing the distribution (`stats`), and the texts themselves.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pcorr_assets.errors import PcorrError

WEIGHT_TOLERANCE = 1e-12
INCLUDED_SHARE_OF_PAGE = 0.5

PAGE_COLUMNS = ["chunk_id", "page_id", "domain", "byte_count", "reference_token_count"]


@dataclass(frozen=True)
class UnitLabels:
    """Labels of the units of one level.

    `is_included` maps unit -> label; a unit that is not in it has no estimate and is
    neither. `boundary_unit` is the included unit whose weight the budget cut, None if the
    budget ends between two units (or, after an `l2` projection, cannot be told without
    the estimates). `unlabelled_count` counts rows without a label.
    """

    level: str
    is_included: Mapping[str, bool]
    boundary_unit: str | None
    unlabelled_count: int


@dataclass(frozen=True)
class LabelledPages:
    """The labelled pages of a sample, in the order of its chunks.

    `groups` is each page's domain, or its own id where the sample has no domains.
    `token_counts` are those of the reference tokenizer. `unlabelled_count` counts the
    pages that are neither.
    """

    page_ids: list[str]
    groups: list[str]
    is_included: np.ndarray
    token_counts: np.ndarray
    unlabelled_count: int
    has_domains: bool


def label_units(distribution: pa.Table, estimates: Mapping[str, float] | None = None) -> UnitLabels:
    """Labels of the units of one partition of `sampling_distributions`.

    `included` (always from the linear projection) is the label; units whose label is NULL
    or whose weight is NaN are neither. `estimates` (unit -> estimate) is needed only to
    name the boundary unit after an `l2` projection.

    Raises:
        PcorrError: no unit has a label, or all have the same one.
    """
    where = _describe(distribution)
    levels = distribution["level"].unique().to_pylist()
    if len(levels) != 1:
        raise PcorrError(f"{where}: expected units of one level, found {levels or 'no units'}")
    units = distribution["unit"].to_pylist()
    included = distribution["included"].to_pylist()
    weights = _floats(distribution["weight"])
    taus = _floats(distribution["tau"])
    has_label = [
        label is not None and not math.isnan(weight)
        for label, weight in zip(included, weights, strict=True)
    ]
    labels = {
        unit: bool(label)
        for unit, label, known in zip(units, included, has_label, strict=True)
        if known
    }
    _refuse_one_class(labels, len(units), levels[0], where)
    rows = {unit: (weights[i], taus[i]) for i, unit in enumerate(units) if unit in labels}
    boundary = _boundary(labels, rows, estimates)
    return UnitLabels(levels[0], labels, boundary, len(units) - len(labels))


def _describe(distribution: pa.Table) -> str:
    keys = [
        ", ".join(sorted(set(distribution[column].to_pylist())))
        for column in ("sample", "target")
        if column in distribution.schema.names
    ]
    return f"sampling_distributions {'|'.join(keys)}"


def _floats(column: pa.ChunkedArray) -> list[float]:
    return [math.nan if value is None else float(value) for value in column.to_pylist()]


def _refuse_one_class(labels: Mapping[str, bool], unit_count: int, level: str, where: str) -> None:
    if not labels:
        raise PcorrError(
            f"{where}: none of its {unit_count} units has a label, because none has an estimate; "
            "look at the asset checks of bpb_matrix and estimate"
        )
    if len(set(labels.values())) == 2:
        return
    if next(iter(labels.values())):
        raise PcorrError(
            f"{where}: all {len(labels)} {level}s are included, so a filter has nothing to tell "
            "apart: lower selection.keep_ratio, or sample more domains"
        )
    raise PcorrError(
        f"{where}: all {len(labels)} {level}s are excluded, so a filter has nothing to learn "
        "from: look at the estimates of this target, and at selection.keep_ratio"
    )


def _boundary(
    labels: Mapping[str, bool],
    rows: Mapping[str, tuple[float, float]],
    estimates: Mapping[str, float] | None,
) -> str | None:
    included = [unit for unit, label in labels.items() if label]
    cut = [unit for unit in included if rows[unit][0] < rows[unit][1] - WEIGHT_TOLERANCE]
    is_linear = len(cut) <= 1 and all(
        rows[unit][0] <= WEIGHT_TOLERANCE for unit, label in labels.items() if not label
    )
    if is_linear:
        return cut[0] if cut else None
    if estimates is None or sum(rows[unit][1] for unit in included) <= 1 + WEIGHT_TOLERANCE:
        return None
    # The linear projection fills in descending order, ties in the order of the units.
    return min(reversed(included), key=lambda unit: estimates[unit])


def label_pages(chunks: Iterable[pa.RecordBatch], labels: UnitLabels) -> LabelledPages:
    """Pages with their label, from chunk rows (`PAGE_COLUMNS`; no text is needed).

    Level `domain`: a page has the label of its domain. Level `page`: its own. Level
    `chunk`: a page is included if included chunks hold at least half of the bytes of its
    labelled chunks. Pages without any label are counted and left out.

    Raises:
        PcorrError: no page has a label, or all have the same one.
    """
    batches = [batch.select(PAGE_COLUMNS) for batch in chunks]
    table = pa.Table.from_batches(batches) if batches else pa.table({n: [] for n in PAGE_COLUMNS})
    if labels.level == "domain" and table["domain"].null_count == table.num_rows:
        raise PcorrError("the labels are of domains, but the sample's chunks have no domain")
    unit_column = {"chunk": "chunk_id", "page": "page_id", "domain": "domain"}[labels.level]
    has_label, label = _chunk_labels(table[unit_column], labels.is_included)
    byte_counts = table["byte_count"].to_numpy()
    pages = pa.table(
        {
            "page_id": table["page_id"],
            "domain": table["domain"].cast(pa.string()),
            "tokens": table["reference_token_count"],
            "labelled": np.where(has_label, byte_counts, 0),
            "included": np.where(label, byte_counts, 0),
            "is_labelled": has_label,
        }
    )
    # Without threads the groups keep the order of their first row.
    grouped = pages.group_by("page_id", use_threads=False).aggregate(
        [("domain", "first"), ("tokens", "sum"), ("labelled", "sum"), ("included", "sum"),
         ("is_labelled", "max")]
    )  # fmt: skip
    return _labelled_pages(grouped, labels)


def _chunk_labels(
    units: pa.ChunkedArray, is_included: Mapping[str, bool]
) -> tuple[np.ndarray, np.ndarray]:
    """For the unit of each chunk: has it a label, and is it `include`? (N,) bool each."""
    distinct = units.unique()
    found = [is_included.get(unit) for unit in distinct.to_pylist()]
    codes = units.combine_chunks().dictionary_encode(null_encoding="encode").indices.to_numpy()
    has_label = np.fromiter((label is not None for label in found), bool, len(found))
    label = np.fromiter((bool(label) for label in found), bool, len(found))
    return has_label[codes], label[codes]


def _labelled_pages(grouped: pa.Table, labels: UnitLabels) -> LabelledPages:
    kept = grouped.filter(grouped["is_labelled_max"])
    included = kept["included_sum"].to_numpy()
    labelled = kept["labelled_sum"].to_numpy()
    is_included = (included > 0) & (included >= INCLUDED_SHARE_OF_PAGE * labelled)
    if kept.num_rows == 0 or is_included.all() or not is_included.any():
        found = "included" if kept.num_rows and is_included.all() else "excluded"
        raise PcorrError(
            f"of {grouped.num_rows:,} pages {kept.num_rows:,} have a label"
            + (f", and all of them are {found}" if kept.num_rows else "")
            + f": the labels of {len(labels.is_included):,} {labels.level}s do not fit this "
            "sample; materialise sampling_distribution again for its present chunks"
        )
    ids: list[str] = kept["page_id"].to_pylist()
    domains: list[Any] = kept["domain_first"].to_pylist()
    has_domains = any(domain is not None for domain in domains)
    return LabelledPages(
        ids,
        [page if domain is None else domain for page, domain in zip(ids, domains, strict=True)],
        is_included,
        kept["tokens_sum"].to_numpy(),
        grouped.num_rows - kept.num_rows,
        has_domains,
    )
