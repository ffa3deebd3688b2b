"""A run over one or several partitions of sample x target.

Belongs here: locking all its partitions, keeping what each of them came to, and ending
the run so that a failed target loses nothing of the others. Does not belong here: what is
computed for a target.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg

from pcorr_assets.defs.check_events import Outcome
from pcorr_assets.defs.checks import table_check_results
from pcorr_assets.defs.metadata import written_metadata
from pcorr_assets.defs.partitions import SAMPLE, TARGET, keys_of
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.table_asset import data_version
from pcorr_assets.defs.versions import CODE_VERSION_TAG
from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse import WrittenPartition

Written = tuple[str, tuple[str, ...], WrittenPartition]


class TargetRun:
    """Collects finished and failed targets of one run; the steps fill `failures[sample]`."""

    def __init__(self, platform: Platform, context: dg.AssetExecutionContext) -> None:
        self._platform = platform
        self._context = context
        self._written: list[Written] = []
        self._finished: list[tuple[dg.MultiPartitionKey, dict[str, Any], str]] = []
        self._checks: dict[str | None, list[dg.AssetCheckResult]] = {}
        self.failures: dict[str, dict[str, PcorrError]] = defaultdict(dict)
        self.targets_by_sample: dict[str, list[str]] = {}
        for partition_key in context.partition_keys:
            keys = keys_of(partition_key)
            self.targets_by_sample.setdefault(keys[SAMPLE], []).append(keys[TARGET])

    @contextmanager
    def locked(self, table: str) -> Iterator[None]:
        """Hold all partitions of the run, before anything is read."""
        with ExitStack() as stack:
            for sample, targets in self.targets_by_sample.items():
                for target in targets:
                    stack.enter_context(self._platform.lock(self._context, table, sample, target))
            yield

    def finished(
        self,
        keys: tuple[str, str],
        written: Sequence[Written],
        metadata: Mapping[str, Any],
        *checks: dg.AssetCheckResult,
    ) -> None:
        """Note a target whose tables are written, and what the asset's own checks say of it."""
        key = dg.MultiPartitionKey({SAMPLE: keys[0], TARGET: keys[1]})
        shown = {**written_metadata(written), **metadata}
        tables = [(table, where) for table, where, _ in written]
        self._written += written
        self._finished.append((key, shown, written[0][2].sha256))
        self._checks[key] = [*table_check_results(self._platform.warehouse, tables), *checks]

    def result(self) -> Outcome:
        """The end of the run.

        If a target failed, the others are recorded as materialised all the same, since their
        tables are there, and the run ends with a PcorrError that names those that failed.
        """
        failures = [
            f"{sample}|{target}: {error}"
            for sample, failed in self.failures.items()
            for target, error in failed.items()
        ]
        if failures:
            error = PcorrError(
                f"{len(failures)} target(s) failed, {len(self._finished)} are materialised:\n"
                + "\n".join(failures)
            )
            return Outcome(None, self._checks, self._materialisations(), error)
        for key, metadata, _ in self._finished:
            self._context.add_asset_metadata(metadata, partition_key=key)
        written = dg.MaterializeResult(
            data_version=data_version(part for *_, part in self._written)
        )
        return Outcome(written, self._checks)

    def _materialisations(self) -> list[dg.AssetMaterialization]:
        asset = self._context.asset_key
        version = self._context.assets_def.get_asset_spec(asset).code_version or ""
        return [
            dg.AssetMaterialization(
                asset,
                partition=key,
                metadata=metadata,
                tags={"dagster/data_version": sha256, CODE_VERSION_TAG: version},
            )
            for key, metadata, sha256 in self._finished
        ]
