"""Scores that a table holds already, for a sample that shares chunks with it.

Belongs here: reading them. Does not belong here: whether they may be used (`lm.scoring`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pcorr_assets.errors import DamagedFileError
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.parquet_files import stored_metadata

if TYPE_CHECKING:
    from pcorr_assets.lm.scoring import KnownScores

logger = logging.getLogger(__name__)


def known_scores(
    wh: Warehouse, partition: tuple[str, ...], chunk_ids: Sequence[str]
) -> KnownScores | None:
    """The scores in a partition of `chunk_bpb`, in the order of `chunk_ids`.

    None if the partition is not there, has no rows or is damaged.
    """
    from pcorr_assets.lm.scoring import KnownScores

    if not wh.exists("chunk_bpb", *partition):
        return None
    try:
        with wh.open("chunk_bpb", *partition) as file:
            notes, rows = stored_metadata(file), file.read(["chunk_id", "loss", "bpb"])
    except DamagedFileError as error:
        logger.warning("%s is damaged (%s): nothing is taken over", error.path, error.reason)
        return None
    if not rows.num_rows:
        return None
    wanted = pa.array(chunk_ids, pa.string())
    there = pc.SetLookupOptions(value_set=rows["chunk_id"].combine_chunks())
    place = pc.call_function("index_in", [wanted], there)
    is_known = place.is_valid().to_numpy(zero_copy_only=False)
    at = place.fill_null(0).to_numpy()
    loss, bpb = (np.where(is_known, rows[name].to_numpy()[at], np.nan) for name in ("loss", "bpb"))
    return KnownScores(is_known, loss, bpb, notes)
