"""What scoring the LLMs that are missing will cost, in words: for the command and for the UI.

Belongs here: which rate is reckoned with, the bill as lines and as metadata, and the last one that
was made, which descriptions quote. Does not belong here: finding out what is missing (`costs`) and
the prediction (`lm.cost`).

Descriptions are made whenever Dagster loads the definitions, in every process of every run. So they
make no bill: they quote the last one from a small file, with its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg

from pcorr_assets.config import Settings
from pcorr_assets.defs.costs import Missing, measured_llms, missing_costs
from pcorr_assets.errors import DamagedFileError, PcorrError
from pcorr_assets.lm.cost import DEVICES, Cost, Measured, Rate, fit, published, usual_kind
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.json_files import read_json, write_json

WHERE_THE_FRESH_ONE_IS = (
    "The bill as it is now: `pcorr plan`, or the metadata of the last `chunked_dataset` or "
    "`chunk_bpb`."
)
COLUMNS = ("parameters", "from", "tokens", "hours", "memory", "devices", "download", "disk")


def rate_of(
    settings: Settings, measured: Sequence[Measured], device: str | None = None
) -> tuple[Rate, str | None]:
    """The rate to reckon with, and the device of a data sheet that it is for, if it is for one.

    Raises:
        PcorrError: nothing was measured, and no device is named.
    """
    kind = None if device else usual_kind(measured)
    rate = fit(measured, kind) if kind else None
    if rate is not None and kind is not None:
        named = [name for name in DEVICES if name in kind.replace(",", " ").split()]
        return rate, named[0] if named else None
    wanted = device or settings.plan.device
    if wanted is None:
        raise PcorrError(
            "No LLM was scored here yet that a time could be told from. Name the device that it "
            f"will run on ({', '.join(DEVICES)}): --device, or `device` under `plan` in pcorr.yaml."
        )
    return published(wanted, settings.plan.utilisation), wanted


def cells(cost: Cost) -> tuple[str, ...]:
    """What stands under `COLUMNS` of an LLM."""
    return (
        count_in_words(cost.parameters), cost.parameters_from, count_in_words(cost.tokens),
        hours_in_words(cost.hours), bytes_in_words(cost.memory), str(cost.devices),
        bytes_in_words(cost.download), bytes_in_words(cost.disk),
    )  # fmt: skip


def totals(costs: Sequence[Cost]) -> tuple[str, ...]:
    """What stands under `COLUMNS` of all LLMs: sums, but memory and devices of the largest."""
    return (
        count_in_words(sum(cost.parameters for cost in costs)), "",
        count_in_words(sum(cost.tokens for cost in costs)),
        hours_in_words(sum(cost.hours for cost in costs)),
        bytes_in_words(max(cost.memory for cost in costs)),
        str(max(cost.devices for cost in costs)),
        bytes_in_words(sum(cost.download for cost in costs)),
        bytes_in_words(sum(cost.disk for cost in costs)),
    )  # fmt: skip


def pilots_in_words(costs: Sequence[Cost]) -> str | None:
    """What the pilots take and what the rest does; None without pilots."""
    of_pilots = sum(cost.pilot_hours for cost in costs)
    if not of_pilots:
        return None
    rest = sum(cost.hours for cost in costs) - of_pilots
    return (
        f"first the pilots: {hours_in_words(of_pilots)} hours, "
        f"{count_in_words(sum(cost.pilot_tokens for cost in costs))} tokens; "
        f"then the rest: {hours_in_words(rest)} hours"
    )


def in_a_sentence(missing: Missing, rate: Rate, samples: Sequence[str]) -> str:
    """The totals of a bill."""
    if not missing.costs:
        said = f"No LLM that could be told of is left to score on {', '.join(samples)}."
    else:
        _, _, tokens, hours, memory, devices, download, disk = totals(missing.costs)
        said = (
            f"{len(missing.costs)} LLM{'s are' if len(missing.costs) > 1 else ' is'} left to score "
            f"on {', '.join(samples)}: {tokens} tokens, {hours} device-hours by "
            f"{rate.basis}; the largest has weights of {memory} and needs {devices} device(s); "
            f"{download} to download, {disk} of disk."
        )
        if pilots := pilots_in_words(missing.costs):
            said += f" {pilots[0].upper()}{pilots[1:]}."
    if missing.unknown:
        said += f" Not known: {len(missing.unknown)} (`pcorr plan` names them)."
    return said


def bill_metadata(settings: Settings, wh: Warehouse) -> dict[str, Any]:
    """The bill of all samples as metadata of an asset, kept for the descriptions as well.

    Folders of local LLMs are not looked into, which takes seconds: one whose size nothing else
    states counts as not known. What stands in the way of a bill stands in its place: a run is not
    to fail for it.
    """
    samples = list(settings.text_samples)
    try:
        rate, device = rate_of(settings, measured_llms(wh))
        missing = missing_costs(
            settings, wh, rate, samples=samples, device=device, with_folders=False
        )
    except PcorrError as error:
        return {"left to score": str(error)}
    said = in_a_sentence(missing, rate, samples)
    keep(settings.home, said)
    if not missing.costs:
        return {"left to score": said}
    records = [
        dg.TableRecord({"LLM": cost.llm, **dict(zip(COLUMNS, cells(cost), strict=True))})
        for cost in missing.costs
    ]
    schema = dg.TableSchema([dg.TableColumn(name) for name in ("LLM", *COLUMNS)])
    return {
        "left to score": said,
        "what it will cost": dg.MetadataValue.table(records, schema=schema),
    }


def keep(home: Path, said: str) -> None:
    """Note the totals of the last bill, for the descriptions; without room there is no note."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    with suppress(OSError):
        write_json(_kept(home), {"said": said, "time": stamp})


def kept_in_words(home: Path) -> str:
    """The totals of the last bill with their time, and where the present one is; never fails."""
    try:
        kept = read_json(_kept(home))
        return f"As of {kept['time']}: {kept['said']} {WHERE_THE_FRESH_ONE_IS}"
    except (OSError, DamagedFileError, KeyError):
        return f"What it will cost: no bill was made yet. {WHERE_THE_FRESH_ONE_IS}"


def _kept(home: Path) -> Path:
    return home / "cache" / "bill.json"


def count_in_words(number: float) -> str:
    """1.2 k, 3.4 M, 5.6 B, 7.8 T."""
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def bytes_in_words(number: int) -> str:
    """Bytes in powers of 1000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number} B"


def hours_in_words(hours: float) -> str:
    """Hours, small ones with two digits that are not 0."""
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"
