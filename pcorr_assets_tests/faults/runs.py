"""Running one stage as a run of Dagster does, in the process it is called in.

Belongs here: the run, and what it came to. Does not belong here: what happens to it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from pcorr_assets import errors
from pcorr_assets.config import load_settings
from pcorr_assets.defs import llms, metadata
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.registration import register_llms, register_pool_groups
from pcorr_assets.jobs.description import score_job
from pcorr_assets_tests.faults.world import CONFIG, STAGES, Stage

_NAMED = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.PcorrError)
}
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Said:
    """What a run came to: if it succeeded, its report, else the kind of its error, and its words.

    The report is the metadata of what it materialised, as text.
    """

    kind: str = ""
    words: str = ""
    report: str = ""

    @property
    def succeeded(self) -> bool:
        return not self.kind

    @property
    def is_named(self) -> bool:
        """Did it fail with the platform's own words?"""
        return self.kind in _NAMED

    @property
    def is_raw(self) -> bool:
        """Did it fail with something that no user can read?"""
        return not self.succeeded and not self.is_named


@functools.cache
def _loaded(project: Path, config: str) -> tuple[dg.Definitions, dg.DagsterInstance]:
    """The definitions of a project, and an instance in memory that knows its partitions."""
    # Pictures go into Dagster's metadata, not to disk, and take longer than all the rest.
    metadata.__dict__.update(png=lambda _: b"")
    # A shard after every batch: then there is something to lose.
    llms.__dict__.update(score_job=functools.partial(score_job, seconds_per_shard=0.0))
    settings = load_settings(project / config)
    jobs = [
        dg.define_asset_job(asset, selection=[asset])
        for asset in dict.fromkeys(stage.asset for stage in STAGES)
    ]
    instance = dg.DagsterInstance.ephemeral()
    register_llms(instance, settings)
    register_pool_groups(instance, settings)
    return dg.Definitions(assets=build_definitions(settings).assets, jobs=jobs), instance


def load(project: Path) -> None:
    """Load a project once, for all children to come."""
    definitions, _ = _loaded(project, CONFIG)
    for stage in STAGES:
        definitions.resolve_job_def(stage.asset)


def run_stage(project: Path, stage: Stage, config: str = CONFIG) -> Said:
    """Materialise the stage's partition."""
    definitions, instance = _loaded(project, config)
    key = stage.partition
    result = definitions.resolve_job_def(stage.asset).execute_in_process(
        partition_key=dg.MultiPartitionKey(key) if isinstance(key, dict) else key,
        instance=instance,
        run_config=QUIET,
        raise_on_error=False,
    )
    if result.success:
        made = result.get_asset_materialization_events()
        return Said(report=repr([event.materialization.metadata for event in made]))
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    error = event.step_failure_data.error
    assert error is not None
    # Dagster's own error is wrapped around what the step raised.
    inner = error.cause or error
    return Said(inner.cls_name or "?", inner.message)
