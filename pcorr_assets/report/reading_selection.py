"""The sampling distribution of a sample and target, refused if it is not that of its estimates.

Belongs here: reading one distribution, and that it follows from estimates and settings. Does
not belong here: what pages say of it.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pcorr_assets.config import Selection
from pcorr_assets.errors import PcorrError
from pcorr_assets.stats.projection import PROJECTIONS, linear
from pcorr_assets.warehouse import Warehouse


def read_distribution(
    wh: Warehouse, selection: Selection, sample: str, target: str, estimates: pa.Table
) -> pa.Table | None:
    """The rows of `sampling_distributions` in the order of the `estimates` of the target.

    None if there are none.

    Raises:
        PcorrError: it is of other estimates, or was made with other settings.
    """
    if not wh.exists("sampling_distributions", sample, target):
        return None
    rows = wh.read("sampling_distributions", sample, target)
    tau, estimate = rows["tau"].to_numpy(), estimates["estimate"].to_numpy()
    units = estimates["unit"].combine_chunks()
    fits = rows["unit"].combine_chunks().equals(units) and (
        np.array_equal(linear(estimate, tau) > 0, rows["included"].to_numpy(zero_copy_only=False))
    )
    if not fits:
        raise PcorrError(
            f"sampling_distributions of {sample}|{target} do not follow from its "
            "estimates. Materialise sampling_distribution again, then report."
        )
    # The shares of tokens sum to 1, so the caps to 1 / keep_ratio.
    weight = PROJECTIONS[selection.projection](estimate, tau)
    if not np.isclose(tau.sum() * selection.keep_ratio, 1, rtol=1e-6) or not (
        np.allclose(weight, rows["weight"].to_numpy(), rtol=1e-6, atol=1e-9)
    ):
        raise PcorrError(
            f"sampling_distributions of {sample}|{target} were made with another "
            "keep_ratio or projection than the configuration now says. Materialise "
            "sampling_distribution again, then report."
        )
    return rows
