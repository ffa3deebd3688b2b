"""Which function does a job, and how a job learns that it should stop.

Belongs here: from a job description to the entry point of this room, and the request to
stop that a scheduler's signal makes. Does not belong here: any job, and where the
description came from.
"""

from __future__ import annotations

import importlib
import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.description import EVALUATE_LLM, SCORE_LLM
from pcorr_assets.jobs.score_pool_group import SCORE_POOL_GROUP

# Each is a module of this room with a function `run`.
JOBS = (SCORE_LLM, EVALUATE_LLM, SCORE_POOL_GROUP)


class StopRequest:
    """Remembers that one of `signals` came, as a scheduler sends it before it kills."""

    def __init__(self, signals: Iterable[signal.Signals] = (signal.SIGTERM,)) -> None:
        self._asked = False
        for number in signals:
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True

    def __call__(self) -> bool:
        return self._asked


def never() -> bool:
    """The answer of those who never ask a job to stop."""
    return False


def run(job: dict[str, Any], stop: Callable[[], bool] = never) -> dict[str, Any]:
    """Do the job that the description names in its field `job`; see the job for its result.

    `stop` is asked by jobs that can end early at any point and lose nothing (`stops_cleanly`).

    Raises:
        PcorrError: there is no such job, or what the job raises.
    """
    name = job.get("job")
    if name not in JOBS:
        raise PcorrError(f"There is no job {name!r}; there are {', '.join(JOBS)}.")
    module = importlib.import_module(f"pcorr_assets.jobs.{name}")
    return module.run(job, stop) if stops_cleanly(job) else module.run(job)


def stops_cleanly(job: dict[str, Any]) -> bool:
    """Does this job ask `stop` itself? The others are interrupted, and keep finished parts."""
    return job.get("job") == SCORE_LLM
