"""What the tables say of benchmark items and near-duplicates in what is given away.

Belongs here: one answer to each question, "not searched" where nobody looked. Does not belong
here: searching.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pcorr_assets.cards.wording import NOT_SEARCHED
from pcorr_assets.report.formats import count

BENCHMARK_ITEMS = "test items of the benchmarks in it"
NEAR_COPIES = "near-duplicates in it"
COPIES = "exact copies in it"


def of_sample(searched: str | None) -> dict[str, str]:
    """The texts of a sample, which a filter is trained on; `searched` says what was found."""
    return {
        BENCHMARK_ITEMS: searched or NOT_SEARCHED,
        NEAR_COPIES: NOT_SEARCHED,
    }


def of_selection(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The documents of a selection, as its manifest says."""
    copies = manifest.get("duplicate_document_count")
    return {
        COPIES: NOT_SEARCHED
        if copies is None
        else f"none: {count(copies)} were left out while the budget was filled",
        BENCHMARK_ITEMS: _items(manifest),
        NEAR_COPIES: _near(manifest),
    }


def _items(manifest: Mapping[str, Any]) -> str:
    became = {"drop": "were left out", "mark": "were found in the pool, and left in"}
    done = became.get(manifest.get("decontaminate", ""))
    if done is None:
        return NOT_SEARCHED
    found = count(manifest["contaminated_document_count"])
    by_benchmark = ", ".join(
        f"{name} {count(one['documents'])}" for name, one in manifest["contaminated_by"].items()
    )
    listed = f" ({by_benchmark})" if by_benchmark else ""
    return f"{found} documents that hold text of a test item {done}{listed}"


def _near(manifest: Mapping[str, Any]) -> str:
    settings = (manifest.get("config") or {}).get("near_duplicates")
    if settings is None:
        return NOT_SEARCHED
    found = manifest["near_duplicate_document_count"]
    return (
        f"{count(found)} were left out while the budget was filled: texts that share at least "
        f"{settings['jaccard']} of their n-grams of {settings['ngram']} words with one before "
        "them, as estimated by MinHash"
    )
