"""What libraries print while the demo trains in its own process, kept off the terminal.

Belongs here: turning both standard streams aside for a while, and what is still shown. Does not
belong here: runs of Dagster, whose output is in their own logs.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from pcorr_assets import progress
from pcorr_assets.errors import PcorrError

LINES_SHOWN = 20


@contextmanager
def only_progress() -> Iterator[None]:
    """Within the block, only this project's progress and warnings are shown.

    The descriptors are turned aside, not only Python's streams: child processes and compiled
    code print as well. After an error that is a defect, the last lines of it all are shown.
    """
    with ExitStack() as stack:
        aside = stack.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
        shown = stack.enter_context(os.fdopen(os.dup(2), "w", buffering=1))
        handler = logging.StreamHandler(shown)
        handler.setFormatter(logging.Formatter("  %(message)s"))
        handler.addFilter(_is_ours)
        own = logging.getLogger("pcorr_assets")
        level = own.level
        own.addHandler(handler)
        own.setLevel(logging.INFO)
        streams = {1: os.dup(1), 2: os.dup(2)}
        try:
            for number in streams:
                os.dup2(aside.fileno(), number)
            with progress.shown_on(shown):
                yield
        except PcorrError:
            raise
        except Exception:
            aside.seek(0)
            shown.writelines(aside.readlines()[-LINES_SHOWN:])
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, before in streams.items():
                os.dup2(before, number)
                os.close(before)
            own.removeHandler(handler)
            own.setLevel(level)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name == progress.__name__ or record.levelno >= logging.WARNING
