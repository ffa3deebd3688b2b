"""Waiting for what happens elsewhere: in another process, on the cluster, in the UI.

Belongs here: the wait, so patient that only a hang ends it. Does not belong here: a pause
of a fixed length, which is too short on some machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


def wait_for(
    what: str, condition: Callable[[], Found | None], seconds: float = 300, every: float = 0.1
) -> Found:
    """The first true value of `condition`; a failure after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(every)
    return value
