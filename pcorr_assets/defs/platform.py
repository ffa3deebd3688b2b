"""What every definition is built from: the settings, the warehouse, the partitions.

Belongs here: the object handed to each asset factory, and the lock around a run. Does
not belong here: assets, and reading the configuration file at import.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.defs.partitions import Partitions
from pcorr_assets.defs.run_processes import join_run
from pcorr_assets.warehouse import Warehouse


@dataclass(frozen=True)
class Platform:
    """The settings as they were when Dagster loaded the definitions, and what follows."""

    settings: Settings

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables under the home folder of the settings."""
        return Warehouse(self.settings.home)

    @cached_property
    def partitions(self) -> Partitions:
        """The partitions that the settings make."""
        return Partitions.of(self.settings)

    def settings_now(self) -> Settings:
        """The settings as the file says now: a sensor outlives many edits of it."""
        return load_settings(self.settings.path)

    @contextmanager
    def lock(self, context: dg.AssetExecutionContext, table: str, *keys: str) -> Iterator[None]:
        """Keep other runs off a partition; the second to come fails and names the first.

        Raises:
            PcorrError: another run has the partition, or this one was ended meanwhile.
        """
        join_run(context.instance, context.run.run_id)
        with self.warehouse.lock(table, *keys, holder=f"run {context.run.run_id}"):
            yield
