"""What a card says of test items, from the manifest."""

from __future__ import annotations

from typing import Any

import pytest

from pcorr_assets.cards.clean import BENCHMARK_ITEMS, of_selection
from pcorr_assets.cards.wording import NOT_SEARCHED

FOUND = {"contaminated_document_count": 4, "contaminated_by": {"one": {"documents": 4}}}


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        (
            {"decontaminate": "drop", **FOUND},
            "4 documents that hold text of a test item were left out (one 4)",
        ),
        ({"decontaminate": "nothing to search for"}, NOT_SEARCHED),
        ({"decontaminate": "off"}, NOT_SEARCHED),
        ({}, NOT_SEARCHED),
    ],
)
def test_a_card_says_whether_test_items_were_searched_for(
    manifest: dict[str, Any], said: str
) -> None:
    assert of_selection(manifest)[BENCHMARK_ITEMS] == said
