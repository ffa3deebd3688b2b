"""The filter of a sample and target, if there is one, and what stands beside it, as facts.

Belongs here: reading `fasttext_filters` and `compared_selections`, and what their writers noted.
Does not belong here: judging the filter (`filters`), and comparing (`methods`).
"""

from __future__ import annotations

import json
from dataclasses import fields

from pcorr_assets.config import Settings
from pcorr_assets.filters.training import DISTRIBUTION_HASH, find_filter
from pcorr_assets.methods.table import METHODS
from pcorr_assets.report.facts import FilterFacts, Term
from pcorr_assets.report.method_facts import ComparedFacts, MethodFacts
from pcorr_assets.steps.compared_selections import FILTER_HASH, TABLE
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file


def read_filter(
    wh: Warehouse, settings: Settings, sample: str, target: str
) -> tuple[FilterFacts | None, str | None]:
    """The facts, or None and the reason why there is no filter."""
    if not settings.samples[sample].is_text:
        return None, "The sample is an imported matrix: it has no texts to train a filter on."
    if not wh.exists("fasttext_filters", sample, target):
        return None, "No filter has been trained for this target yet: materialise fasttext_filter."
    (row,) = wh.read("fasttext_filters", sample, target).to_pylist()
    noted = wh.metadata("fasttext_filters", sample, target)
    terms = json.loads(noted.get("top_terms", "{}"))
    notes = json.loads(noted.get("notes", "[]"))
    distribution = wh.path("sampling_distributions", sample, target)
    trained_on = noted.get(DISTRIBUTION_HASH)
    if (
        trained_on is not None
        and distribution.is_file()
        and trained_on != sha256_file(distribution)
    ):
        notes.append(
            "This filter was trained on an earlier sampling distribution than the one above. "
            "Materialise fasttext_filter again, then report."
        )
    return (
        FilterFacts(
            row=row,
            beats_random=json.loads(noted.get("beats_random", "null")),
            grouped_by=noted.get("grouped_by", "page"),
            terms={
                label: tuple(Term(term["text"], term["page_count"]) for term in found)
                for label, found in terms.items()
            },
            languages=json.loads(noted.get("languages", "null")),
            notes=tuple(notes),
        ),
        None,
    )


def read_compared(
    wh: Warehouse, settings: Settings, sample: str, target: str
) -> tuple[ComparedFacts, ...]:
    """What other methods select for the target of each pool of the sample that has them."""
    found = []
    for name, pool in settings.pools.items():
        if pool.sample != sample or not (pool.methods and wh.exists(TABLE, name, target)):
            continue
        names = [field.name for field in fields(MethodFacts)]
        methods = tuple(
            MethodFacts(words=METHODS[row["method"]].words, **row)
            for row in wh.read(
                TABLE, name, target, columns=[one for one in names if one != "words"]
            ).to_pylist()
        )
        noted = wh.metadata(TABLE, name, target).get(FILTER_HASH)
        now = (
            find_filter(wh, sample, target).sha256
            if wh.exists("fasttext_filters", sample, target)
            else None
        )
        found.append(ComparedFacts(name, methods, noted != now))
    return tuple(found)
