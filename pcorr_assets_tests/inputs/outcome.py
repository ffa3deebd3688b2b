"""What hostile input may come to: success, or a message for a person; nothing else.

Belongs here: judging one outcome. Does not belong here: making inputs (`configs`,
`csv_files`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from pcorr_assets.errors import PcorrError

# A hang is longer than this in processor time, so that a busy machine makes none.
SECONDS_OF_PROCESSOR = 5.0
LONGEST_MESSAGE = 40_000


@dataclass(frozen=True)
class Case:
    """One input: `label` tells how it was made, so that a failure can be made again."""

    label: str
    content: bytes


@dataclass(frozen=True)
class Outcome:
    """`problem` is None for what is allowed; `refusal` is the message of a refusal."""

    label: str
    problem: str | None
    refusal: str | None = None


def outcome_of(case: Case, read: Callable[[bytes], object], place: str) -> Outcome:
    """Read one input; a refusal must name `place` (the file) and be no raw error."""
    start = time.process_time()
    refusal: str | None = None
    try:
        read(case.content)
        problem = None
    except PcorrError as error:
        refusal = str(error)
        problem = _problem_of(refusal, place)
    except RecursionError:
        problem = "RecursionError"
    except Exception as error:  # noqa: BLE001 - a raw error of any kind is looked for
        problem = f"{type(error).__name__}: {str(error)[:300]}"
    if time.process_time() - start > SECONDS_OF_PROCESSOR:
        problem = f"took {time.process_time() - start:.1f} s of processor time"
    return Outcome(case.label, problem, refusal)


def _problem_of(message: str, place: str) -> str | None:
    if place not in message:
        return f"does not name {place}: {message[:300]}"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message):,} characters"
    if "Traceback (most recent call last)" in message:
        return f"a traceback inside the message: {message[:300]}"
    return None
