"""Train and test pages, split so that the test asks about domains never seen.

Belongs here: which group of pages goes where. Does not belong here: training.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcorr_assets.errors import PcorrError
from pcorr_assets.filters.labels import LabelledPages


@dataclass(frozen=True)
class Split:
    """`is_test` marks the test pages; `grouped_by` is "domain" or "page"."""

    is_test: np.ndarray
    grouped_by: str
    test_groups: list[str]
    note: str | None


def seeded_order(seed: int, names: Sequence[str]) -> list[str]:
    """The distinct names in an order that depends on the seed and the names only."""

    def key(name: str) -> bytes:
        return hashlib.sha256(f"{seed}\0{name}".encode()).digest()

    return sorted(dict.fromkeys(names), key=key)


def split_pages(pages: LabelledPages, test_fraction: float, seed: int) -> Split:
    """Hold out whole domains: of each class `test_fraction` of its domains, at least one.

    A domain counts to the class of most of its pages (on a tie: include). Samples without
    domains, and those where one class has a single domain, are split by page instead; the
    note then says that the test does not ask about unseen domains. The split depends on
    the seed and the names, not on the order of the rows.

    Raises:
        PcorrError: a class has fewer than two pages.
    """
    for label, name in ((True, "include"), (False, "exclude")):
        page_count = int((pages.is_included == label).sum())
        if page_count < 2:
            raise PcorrError(
                f"only {page_count} of {len(pages.page_ids)} pages is labelled {name}: one to "
                "train on and one to test on are needed; sample more pages or change "
                "selection.keep_ratio"
            )
    if pages.has_domains:
        test = _held_out(pages.groups, pages.is_included, test_fraction, seed)
        if test is not None:
            is_test = np.fromiter((group in test for group in pages.groups), bool)
            return Split(is_test, "domain", sorted(test), None)
        note = (
            "one class has pages of a single domain only, so pages were held out, not domains: "
            "the test does not say how the filter does on domains it has never seen"
        )
    else:
        note = "the sample has no domains, so pages were held out"
    test = _held_out(pages.page_ids, pages.is_included, test_fraction, seed)
    assert test is not None  # each class has two pages
    is_test = np.fromiter((page in test for page in pages.page_ids), bool)
    return Split(is_test, "page", sorted(test), note)


def _held_out(
    groups: Sequence[str], is_included: np.ndarray, test_fraction: float, seed: int
) -> set[str] | None:
    """Test groups, or None if a class could not stand on both sides."""
    page_counts = Counter(groups)
    included_counts = Counter(g for g, label in zip(groups, is_included, strict=True) if label)
    test: set[str] = set()
    for label in (True, False):
        members = [g for g in page_counts if (2 * included_counts[g] >= page_counts[g]) == label]
        if len(members) < 2:
            return None
        count = min(max(math.ceil(test_fraction * len(members) - 1e-9), 1), len(members) - 1)
        test.update(seeded_order(seed, members)[:count])
    return test
