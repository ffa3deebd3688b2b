"""The command `pcorr`: what one wants to do without opening the UI.

Belongs here: thin commands over functions that Dagster calls as well, one module for each
group of them. Does not belong here: anything that cannot also be done from Dagster, and
imports that a command does not need: `pcorr --help` answers at once.
"""

from __future__ import annotations

import io
import signal
import sys
import threading
from typing import Any

from pcorr_assets.defs.command.application import app
from pcorr_assets.defs.command.files import clean, export, verify
from pcorr_assets.defs.command.llms import add_llm_command, register, remove_llm_command
from pcorr_assets.defs.command.looking import check_config, sql, status
from pcorr_assets.defs.command.planning import plan_command
from pcorr_assets.defs.command.publishing import publish
from pcorr_assets.defs.command.running import run
from pcorr_assets.defs.command.runs import free_slots
from pcorr_assets.defs.command.serving import demo, ui

__all__ = ["app", "main"]

COMMANDS = (
    ("run", run, "Make everything that is missing or stale."),
    ("demo", demo, "Run the whole pipeline on a small embedded world."),
    ("ui", ui, "Serve the Dagster UI and its daemon."),
    ("check-config", check_config, "Report every mistake in pcorr.yaml at once."),
    ("status", status, "What is materialised, missing, failed, stale."),
    ("free-slots", free_slots, "End runs whose process is gone; free their slots."),
    ("sql", sql, "Ask the warehouse in SQL."),
    ("plan", plan_command, "What scoring the LLMs that are missing will cost."),
    ("add-llm", add_llm_command, "Check an LLM and put it on the list."),
    ("remove-llm", remove_llm_command, "Take an LLM off the list."),
    ("clean", clean, "List the files of keys that are gone; move them away."),
    ("verify", verify, "Name the files that are not as they were written."),
    ("export", export, "One DuckDB file with everything, or a wide matrix."),
    ("publish", publish, "Push a filter, selection or matrix to the hub."),
    ("register", register, "Add what pcorr.yaml lists as partitions, now."),
)

for name, function, explanation in COMMANDS:
    app.command(name, short_help=explanation)(function)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, 1 with the reason on standard error, or 2 for a wrong command line.

    SIGTERM and a reader of the output that is gone (`| head`) end a command as its shell
    expects, with 143 and 141, and without a word.
    """
    for stream in (sys.stdout, sys.stderr):
        # What a terminal cannot show is escaped, and no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _end)
    try:
        app(args=arguments, prog_name="pcorr")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end(number: int, frame: Any) -> None:
    """End by a signal as by an exception: what was begun is put away."""
    raise SystemExit(128 + number)
