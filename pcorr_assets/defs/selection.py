"""Stage `selection`: from estimates to the texts to train on.

Belongs here: the asset `sampling_distribution`. Does not belong here: projections and
token counts (`stats`, `steps`).
"""

import dagster as dg
import pyarrow.compute as pc

from pcorr_assets.config.keys import to_slug
from pcorr_assets.defs.metadata import numbers, rows_table
from pcorr_assets.defs.partitions import SAMPLE, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import materialised, table_asset
from pcorr_assets.defs.versions import selection_sections
from pcorr_assets.filters.mixture import export_mixture
from pcorr_assets.steps.sampling import sampling_distribution as project

SHOWN_UNITS = 20


def assets(platform: Platform) -> list[dg.AssetsDefinition]:
    """The assets of this stage."""
    return [_sampling_distribution(platform)]


def _sampling_distribution(platform: Platform) -> dg.AssetsDefinition:
    @table_asset(
        platform,
        tables=("sampling_distributions",),
        rooms=("stats/projection.py", "steps/sampling.py", "steps/caps.py", "text/token_counts.py"),
        sections=(
            *selection_sections("level", "estimator", "projection", "keep_ratio", "tokenizer"),
            "samples.*.unit_tokens",
        ),
        deps=(
            "estimate",
            (
                "chunked_dataset",
                platform.partitions.text_samples_to_samples or platform.partitions.to_sample_target,
            ),
        ),
        group_name="selection",
        partitions_def=platform.partitions.sample_target,
        kinds={"numpy", "parquet"},
    )
    def sampling_distribution(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        """How much of each unit to sample: the estimate projected under its cap tau."""
        keys = keys_of(context.partition_key)
        sample, target = keys[SAMPLE], keys[TARGET]
        table = "sampling_distributions"
        with platform.lock(context, table, sample, target):
            found = project(platform.warehouse, platform.settings, sample, target)
            written = platform.warehouse.write(table, (sample, target), found.table)
            folder = platform.settings.home / "mixtures" / to_slug(sample) / to_slug(target)
            mixture = export_mixture(found.table, folder, found.probability)
        heaviest = found.table.sort_by([("weight", "descending"), ("unit", "ascending")])
        metadata = {
            "units selected": found.included_count,
            "boundary unit": found.boundary_unit,
            "token counts": found.origin,
            "mixture": dg.MetadataValue.path(str(mixture.yaml)),
            "sum of weights": pc.call_function("sum", [found.table["weight"]]).as_py(),
            f"the {SHOWN_UNITS} heaviest units": rows_table(
                heaviest.slice(0, SHOWN_UNITS), ["unit", "weight", "tau", "token_count", "included"]
            ),
        }
        return materialised(platform, [(table, (sample, target), written)], numbers(metadata))

    return sampling_distribution
