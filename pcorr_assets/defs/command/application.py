"""The application that the commands of `pcorr` belong to.

Belongs here: what all commands share: how errors are said, and the configuration that
they need. Does not belong here: any command.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.defs.instance import DEFAULT_HOME, HOME_VARIABLE
from pcorr_assets.errors import PcorrError

_ROOMS_OF_THE_INSTANCE = ("dagster", "dagster_shared", "sqlalchemy", "sqlite3", "alembic", "yaml")
# As a shell sees a program that SIGPIPE ended.
CLOSED_PIPE = 128 + signal.SIGPIPE


class _Commands(TyperGroup):
    """What the user can mend is said without a traceback; the exit status is then 1."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except PcorrError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        except OSError as error:
            # A path that cannot be read or written, a full disk; a closed pipe is not an error.
            if error.errno is None:
                raise
            if error.errno == errno.EPIPE:
                # Python would try to write the rest once more when it ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                raise typer.Exit(CLOSED_PIPE) from None
            typer.echo(_said(error), err=True)
            raise typer.Exit(1) from None
        except UnicodeEncodeError as error:
            typer.echo(
                f"{error.object!a} cannot be written in the encoding {error.encoding} of this "
                "shell's locale. Set LC_ALL=C.UTF-8 and run the command again.",
                err=True,
            )
            raise typer.Exit(1) from None
        except Exception as error:
            if not _is_of_the_instance(error):
                raise
            typer.echo(_said_of_instance(error), err=True)
            raise typer.Exit(1) from None


def _said(error: OSError) -> str:
    if error.errno == errno.ENOENT and error.filename is None:
        return "The working directory is gone (it was removed or renamed). Go to another one."
    return str(error)


def _is_of_the_instance(error: Exception) -> bool:
    """Whether Dagster, or the database under it, raised the error."""
    rooms = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not rooms.isdisjoint(
        ("dagster", "dagster_shared", "sqlalchemy", "sqlite3", "alembic", "yaml")
    )


def _said_of_instance(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = " ".join(lines[:3])[:500] or type(error).__name__
    return (
        f"The Dagster instance ({HOME_VARIABLE}, or {DEFAULT_HOME} beside pcorr.yaml) could not do "
        f"what was asked: {reason}\nLook at that folder: whether its disk is full or read-only, "
        "whether its dagster.yaml is in order, and whether another version of Dagster made it "
        "(then `dagster instance migrate`)."
    )


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
            f"There is no pcorr.yaml in this folder ({Path.cwd()}) and PCORR_CONFIG is not set. Go "
            "to its folder, or set PCORR_CONFIG; `pcorr demo` makes a world to try things on."
        )
    return load_settings(path)


def samples_or_pilots(
    settings: Settings, samples: Sequence[str] | None, pilot: bool
) -> Sequence[str]:
    """The samples that a command line names; with --pilot their pilots, or those of all samples.

    Raises:
        PcorrError: a sample that has no pilot was named, or there is no pilot at all.
    """
    if not pilot:
        return samples or ()
    with_pilot = [name for name in settings.samples if settings.pilot_of(name)]
    pilots = {name: settings.pilot_of(name) or name for name in samples or with_pilot}
    without = [n for n, own in pilots.items() if own not in map(settings.pilot_of, with_pilot)]
    if without or not pilots:
        raise PcorrError(
            f"{', '.join(map(repr, without)) or 'No sample'} has "
            f"{'no' if without else 'a'} pilot; with one: {', '.join(with_pilot) or 'none'}. State "
            "it at the sample in pcorr.yaml: `pilot: {pages_per_domain: 5}`."
        )
    return list(dict.fromkeys(pilots.values()))


def is_terminal() -> bool:
    """Can the user be asked?"""
    return sys.stdin.isatty() and sys.stderr.isatty()
