"""What later stages ask about an estimate that is there already.

Belongs here: reading one target's verdict and estimates. Does not belong here: making them.
"""

from __future__ import annotations

import pyarrow.compute as pc

from pcorr_assets.warehouse import Warehouse


def verdict_of(wh: Warehouse, sample: str, target: str) -> str | None:
    """`go`, `caution` or `no-go`; None if the estimate was not validated yet."""
    if not wh.exists("verdicts", sample, target):
        return None
    return wh.read("verdicts", sample, target, columns=["verdict"])["verdict"][0].as_py()


def estimates_of(wh: Warehouse, sample: str, target: str, estimator: str) -> dict[str, float]:
    """The estimate of each unit by one estimator; PcorrError if there are none."""
    rows = wh.read("estimates", sample, target, columns=["unit", "estimator", "estimate"])
    chosen = rows.filter(pc.field("estimator") == estimator)
    return dict(zip(chosen["unit"].to_pylist(), chosen["estimate"].to_pylist(), strict=True))
