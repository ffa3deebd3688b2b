"""All definitions of one configuration.

Belongs here: putting the stages together. Does not belong here: what is in them.
"""

from __future__ import annotations

import warnings

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.defs import (
    advice,
    clean_estimates,
    correlation,
    exports,
    filters,
    llms,
    methods,
    operations,
    reports,
    selection,
    texts,
)
from pcorr_assets.defs.automation import automation_sensor
from pcorr_assets.defs.cleaning import clean_job
from pcorr_assets.defs.executor import EXECUTOR
from pcorr_assets.defs.failure_notices import failure_sensor
from pcorr_assets.defs.jobs import jobs, nightly_schedule
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.registration import llm_sensor, pool_group_sensor
from pcorr_assets.defs.slots import slot_sensor
from pcorr_assets.defs.verification import verify_job

STAGES = (
    texts,
    llms,
    correlation,
    advice,
    clean_estimates,
    selection,
    filters,
    methods,
    reports,
    exports,
    operations,
)


def build_definitions(settings: Settings) -> dg.Definitions:
    """Assets, checks, jobs and sensors for a configuration; an empty one makes no partitions.

    Nothing is read or written but the source code, whose hashes are the code versions.
    """
    platform = Platform(settings)
    with warnings.catch_warnings():
        # Multi-dimensional mappings and partitioned checks are not final in Dagster; the
        # project pins its version.
        warnings.simplefilter("ignore", dg.BetaWarning)
        warnings.simplefilter("ignore", dg.PreviewWarning)
        assets = [asset for stage in STAGES for asset in stage.assets(platform)]
        return dg.Definitions(
            assets=assets,
            jobs=[*jobs(platform, assets), clean_job(platform), verify_job(platform)],
            schedules=[nightly_schedule(platform), operations.overview_schedule()],
            sensors=[
                llm_sensor(platform),
                pool_group_sensor(platform),
                slot_sensor(),
                automation_sensor(),
                failure_sensor(settings.automation),
            ],
            executor=EXECUTOR,
        )
