"""Processes that help the one that started them.

Belongs here: that they end with it. Does not belong here: what they do.
"""

from __future__ import annotations

import os
import threading
import time

SECONDS_BETWEEN_LOOKS = 0.5


def end_with(parent: int) -> None:
    """End this process, whatever it does, once the one with the id `parent` is gone."""
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os._exit(1)
