"""Named jobs for the usual moves, and the schedule: what people and the clock launch.

Belongs here: the jobs, what their launch pad says and takes, and the nightly schedule. Does
not belong here: choosing partitions (`plans`), submitting them (`backfills`), and what is
launched by itself (`automation`).

One run cannot materialise assets of different partitions. So a job is one short run that
asks for one backfill over all of them, and the daemon makes that in the right order.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import dagster as dg
from pydantic import Field

from pcorr_assets.defs.automation import automation_is_on, conditions
from pcorr_assets.defs.backfills import parts_in_progress, submit, wait_until_taken_up
from pcorr_assets.defs.bill import kept_in_words
from pcorr_assets.defs.executor import IN_ONE_PROCESS
from pcorr_assets.defs.metadata import sentences
from pcorr_assets.defs.partition_status import State
from pcorr_assets.defs.partitions import LLM
from pcorr_assets.defs.plans import OUT_OF_DATE, Keep, Plan, Planner, asked_for
from pcorr_assets.defs.platform import Platform

SCORES = ("chunk_bpb", "benchmark_errors")
ESTIMATES = (
    "bpb_matrix",
    "error_vector",
    "estimate",
    "rank_prediction",
    "sensitivity",
    "next_llms",
    "sampling_distribution",
)
POOLS = (
    "benchmark_ngrams",
    "clean_estimate",
    "pool_files",
    "pool_scores",
    "selected_data",
    "compared_selections",
)
FILTERS = ("sampling_distribution", "fasttext_filter", *POOLS, "report", "comparison")
EXPORT = "exported_database"
NIGHTLY = (*ESTIMATES, "fasttext_filter", "report", "comparison", EXPORT)

SCHEDULE = "nightly_refresh"
# Two clicks in a row: the second looks only when the first has submitted.
ONE_AT_A_TIME = "backfill"
# The short run that submits must not wait behind the hundred that it asks for.
FIRST_IN_QUEUE = {"dagster/priority": "10"}

_LLMS = "LLMs, by key (registered ones). Empty: all of them."
_TEXT_SAMPLES = "Text samples, by key. Empty: all of them."
_SAMPLES = "Samples, by key. Empty: all of them, imported matrices included."
_TARGETS = "Targets, by key. Empty: all of them."
_ALL = (
    "Also what is up to date. Off: only what is missing, failed, or stale (its code, settings or "
    "inputs are others than when it was made), and what follows from that."
)


class ScoreNewLLMs(dg.Config):
    """Score and evaluate LLMs that were not yet."""

    samples: list[str] = Field(default=[], description=_TEXT_SAMPLES)
    llms: list[str] = Field(default=[], description=_LLMS)
    retry_failed: bool = Field(
        default=True, description="Also those whose last run failed. Off: only the missing ones."
    )
    rescore_stale: bool = Field(
        default=False,
        description="Also those that were scored or evaluated with other code, settings or "
        "chunks. Costs the GPU time of every such LLM again.",
    )


class RefreshEstimates(dg.Config):
    """Make matrices, error vectors, and what is estimated from them."""

    samples: list[str] = Field(default=[], description=_SAMPLES)
    targets: list[str] = Field(default=[], description=_TARGETS)
    everything: bool = Field(default=False, description=_ALL)


class RefreshFilters(dg.Config):
    """Make distributions, filters and reports, and select from the pools."""

    samples: list[str] = Field(default=[], description=_SAMPLES)
    targets: list[str] = Field(default=[], description=_TARGETS)
    pools: list[str] = Field(default=[], description="Pools, by key. Empty: all of them.")
    score_pools: bool = Field(
        default=True,
        description="Also score the pools and select from them, which takes the "
        "longest. Off: stop at filters and reports.",
    )
    everything: bool = Field(default=False, description=_ALL)


class RefreshEverything(dg.Config):
    """All that is out of date, but no LLM and no pool."""

    samples: list[str] = Field(default=[], description=_SAMPLES)
    targets: list[str] = Field(default=[], description=_TARGETS)
    leave_to_automation: bool = Field(
        default=False, description="Leave out the assets that automation refreshes by itself."
    )


def jobs(platform: Platform, assets: Sequence[dg.AssetsDefinition]) -> list[Any]:
    """The jobs over `assets`, all assets of the platform."""
    launcher = _Launcher(platform, assets)
    found: list[Any] = [
        _score_new_llms(launcher),
        _refresh_estimates(launcher),
        _refresh_filters(launcher),
        _refresh_everything(launcher),
    ]
    if EXPORT in launcher.names:
        found.append(
            dg.define_asset_job(
                "export",
                selection=[EXPORT],
                description="One DuckDB file with every table, to give away. Set include_text on "
                "the launch pad to put the texts in as well.",
                tags=_tags("export"),
            )
        )
    return found


class _Launcher:
    """What the jobs share: finding the partitions to make, and asking for them."""

    def __init__(self, platform: Platform, assets: Sequence[dg.AssetsDefinition]) -> None:
        self.platform = platform
        self.names = {key.to_user_string() for asset in assets for key in asset.keys}
        # Resolving all assets takes a moment that loading the definitions should not.
        self._graph = cache(lambda: dg.Definitions(assets=assets).resolve_asset_graph())

    def launch(
        self,
        context: dg.OpExecutionContext,
        assets: Sequence[str],
        due: Iterable[State],
        selected: Keep,
    ) -> dict[str, Any]:
        """Ask for the partitions of `assets` that are due; metadata of what was asked for."""
        instance, graph = context.instance, self._graph()
        busy = parts_in_progress(instance, graph)
        planner = Planner(self.platform, instance, graph, busy)
        plan = planner.plan(assets, frozenset(due), selected)
        for reason in plan.left_out:
            context.log.warning(f"left out, {reason}")
        for name in plan.in_progress.values():
            context.log.info(f"left out, in progress already: {name}")
        if not plan.count:
            context.log.info(f"{_nothing(plan)} No backfill was submitted.")
            return {"submitted": _nothing(plan), **_left_out(plan)}
        job = context.job_name
        backfill = submit(
            instance,
            graph,
            plan,
            title=f"{job}: {plan.count} partition(s) of {', '.join(plan.partitions)}",
            description=f"Submitted by run {context.run_id} of the job {job}",
            tags={"pcorr/launched_by": job, "pcorr/submitted_by_run": context.run_id},
        )
        for asset, partitions in plan.partitions.items():
            context.log.info(f"{asset}: {', '.join(str(key) for key in partitions)}")
        context.log.info(f"submitted backfill {backfill}: {plan.count} partition(s)")
        if not wait_until_taken_up(instance, graph, backfill):
            context.log.warning(
                f"No daemon has begun with backfill {backfill} yet: it waits until one runs "
                "(`pcorr ui` starts one)."
            )
        return {
            "submitted": plan.count,
            "backfill": backfill,
            "progress": dg.MetadataValue.url(f"/runs/b/{backfill}"),
            **{f"partitions of {asset}": len(keys) for asset, keys in plan.partitions.items()},
            **_left_out(plan),
        }


def _nothing(plan: Plan) -> str:
    if plan.in_progress or plan.left_out:
        return "Nothing that can be made now and is not in progress already."
    return "Nothing to do: everything that was asked for is up to date."


def _left_out(plan: Plan) -> dict[str, Any]:
    return {
        name: sentences(lines)
        for name, lines in (
            ("in progress already", [*plan.in_progress.values()]),
            ("cannot be made yet", plan.left_out),
        )
        if lines
    }


def _tags(job: str) -> dict[str, str]:
    return {"pcorr/job": job, **FIRST_IN_QUEUE}


def _score_new_llms(launcher: _Launcher) -> dg.JobDefinition:
    cost = kept_in_words(launcher.platform.settings.home)

    class ScoreLLMs(ScoreNewLLMs):
        # The launch pad shows what stands at the fields.
        llms: list[str] = Field(default=[], description=f"{_LLMS} {cost}")

    @dg.op(pool=ONE_AT_A_TIME)
    def submit_llms(context: dg.OpExecutionContext, config: ScoreLLMs) -> dg.Output[None]:
        """Asks for one backfill of chunk_bpb and benchmark_errors."""
        registered = context.instance.get_dynamic_partitions(LLM)
        keep = asked_for(
            launcher.platform.settings,
            samples=config.samples,
            llms=config.llms,
            registered=registered,
            text_only=True,
        )
        due: set[State] = {"missing"}
        due |= {"failed"} if config.retry_failed else set()
        due |= {"stale"} if config.rescore_stale else set()
        assets = SCORES if launcher.platform.settings.benchmarks else SCORES[:1]
        return dg.Output(None, metadata=launcher.launch(context, assets, due, keep))

    @dg.job(
        executor_def=IN_ONE_PROCESS,
        tags=_tags("score_new_llms"),
        description="Score and evaluate the LLMs that were not yet: the backlog, or some of it.\n\n"
        "With everything empty: each registered LLM that is missing or failed, on each text "
        f"sample whose chunks are there.\n\n{cost}",
    )
    def score_new_llms() -> None:
        submit_llms()

    return score_new_llms


def _refresh_estimates(launcher: _Launcher) -> dg.JobDefinition:
    @dg.op(pool=ONE_AT_A_TIME)
    def submit_estimates(
        context: dg.OpExecutionContext, config: RefreshEstimates
    ) -> dg.Output[None]:
        """Asks for one backfill from bpb_matrix to sampling_distribution."""
        keep = asked_for(launcher.platform.settings, samples=config.samples, targets=config.targets)
        due = _due(config.everything)
        return dg.Output(None, metadata=launcher.launch(context, ESTIMATES, due, keep))

    @dg.job(executor_def=IN_ONE_PROCESS, tags=_tags("refresh_estimates"))
    def refresh_estimates() -> None:
        """Matrices, error vectors, estimates, verdicts and distributions, from the LLMs there are.

        It does not wait for LLMs that are missing, failed or in progress.
        """
        submit_estimates()

    return refresh_estimates


def _refresh_filters(launcher: _Launcher) -> dg.JobDefinition:
    @dg.op(pool=ONE_AT_A_TIME)
    def submit_filters(context: dg.OpExecutionContext, config: RefreshFilters) -> dg.Output[None]:
        """Asks for one backfill from sampling_distribution to selected_data and report."""
        keep = asked_for(
            launcher.platform.settings,
            samples=config.samples,
            targets=config.targets,
            pools=config.pools,
        )
        assets = [name for name in FILTERS if config.score_pools or name not in POOLS]
        due = _due(config.everything)
        return dg.Output(None, metadata=launcher.launch(context, assets, due, keep))

    @dg.job(executor_def=IN_ONE_PROCESS, tags=_tags("refresh_filters"))
    def refresh_filters() -> None:
        """Distributions, filters, reports, scores of the pools and what is selected from them.

        Uses the estimates that are there; `refresh_estimates` makes those.
        """
        submit_filters()

    return refresh_filters


def _refresh_everything(launcher: _Launcher) -> dg.JobDefinition:
    @dg.op(pool=ONE_AT_A_TIME)
    def submit_all(context: dg.OpExecutionContext, config: RefreshEverything) -> dg.Output[None]:
        """Asks for one backfill from bpb_matrix to exported_database."""
        keep = asked_for(launcher.platform.settings, samples=config.samples, targets=config.targets)
        automated = conditions(launcher.platform.settings) if config.leave_to_automation else {}
        assets = [name for name in NIGHTLY if name not in automated]
        return dg.Output(None, metadata=launcher.launch(context, assets, OUT_OF_DATE, keep))

    @dg.job(executor_def=IN_ONE_PROCESS, tags=_tags("refresh_everything"))
    def refresh_everything() -> None:
        """All that is out of date from the matrices to the exported database; no LLM, no pool.

        What the schedule `nightly_refresh` launches.
        """
        submit_all()

    return refresh_everything


def _due(everything: bool) -> frozenset[State]:
    up_to_date: frozenset[State] = frozenset({"materialised"})
    return OUT_OF_DATE | up_to_date if everything else OUT_OF_DATE


def nightly_schedule(platform: Platform) -> dg.ScheduleDefinition:
    """The schedule `nightly_refresh`, off by default."""

    @dg.schedule(
        name=SCHEDULE,
        job_name="refresh_everything",
        cron_schedule=platform.settings.automation.nightly,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Each night, all that is out of date from the matrices to the exported "
        "database. Leaves to automation what automation does, while that is on.",
    )
    def nightly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        if not automation_is_on(context.instance):
            return dg.RunRequest()
        context.log.info("Automation is on; what it does not do is left: comparison, exports.")
        config = RefreshEverything(leave_to_automation=True)
        return dg.RunRequest(run_config=dg.RunConfig(ops={"submit_all": config}))

    return nightly
