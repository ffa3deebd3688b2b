"""The application that the commands of `pcorr` belong to.

Belongs here: what all commands share: how errors are said, and the configuration that
they need. Does not belong here: any command.
"""

from __future__ import annotations

import errno
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.errors import PcorrError


class _Commands(TyperGroup):
    """What the user can mend is said without a traceback; the exit status is then 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except PcorrError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        except OSError as error:
            # A path that cannot be read or written, a full disk; a closed pipe is not an error.
            if error.errno is None or error.errno == errno.EPIPE:
                raise
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=(
        "Perplexity correlations as a data platform: which texts to pretrain on for a "
        "benchmark.\n\n"
        "Commands read pcorr.yaml in the working directory, or the file that PCORR_CONFIG names, "
        "and use the Dagster instance of DAGSTER_HOME, or dagster_home beside pcorr.yaml. All "
        "that they do can be done in the Dagster UI as well (`pcorr ui`).\n\n"
        "Exit status: 0, 1 with the reason on standard error, 2 for a wrong command line."
    ),
)


def configured() -> Settings:
    """The settings of the configuration file.

    Raises:
        PcorrError: there is no such file, or it has mistakes.
    """
    path = find_config()
    if path is None:
        raise PcorrError(
            "There is no pcorr.yaml in this folder and PCORR_CONFIG is not set. Go to its folder, "
            "or set PCORR_CONFIG; `pcorr demo` makes a world to try things on."
        )
    return load_settings(path)


def is_terminal() -> bool:
    """Can the user be asked?"""
    return sys.stdin.isatty() and sys.stderr.isatty()
