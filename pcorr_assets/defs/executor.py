"""How the steps of every run are executed: Dagster's own way, in a process that is known.

Belongs here: the two executors of the platform, for runs with a process for each step and
for runs in one process, and how they wait. Does not belong here: what is noted of a process
(`run_processes`), and the slots that steps wait for (`slots`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from functools import wraps
from typing import Any, cast

import dagster as dg
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.plan import ExecutionPlan
from dagster._core.execution.plan.step import ExecutionStep

from pcorr_assets.defs.run_processes import end_dead_runs, free_own_slots, note_process
from pcorr_assets.defs.slots import freeing_while_waiting, said_of

# Between two looks for a step that can begin; Dagster asks for a slot every second at most.
SECONDS_BETWEEN_STEPS = 0.1

_steps_to_execute = ActiveExecution.get_steps_to_execute


@wraps(_steps_to_execute)
def _steps_without_haste(
    self: ActiveExecution, limit: int | None = None
) -> Sequence[ExecutionStep]:
    steps = _steps_to_execute(self, limit)
    if not steps and not self._in_flight and (self._executable or self._waiting_to_retry):
        time.sleep(SECONDS_BETWEEN_STEPS)
    return steps


# Dagster's loops ask again at once, which takes a whole core while no step runs because all wait
# for slots or for a retry. Both of its executors ask here, and neither has a setting for it.
ActiveExecution.get_steps_to_execute = _steps_without_haste


class _KnownProcess(dg.Executor):
    """Notes the process of the run, and frees the slots of dead runs before it asks for its own."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> Any:
        """As the executor within has it."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """As the executor within has it."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: Any, execution_plan: ExecutionPlan
    ) -> Iterator[dg.DagsterEvent]:
        """The events of the executor within."""
        instance, run_id = plan_context.instance, plan_context.run_id
        note_process(instance, run_id)
        for ended in end_dead_runs(instance):
            plan_context.log.info(said_of(ended))
        pools = {step.pool for step in execution_plan.steps if step.pool}
        try:
            with freeing_while_waiting(instance, run_id, pools, plan_context.log):
                yield from self._inner.execute(plan_context, execution_plan)
        finally:
            free_own_slots(instance, run_id)


def _known(definition: dg.ExecutorDefinition, name: str) -> dg.ExecutorDefinition:
    """The same executor, with the same name, configuration and requirements."""

    def create(context: dg.InitExecutorContext) -> dg.Executor:
        inner = definition.executor_creation_fn
        assert inner is not None
        return _KnownProcess(inner(context))

    return dg.ExecutorDefinition(
        name=name,
        config_schema=cast(Any, definition.config_schema),
        requirements=definition.get_requirements,
        executor_creation_fn=create,
        description=definition.description,
    )


EXECUTOR = _known(dg.multi_or_in_process_executor, "multi_or_in_process_executor")
IN_ONE_PROCESS = _known(dg.in_process_executor, "in_process")
