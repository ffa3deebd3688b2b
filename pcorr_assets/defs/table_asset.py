"""What all assets that write tables have in common.

Belongs here: the decorator that gives an asset its metadata, versions, checks and
owners, and the result that ends a run. Does not belong here: any particular asset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from pcorr_assets.defs.automation import conditions
from pcorr_assets.defs.check_events import with_check_events
from pcorr_assets.defs.checks import table_check_results, table_check_specs
from pcorr_assets.defs.made_from import noting
from pcorr_assets.defs.metadata import definition_metadata, written_metadata
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.versions import code_version
from pcorr_assets.warehouse import WrittenPartition

OWNER = "team:pretraining-data"

# Every value depends on how tables are written.
ALWAYS = ("warehouse/store.py",)


def table_asset(
    platform: Platform,
    *,
    tables: Sequence[str],
    rooms: Sequence[str],
    sections: Sequence[str] = (),
    checks: Sequence[dg.AssetCheckSpec] = (),
    deps: Iterable[str | tuple[str, dg.PartitionMapping | None]] = (),
    note: str = "",
    **options: Any,
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """`dg.asset` for a function named like the asset it materialises.

    Args:
        tables: tables it writes; the first is the asset's own. None for other files.
        rooms: code that its values depend on, beside how tables are written.
        sections: parts of the configuration that its values depend on.
        deps: names of upstream assets, alone or with an explicit partition mapping.
        note: what its description says after the docstring of the function.
        checks: checks of its own, beside those generated for its tables.
        options: what else `dg.asset` takes (group_name, partitions_def, pool, ...).
    """
    upstream = [dep if isinstance(dep, tuple) else (dep, None) for dep in deps]

    def decorate(function: Callable[..., Any]) -> dg.AssetsDefinition:
        name = function.__name__
        return dg.asset(
            name=name,
            description="\n\n".join(filter(None, (function.__doc__, note))),
            deps=[dg.AssetDep(dep, partition_mapping=mapping) for dep, mapping in upstream],
            metadata=definition_metadata(tables),
            code_version=code_version((*rooms, *ALWAYS), platform.settings, sections, tables),
            check_specs=[
                *table_check_specs(name, tables, options.get("partitions_def")),
                *checks,
            ],
            owners=[OWNER],
            automation_condition=conditions(platform.settings).get(name),
            **options,
        )(with_check_events(noting(platform, function)))

    return decorate


def materialised(
    platform: Platform,
    written: Sequence[tuple[str, tuple[str, ...], WrittenPartition]],
    metadata: Mapping[str, Any],
    *,
    checks: Sequence[dg.AssetCheckResult] = (),
    also: Sequence[WrittenPartition] = (),
    own_metadata: bool = True,
) -> dg.MaterializeResult:
    """The end of a run that wrote `(table, keys, what was written)`, all of one partition.

    The data version is the content hash of the files and of what the run wrote `also`, so
    that writing the same again makes nothing downstream stale.
    `own_metadata=False` leaves rows and hash to the caller.
    """
    own = written_metadata(written) if own_metadata else {}
    partitions = [(table, keys) for table, keys, _ in written]
    return dg.MaterializeResult(
        metadata={**own, **metadata},
        data_version=data_version([*(part for *_, part in written), *also]),
        check_results=[*table_check_results(platform.warehouse, partitions), *checks],
    )


def data_version(written: Iterable[WrittenPartition]) -> dg.DataVersion:
    """The content hash of what a run wrote.

    Dagster has one version for all partitions of a run: where that are several, they share
    the hash of all.
    """
    digests = "".join(part.sha256 for part in written)
    return dg.DataVersion(hashlib.sha256(digests.encode()).hexdigest())
