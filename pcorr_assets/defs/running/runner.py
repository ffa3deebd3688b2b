"""The loop of `pcorr run`: what can begin is handed out, what has ended is settled.

Belongs here: the loop, and what follows from how a run ended. Does not belong here: choosing
what is due (`defs.plans`), the order (`schedule`), processes (`workers`), showing (`overview`).

A plan is made of the whole chain first. Each part is looked at once more before it begins: what
somebody else made or began meanwhile, and what came out as before, is not made again. When the
plan is done, the next one takes in what has come to exist since, until there is nothing to do.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import dagster as dg
from dagster._core.utils import make_new_run_id

from pcorr_assets.defs.backfills import daemon_is_on, parts_in_progress
from pcorr_assets.defs.partition_status import partition_states
from pcorr_assets.defs.plans import OUT_OF_DATE, Keep, Part, Plan, Planner, name_of, part_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.run_processes import end_dead_runs
from pcorr_assets.defs.running.outcome import Outcome, Stage
from pcorr_assets.defs.running.overview import Overview
from pcorr_assets.defs.running.request import Request
from pcorr_assets.defs.running.schedule import Schedule, in_one_run
from pcorr_assets.defs.running.stopping import Stopping
from pcorr_assets.defs.running.workers import Answer, Task, Worker, Workers

SECONDS_BETWEEN_DRAWINGS = 0.25
SECONDS_BETWEEN_LOOKS = 5.0
# What is out of date again each time that it is made would be made for ever.
MADE_AT_MOST = 3
# It takes the memory of the machine; see `compute.selection`.
ONE_AT_A_TIME = ("selected_data", "compared_selections")
AT_WORK = [
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
ENDED_BY_SOMEBODY = [dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED]


class Runner:
    """One `pcorr run`."""

    def __init__(
        self,
        platform: Platform,
        instance: dg.DagsterInstance,
        graph: Any,
        request: Request,
        workers: Workers,
        overview: Overview,
        stopping: Stopping,
    ) -> None:
        self._platform = platform
        self._instance = instance
        self._graph = graph
        self._request = request
        self._workers = workers
        self._overview = overview
        self._stopping = stopping
        self._assets = request.assets(graph, platform.settings)
        self._keep: Keep = request.keep(platform.settings, instance)
        self._given_up: dict[Part, str] = {}
        self._not_applicable: set[Part] = set()
        self._elsewhere: set[Part] = set()
        self._made: Counter[Part] = Counter()
        self._judged: dict[str, tuple[float, set[Part]]] = {}
        self._busy: tuple[float, set[Part]] = (0.0, set())
        self._looked = time.monotonic()
        self.outcome = Outcome()

    def plan(self) -> Plan:
        """All that is due now and was not given up."""
        self._elsewhere.clear()
        self._busy = (0.0, set())
        return self._planner().plan(self._assets, OUT_OF_DATE, self._keep, kept=self._request.kept)

    def run(self) -> Outcome:
        """Make all that is due, and what follows, until nothing is left that can be made."""
        waiting = ""
        while not self._stopping.signal:
            plan = self.plan()
            if again := [part for part in plan.making if self._made[part] >= MADE_AT_MOST]:
                self.outcome.troubles.append(
                    f"{name_of(again[0])} was made {MADE_AT_MOST} times and is out of date again: "
                    f"{plan.making[again[0]].reason}"
                )
            elif plan.making:
                waiting = ""
                self._make(plan)
                continue
            elif plan.in_progress and self._somebody_works():
                waiting = self._wait_for(plan, waiting)
                continue
            self.outcome.elsewhere.update(plan.in_progress)
            self.outcome.not_made |= plan.without_inputs
            self.outcome.not_applicable |= plan.not_applicable
            break
        self.outcome.signal = self._stopping.signal
        return self.outcome

    def _planner(self) -> Planner:
        return Planner(
            self._platform,
            self._instance,
            self._graph,
            self._elsewhere | self._in_backfills(),
            self._given_up,
            self._not_applicable,
        )

    # what others do

    def _in_backfills(self) -> set[Part]:
        """Asked for by backfills that a daemon is at; looked up now and then."""
        looked, found = self._busy
        if time.monotonic() - looked > SECONDS_BETWEEN_LOOKS:
            on = daemon_is_on(self._instance)
            found = parts_in_progress(self._instance, self._graph) if on else set()
            self._busy = (time.monotonic(), found)
        return found

    def _somebody_works(self) -> bool:
        """Whether what is in progress will ever end."""
        end_dead_runs(self._instance)
        at_work = self._instance.get_runs(dg.RunsFilter(statuses=AT_WORK), limit=1)
        return bool(at_work) or daemon_is_on(self._instance)

    def _wait_for(self, plan: Plan, said: str) -> str:
        line = f"  waiting for others, who make {len(plan.in_progress)} partition(s) of this:"
        line += f" {next(iter(plan.in_progress.values()))}"
        if line != said:
            self._overview.say(line)
        self._stopping.wait(SECONDS_BETWEEN_LOOKS)
        return line

    # handing out

    def _make(self, plan: Plan) -> None:
        schedule = Schedule(self._planner(), plan.making)
        for part in plan.making:
            self._stage(part[0]).total += 1
        stages = self.outcome.stages
        self.outcome.stages = {name: stages[name] for name in self._assets if name in stages}
        self._judged.clear()
        while not self._stopping.signal and (schedule.left or self._workers.busy):
            self._begin_what_can(schedule)
            self._draw()
            if self._workers.busy:
                self._listen(schedule)
        self._draw()

    def _stage(self, asset: str) -> Stage:
        return self.outcome.stages.setdefault(asset, Stage(asset))

    def _begin_what_can(self, schedule: Schedule) -> None:
        running = {part for worker in self._workers.busy for part in _task(worker).parts}
        ready = schedule.ready().items()
        # What needs no slot first: it is short, and LLMs take all processes that they get.
        for asset, parts in sorted(ready, key=lambda found: bool(self._pools(found[0]))):
            waiting = [part for part in parts if part not in running]
            if not waiting or not self._has_room(asset):
                continue
            due = self._judge(schedule, asset, waiting)
            for together in in_one_run(self._graph, due, self._workers.at_most) if due else ():
                if not self._has_room(asset):
                    break
                self._begin(asset, together)

    def _has_room(self, asset: str) -> bool:
        """Whether a run of the asset may begin: a process is free, and a slot of its pool."""
        if not self._workers.has_room:
            return False
        tasks = [_task(worker) for worker in self._workers.busy]
        if asset in ONE_AT_A_TIME and any(task.asset == asset for task in tasks):
            return False
        return all(
            sum(pool in self._pools(task.asset) for task in tasks) < self._slots(pool)
            for pool in self._pools(asset)
        )

    def _pools(self, asset: str) -> Collection[str]:
        return self._graph.get(dg.AssetKey(asset)).pools or ()

    def _slots(self, pool: str) -> int:
        """Dagster itself holds back what is over it, also with runs of others."""
        storage = self._instance.event_log_storage
        if not storage.supports_global_concurrency_limits:
            return 1
        info = storage.get_concurrency_infos([pool]).get(pool)
        return max(1, info.slot_count) if info is not None else 1

    def _judge(self, schedule: Schedule, asset: str, ready: Sequence[Part]) -> list[Part]:
        """The ready parts that are still due; the others are settled."""
        looked, known = self._judged.get(asset, (0.0, set()))
        if time.monotonic() - looked < SECONDS_BETWEEN_LOOKS and known.issuperset(ready):
            return list(ready)
        plan = self._planner().plan(
            [asset], OUT_OF_DATE, self._keep, kept=self._request.kept, only=set(ready)
        )
        self._judged[asset] = (time.monotonic(), set(plan.making))
        stage = self._stage(asset)
        for part in ready:
            if part in plan.making:
                continue
            if part in plan.in_progress:
                self._elsewhere.add(part)
                stage.not_made += 1
            elif part in plan.without_inputs or part in plan.not_applicable:
                reasons, told = (
                    (plan.without_inputs, self.outcome.not_made)
                    if part in plan.without_inputs
                    else (plan.not_applicable, self.outcome.not_applicable)
                )
                told[part] = self._given_up[part] = reasons[part]
                stage.not_made += 1
            else:
                stage.unchanged += 1
            self._settle(schedule, part)
        return [part for part in ready if part in plan.making]

    def _begin(self, asset: str, parts: Sequence[Part]) -> None:
        task = Task(asset, [partition for _, partition in parts], make_new_run_id())
        stage = self._stage(asset)
        stage.since = stage.since or task.since
        stage.running += len(parts)
        self._workers.begin(task)

    # what came of it

    def _listen(self, schedule: Schedule) -> None:
        """Take in what the processes say, and wait for a moment if they say nothing."""
        for answer in self._workers.listen(SECONDS_BETWEEN_DRAWINGS):
            if answer.progress is not None:
                answer.worker.progress = answer.progress
            elif answer.status is not None:
                self._ended(schedule, answer)
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            self._cancel_what_others_ended()

    def _ended(self, schedule: Schedule, answer: Answer) -> None:
        task = answer.worker.task
        answer.worker.task = None
        if answer.status == "gone":
            self._workers.forget(answer.worker)
        if task is None:
            return
        stage = self._stage(task.asset)
        stage.running -= len(task.partitions)
        stage.latest = time.monotonic()
        succeeded = answer.status == dg.DagsterRunStatus.SUCCESS.value
        reasons = {} if succeeded else self._why_not(task, answer)
        for part in task.parts:
            if part not in reasons:
                stage.done += 1
                self._made[part] += 1
            elif part in self._elsewhere:
                stage.not_made += 1
            else:
                stage.failed += 1
                self.outcome.failed[part] = reasons[part]
                self._given_up[part] = f"{name_of(part)} failed"
            self._settle(schedule, part)

    def _why_not(self, task: Task, answer: Answer) -> dict[Part, str]:
        """Of the parts of a run that did not succeed: which are not made, and why."""
        if answer.status == "gone":
            end_dead_runs(self._instance)
        reasons: dict[Part, str] = {}
        wanted = set(task.parts)
        for state in partition_states(self._instance, self._graph, [task.asset]):
            part = part_of(state)
            if part not in wanted or (state.state == "materialised" and not state.reason):
                continue
            if state.state == "in progress":
                self._elsewhere.add(part)
            reasons[part] = answer.said or state.reason or f"run {task.run_id[:8]} did not succeed"
        return reasons

    def _cancel_what_others_ended(self) -> None:
        """A run that somebody terminates in the UI ends here."""
        carriers = {_task(worker).run_id: worker for worker in self._workers.busy}
        if not carriers:
            return
        wanted = dg.RunsFilter(run_ids=sorted(carriers), statuses=ENDED_BY_SOMEBODY)
        for run in self._instance.get_runs(wanted):
            carriers[run.run_id].cancel()

    def _settle(self, schedule: Schedule, part: Part) -> None:
        schedule.settle(part)
        stage = self._stage(part[0])
        if stage.is_over:
            stage.until = time.monotonic()

    def _draw(self) -> None:
        doing: dict[str, str] = {}
        for worker in self._workers.busy:
            task = _task(worker)
            names = ", ".join(str(partition) for partition in task.partitions if partition)
            doing.setdefault(task.asset, worker.progress or names)
        for stage in self.outcome.stages.values():
            stage.doing = doing.get(stage.asset, "")
        self._overview.draw(self.outcome.stages.values())


def _task(worker: Worker) -> Task:
    assert worker.task is not None
    return worker.task
