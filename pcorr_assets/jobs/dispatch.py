"""Which function does a job, and how a job learns that it should stop.

Belongs here: from a job description to the entry point of this room, and the request to
stop that a scheduler's signal makes. Does not belong here: any job, and where the
description came from.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs.description import EVALUATE_LLM, SCORE_LLM


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
    if name == SCORE_LLM:
        from pcorr_assets.jobs import score_llm

        return score_llm.run(job, stop)
    if name == EVALUATE_LLM:
        from pcorr_assets.jobs import evaluate_llm

        return evaluate_llm.run(job)
    raise PcorrError(f"There is no job {name!r}; there are {SCORE_LLM} and {EVALUATE_LLM}.")


def stops_cleanly(job: dict[str, Any]) -> bool:
    """Does this job ask `stop` itself? The others are interrupted, and keep finished parts."""
    return job.get("job") == SCORE_LLM
