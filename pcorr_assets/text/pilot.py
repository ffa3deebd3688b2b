"""Which pages of a sample are its pilot's.

Belongs here: the choice, from the chunks of the sample. Does not belong here: scoring them first
(`lm`), and writing them (`steps`).

The pages of each domain are in the order of the hash by which `pages_per_domain` of a sample
chooses: a pilot of more pages holds the pages of one of fewer, and which they are depends on
seed and ids, not on the order of the rows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pcorr_assets.text.sampling import page_hash

if TYPE_CHECKING:
    from pcorr_assets.config.texts import Pilot


def pilot_chunks(chunks: pa.Table, pilot: Pilot, seed: int) -> np.ndarray:
    """Which chunks (S,) are of pages of the pilot; pages are in it whole.

    `chunks` has the columns `page_id` and `domain` of the whole sample; chunks without a domain
    are of one that has no name. A domain with fewer pages than `pages_per_domain` has all of
    them in the pilot; of a share, each domain has at least one page in it.
    """
    pages = chunks["page_id"].combine_chunks().dictionary_encode()
    codes = pages.indices.to_numpy()
    _, first = np.unique(codes, return_index=True)
    domains = chunks["domain"].combine_chunks().take(pa.array(first)).to_pylist()
    of_domain: dict[str | None, list[tuple[int, str, int]]] = {}
    for code, (page, domain) in enumerate(zip(pages.dictionary.to_pylist(), domains, strict=True)):
        entry = (page_hash(page, seed, b"pages_per_domain"), page, code)
        of_domain.setdefault(domain, []).append(entry)
    chosen = np.zeros(len(domains), dtype=bool)
    for entries in of_domain.values():
        count = pilot.pages_per_domain or math.ceil(len(entries) * (pilot.share or 0))
        chosen[[code for *_, code in sorted(entries)[:count]]] = True
    return chosen[codes]
