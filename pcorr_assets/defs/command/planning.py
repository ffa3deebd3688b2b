"""`pcorr plan`: the bill before it is paid.

Belongs here: asking what is missing and printing it. Does not belong here: finding it out
(`defs.costs`) and the prediction (`lm.cost`).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pcorr_assets.config import Settings
from pcorr_assets.defs.command.application import configured
from pcorr_assets.errors import PcorrError

if TYPE_CHECKING:
    from pcorr_assets.defs.costs import Missing
    from pcorr_assets.lm.cost import Cost, Measured, Rate


def plan_command(
    sample: Annotated[
        list[str] | None, typer.Option(help="Only this sample; may be given several times.")
    ] = None,
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
    from pcorr_assets.defs.costs import missing_costs
    from pcorr_assets.defs.instance import open_instance
    from pcorr_assets.defs.membership import measured_llms
    from pcorr_assets.lm.cost import within
    from pcorr_assets.lm.hub import stated_parameters
    from pcorr_assets.warehouse import Warehouse

    wh = Warehouse(settings.home, with_database=False)
    with open_instance(settings) as instance:
        measured = measured_llms(instance, wh)
    rate, reckoned = _rate(settings, measured, device)
    missing = missing_costs(
        settings, wh, rate, samples=_samples(settings, sample), device=reckoned,
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


def _rate(
    settings: Settings, measured: Sequence[Measured], device: str | None
) -> tuple[Rate, str | None]:
    """The rate to reckon with, and the device of a data sheet that it is for, if it is for one."""
    from pcorr_assets.lm.cost import DEVICES, fit, published, usual_kind

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


def _samples(settings: Settings, wanted: Sequence[str] | None) -> list[str]:
    for name in wanted or ():
        if name not in settings.text_samples:
            raise PcorrError(
                f"{name!r} is no sample with text; there are: "
                f"{', '.join(settings.text_samples) or 'none'}"
            )
    return list(dict.fromkeys(wanted or settings.text_samples))


def _is_scored(wh: Any, llm: str) -> bool:
    return any(keys[0] == llm for keys in wh.partitions("chunk_bpb"))


def _print_costs(costs: Sequence[Cost], rate: Rate) -> None:
    if not costs:
        typer.echo("nothing that could be told of is missing")
        return
    width = max(len(cost.llm) for cost in costs)
    head = ("parameters", "from", "tokens", "hours", "memory", "devices", "download")
    typer.echo(f"{'LLM':{width}}" + "".join(f"  {name:>10}" for name in head))
    for cost in costs:
        cells = (
            _count(cost.parameters), cost.parameters_from, _count(cost.tokens), _hours(cost.hours),
            _bytes(cost.memory), str(cost.devices), _bytes(cost.download),
        )  # fmt: skip
        typer.echo(f"{cost.llm:{width}}" + "".join(f"  {cell:>10}" for cell in cells))
    total = (
        _count(sum(cost.parameters for cost in costs)), "", _count(sum(c.tokens for c in costs)),
        _hours(sum(cost.hours for cost in costs)), _bytes(max(cost.memory for cost in costs)),
        str(max(cost.devices for cost in costs)), _bytes(sum(cost.download for cost in costs)),
    )  # fmt: skip
    name = f"{len(costs)} LLMs"
    typer.echo(f"{name:{width}}" + "".join(f"  {cell:>10}" for cell in total))
    typer.echo(f"device-hours by {rate.basis}; memory and devices of the largest")
    if of_pilots := sum(cost.pilot_hours for cost in costs):
        rest = sum(cost.hours for cost in costs) - of_pilots
        typer.echo(
            f"first the pilots: {_hours(of_pilots)} hours, "
            f"{_count(sum(cost.pilot_tokens for cost in costs))} tokens; "
            f"then the rest: {_hours(rest)} hours"
        )


def _print_budget(costs: Sequence[Cost], chosen: Sequence[Cost], hours: float) -> None:
    spent = sum(cost.hours for cost in chosen)
    families = len({cost.family for cost in chosen})
    typer.echo(
        f"\n{hours:g} device-hours take {len(chosen)} of {len(costs)} LLMs of {families} families "
        f"({_hours(spent)} h); first one of each family that has none, the cheapest, then the "
        "cheapest of all:"
    )
    for cost in chosen:
        typer.echo(f"  {_hours(cost.hours):>10} h  {cost.llm}")


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


def _count(number: float) -> str:
    for unit, size in (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.0f}"


def _bytes(number: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= size:
            return f"{number / size:,.1f} {unit}"
    return f"{number} B"


def _hours(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"
