"""The command `pcorr`: what one wants to do without opening the UI.

Belongs here: thin commands over functions that Dagster calls as well. Does not belong
here: anything that cannot also be done from Dagster.
"""

from __future__ import annotations

import argparse
import sys

import dagster as dg
from dagster._core.errors import DagsterHomeNotSetError

from pcorr_assets.config import Settings, find_config, load_settings
from pcorr_assets.defs.registration import register_llms, register_shards
from pcorr_assets.errors import PcorrError


def check_config(settings: Settings) -> None:
    """Say what the configuration holds; loading it has found every mistake already."""
    counts = {
        "samples": settings.samples,
        "LLMs": settings.llm_specs,
        "benchmarks": settings.benchmarks,
        "targets": settings.targets,
        "pools": settings.pools,
    }
    sys.stdout.write(f"{settings.path or 'no configuration file'}: no mistakes found\n")
    for what, found in counts.items():
        sys.stdout.write(f"  {what:10} {len(found):4}  {', '.join(list(found)[:5])}\n")


def register(settings: Settings) -> None:
    """Register the LLMs and the shards of the configuration as partitions."""
    with dg.DagsterInstance.get() as instance:
        for what, new in (
            ("LLMs", register_llms(instance, settings)),
            ("shards", register_shards(instance, settings)),
        ):
            sys.stdout.write(f"{len(new)} new {what}{': ' if new else ''}{', '.join(new)}\n")


COMMANDS = {
    "check-config": (check_config, "report every mistake in pcorr.yaml"),
    "register": (register, "add LLMs and pool shards of pcorr.yaml as partitions"),
}


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="pcorr", description="Reads pcorr.yaml ($PCORR_CONFIG) and uses $DAGSTER_HOME."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (_, explanation) in COMMANDS.items():
        commands.add_parser(name, help=explanation)
    options = parser.parse_args(arguments)
    try:
        COMMANDS[options.command][0](load_settings(find_config()))
    except (PcorrError, DagsterHomeNotSetError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0
