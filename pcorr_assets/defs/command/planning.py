"""`pcorr plan`: the bill before it is paid.

Belongs here: asking what is missing and printing it. Does not belong here: finding it out
(`defs.costs`), its words (`defs.bill`) and the prediction (`lm.cost`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcorr_assets.config import Settings
from pcorr_assets.defs.command.application import configured, samples_or_pilots
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.defs.costs import Missing
    from pcorr_assets.lm.cost import Cost, Measured, Rate


def plan_command(
    sample: Annotated[
        list[str] | None, typer.Option(help="Only this sample; may be given several times.")
    ] = None,
    pilot: Annotated[
        bool,
        typer.Option("--pilot", help="Only the pilots: of --sample, or of all that have one."),
    ] = False,
    budget_hours: Annotated[
        float | None, typer.Option(min=0, help="Which LLMs fit so many device-hours?")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="Reckon with this device's data sheet, not with measurements."),
    ] = None,
    hub: Annotated[
        bool, typer.Option("--hub", help="Ask the hub for sizes that nothing else states.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, for programs.")] = False,
) -> None:
    """What scoring the LLMs that are missing will cost: device-hours, memory, download.

    Times are told from the LLMs that were scored here, on the same kind of device; before the
    first one from a device's data sheet (`plan.device`, or --device). Below the bill stands, for
    every LLM that was scored, what the others would have predicted: how far to trust it.
    Evaluation with lm-eval is not included. Nothing is downloaded or run.

        pcorr plan --budget-hours 100
        pcorr plan --device H100 --json
    """
    settings = configured()
    from pcorr_assets.defs.bill import rate_of
    from pcorr_assets.defs.costs import measured_llms, missing_costs
    from pcorr_assets.lm.cost import within
    from pcorr_assets.lm.hub import stated_parameters
    from pcorr_assets.warehouse import Warehouse

    wh = Warehouse(settings.home, with_database=False)
    measured = measured_llms(wh)
    rate, reckoned = rate_of(settings, measured, device)
    missing = missing_costs(
        settings, wh, rate, samples=_samples(settings, samples_or_pilots(settings, sample, pilot)),
        device=reckoned,
        ask_hub=stated_parameters if hub else None,
    )  # fmt: skip
    chosen = None
    if budget_hours is not None:
        scored = {s.family for key, s in settings.llm_specs.items() if _is_scored(wh, key)}
        chosen = within(missing.costs, budget_hours, scored)
    if as_json:
        typer.echo(json.dumps(_as_json(missing, rate, measured, chosen), indent=1))
        return
    _print_costs(missing.costs, rate)
    if chosen is not None and budget_hours is not None:
        _print_budget(missing.costs, chosen, budget_hours)
    for what in missing.unknown:
        typer.echo(f"not known: {what}", err=True)
    _print_trust(measured)


def _samples(settings: Settings, wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in settings.text_samples:
            raise PcorrError(
                f"{name!r} is no sample with text; there are: "
                f"{', '.join(settings.text_samples) or 'none'}"
            )
    return list(dict.fromkeys(wanted or settings.text_samples))


def _is_scored(wh: Any, llm: str) -> bool:
    return any(keys[0] == llm for keys in wh.partitions("chunk_bpb"))


def _print_costs(costs: Sequence[Cost], rate: Rate) -> None:
    from pcorr_assets.defs.bill import COLUMNS, cells, pilots_in_words, totals

    if not costs:
        typer.echo("nothing that could be told of is missing")
        return
    width = max(len(cost.llm) for cost in costs)
    rows = [("LLM", COLUMNS), *((cost.llm, cells(cost)) for cost in costs)]
    for name, row in (*rows, (f"{len(costs)} LLMs", totals(costs))):
        typer.echo(f"{name:{width}}" + "".join(f"  {cell:>10}" for cell in row))
    typer.echo(f"device-hours by {rate.basis}; memory and devices of the largest")
    if pilots := pilots_in_words(costs):
        typer.echo(pilots)


def _print_budget(costs: Sequence[Cost], chosen: Sequence[Cost], hours: float) -> None:
    from pcorr_assets.defs.bill import hours_in_words

    spent = sum(cost.hours for cost in chosen)
    families = len({cost.family for cost in chosen})
    typer.echo(
        f"\n{hours:g} device-hours take {len(chosen)} of {len(costs)} LLMs of {families} families "
        f"({hours_in_words(spent)} h); first one of each family that has none, the cheapest, then "
        "the cheapest of all:"
    )
    for cost in chosen:
        typer.echo(f"  {hours_in_words(cost.hours):>10} h  {cost.llm}")


def _print_trust(measured: Sequence[Measured]) -> None:
    from pcorr_assets.lm.cost import predicted_and_actual

    pairs = [(one, told) for one, told in predicted_and_actual(measured) if told is not None]
    if not pairs:
        return
    typer.echo("\nscored already, microseconds of a device a token, and what the others predict:")
    for one, told in pairs:
        actual = one.seconds_per_token
        typer.echo(
            f"  {actual * 1e6:10,.1f}  {told * 1e6:10,.1f}  {told / actual - 1:+5.0%}  "
            f"{one.llm} ({one.kind})"
        )
    off = statistics.median(abs(told / one.seconds_per_token - 1) for one, told in pairs)
    typer.echo(f"half of them within {off:.0%}")


def _as_json(
    missing: Missing, rate: Rate, measured: Sequence[Measured], chosen: Sequence[Cost] | None
) -> dict[str, Any]:
    from pcorr_assets.lm.cost import predicted_and_actual

    return {
        "rate": asdict(rate),
        "missing": [asdict(cost) for cost in missing.costs],
        "unknown": missing.unknown,
        "within_budget": None if chosen is None else [cost.llm for cost in chosen],
        "scored": [
            {**asdict(one), "predicted_seconds_per_token": told}
            for one, told in predicted_and_actual(measured)
        ],
    }
