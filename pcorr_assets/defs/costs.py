"""What is missing and what scoring it will cost.

Belongs here: which LLMs have no BPB on which samples, their sizes, and the tokens of samples.
Does not belong here: the prediction (`lm.cost`) and printing it (`command.planning`).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from pcorr_assets.config import LLMSpec, Settings
from pcorr_assets.lm.checkpoints import plain_dtype, text_parameter_count
from pcorr_assets.lm.cost import Cost, Measured, Rate, devices_needed, fit, size_in_name
from pcorr_assets.lm.placement import BYTES_OF_DTYPE
from pcorr_assets.text.pilot import pilot_chunks
from pcorr_assets.warehouse import Warehouse

if TYPE_CHECKING:
    from collections.abc import Sequence

# Of `chunk_bpb` as compressed, and of the batches that are kept until it is written.
BYTES_OF_A_CHUNK = 64
# Asked for the number of parameters that a repository states; None if it states none.
AskHub = Callable[[str], int | None]


@dataclass(frozen=True)
class Missing:
    """What is to be scored: costs by LLM, and what could not be told, in sentences."""

    costs: list[Cost]
    unknown: list[str]


def missing_costs(
    settings: Settings,
    wh: Warehouse,
    rate: Rate,
    *,
    samples: Sequence[str],
    device: str | None,
    ask_hub: AskHub | None = None,
    with_folders: bool = True,
) -> Missing:
    """What scoring all LLMs of the file that are not scored on `samples` takes.

    `rate` and `device` are what is reckoned with; with `with_folders`, folders of local LLMs are
    looked into for their sizes. An LLM whose size nothing states is left out and named, and so is
    a sample whose tokens nothing states.
    """
    unknown: list[str] = []
    tokens = {sample: _tokens(settings, wh, sample, unknown) for sample in samples}
    tables = {sample: _table_bytes(settings, wh, sample, tokens[sample]) for sample in samples}
    costs = []
    for key, spec in settings.llm_specs.items():
        missing = _missing_tokens(settings, wh, key, tokens)
        if not missing:
            continue
        parameters, source = _parameters(settings, wh, spec, ask_hub, with_folders)
        if parameters is None:
            unknown.append(
                f"how many parameters {key} has: state it under `plan.parameters` in pcorr.yaml"
                + ("" if ask_hub else ", or ask the hub with --hub")
            )
            continue
        total = sum(missing.values())
        of_pilots = sum(missing[name] for name in missing if settings.samples[name].pilot_of)
        memory = parameters * BYTES_OF_DTYPE[_dtype(spec, wh, device)]
        devices = devices_needed(memory, device)
        download = 0 if spec.path is not None else memory
        costs.append(
            Cost(
                llm=key,
                family=spec.family,
                parameters=parameters,
                parameters_from=source,
                samples=tuple(missing),
                tokens=total,
                pilot_tokens=of_pilots,
                pilot_hours=rate.seconds(parameters, of_pilots) / 3600 * devices,
                # Spread over devices, one computes while the others hold its layers and wait.
                hours=rate.seconds(parameters, total) / 3600 * devices,
                memory=memory,
                devices=devices,
                download=download,
                disk=download + sum(tables[name] for name in missing),
            )
        )
    return Missing(costs, unknown)


def measured_llms(wh: Warehouse) -> list[Measured]:
    """The rates of the LLMs that were scored, each by its run of most tokens."""
    runs = wh.read_sound("scoring_runs")[0].to_pylist()
    runs.sort(key=lambda run: (run["llm"], -run["scored_token_count"], run["sample"]))
    measured: dict[str, Measured] = {}
    for run in runs:
        if run["llm"] in measured or not run["tokens_per_second"] or not run["parameter_count"]:
            continue
        seconds = run["scoring_devices"] / run["tokens_per_second"]
        measured[run["llm"]] = Measured(
            run["llm"], run["parameter_count"], seconds, kind_of_device(run)
        )
    return list(measured.values())


def kind_of_device(noted: Mapping[str, Any]) -> str:
    """Device and dtype of a run."""
    return f"{noted['device_name']}, {noted['dtype']}"


def predicted_seconds(
    measured: Sequence[Measured], llm: str, parameters: int, noted: Mapping[str, Any]
) -> float | None:
    """What LLMs scored before would have said of a run that noted this; None if none was."""
    if not (tokens := noted.get("scored_token_count")):
        return None
    rate = fit([one for one in measured if one.llm != llm], kind_of_device(noted))
    if rate is None:
        return None
    return rate.seconds(parameters, tokens) / (noted.get("scoring_devices") or 1)


def _missing_tokens(
    settings: Settings, wh: Warehouse, llm: str, tokens: Mapping[str, int | None]
) -> dict[str, int]:
    """Tokens to score by sample, each chunk once: what a pilot has its sample takes over."""
    missing = {}
    for name, count in tokens.items():
        if count is None or wh.exists("chunk_bpb", llm, name):
            continue
        whole, pilot = settings.samples[name].pilot_of, settings.pilot_of(name)
        if whole is not None and wh.exists("chunk_bpb", llm, whole):
            continue
        if pilot is not None and (pilot in tokens or wh.exists("chunk_bpb", llm, pilot)):
            count = max(0, count - (tokens.get(pilot) or _tokens(settings, wh, pilot, []) or 0))
        missing[name] = count
    return missing


def _pilot_tokens(settings: Settings, wh: Warehouse, key: str) -> int | None:
    """Tokens of a pilot that is not cut out of its sample yet; None: nothing states them."""
    stated = settings.samples[key]
    assert stated.pilot_of is not None
    assert stated.pilot is not None
    if wh.exists("chunks", stated.pilot_of):
        columns = ["page_id", "domain", "reference_token_count"]
        chunks = wh.read("chunks", stated.pilot_of, columns=columns)
        inside = pilot_chunks(chunks, stated.pilot, stated.seed)
        return int(chunks["reference_token_count"].to_numpy()[inside].sum())
    whole, share = settings.plan.tokens.get(stated.pilot_of), stated.pilot.share
    if stated.pilot.pages_per_domain and stated.pages_per_domain:
        share = min(1.0, stated.pilot.pages_per_domain / stated.pages_per_domain)
    return None if whole is None or share is None else round(whole * share)


def _tokens(settings: Settings, wh: Warehouse, sample: str, unknown: list[str]) -> int | None:
    """Tokens of a sample: of the reference tokenizer, as the LLMs so far had more or fewer."""
    if not wh.exists("chunks", sample):
        stated = settings.plan.tokens.get(sample)
        if stated is None and settings.samples[sample].pilot_of is not None:
            stated = _pilot_tokens(settings, wh, sample)
        if stated is None:
            unknown.append(
                f"how many tokens sample {sample} has: materialise chunked_dataset, or state a "
                "guess under `plan.tokens` in pcorr.yaml"
            )
        return stated
    counts = wh.read("chunks", sample, columns=["reference_token_count"])[0]
    reference = int(pc.call_function("sum", [counts]).as_py() or 0)
    scored = [
        int(pc.call_function("sum", [wh.read("chunk_bpb", key, sample, columns=["token_count"])[0]])
            .as_py() or 0)
        for key in settings.llm_specs
        if wh.exists("chunk_bpb", key, sample)
    ]  # fmt: skip
    return round(statistics.median(scored)) if scored else reference


def _table_bytes(settings: Settings, wh: Warehouse, sample: str, tokens: int | None) -> int:
    """What is written for one LLM on a sample, of so many tokens if its chunks are not made."""
    if wh.exists("chunks", sample):
        return BYTES_OF_A_CHUNK * wh.row_count("chunks", sample)
    return BYTES_OF_A_CHUNK * ((tokens or 0) // settings.samples[sample].chunk_tokens + 1)


def _parameters(
    settings: Settings, wh: Warehouse, spec: LLMSpec, ask_hub: AskHub | None, with_folders: bool
) -> tuple[int | None, str]:
    """The number of parameters, from the best source there is, and which that was."""
    if wh.exists("llms", spec.key):
        rows = wh.read("llms", spec.key, columns=["parameter_count"]).to_pylist()
        if rows and rows[0]["parameter_count"]:
            return rows[0]["parameter_count"], "record"
    if spec.key in settings.plan.parameters:
        return settings.plan.parameters[spec.key], "file"
    if spec.path is not None:
        return (_of_folder(spec) if with_folders else None), "folder"
    assert spec.name is not None
    if ask_hub is not None and (stated := ask_hub(spec.name)) is not None:
        return stated, "hub"
    return size_in_name(spec.name), "name"


def _of_folder(spec: LLMSpec) -> int | None:
    from pcorr_assets.lm.identity import ResolvedLLM
    from pcorr_assets.lm.loading import load_skeleton

    # The content does not matter: nothing but the configuration is read.
    skeleton = load_skeleton(ResolvedLLM(spec, ""))
    return text_parameter_count(skeleton)


def _dtype(spec: LLMSpec, wh: Warehouse, device: str | None) -> str:
    if spec.dtype != "auto":
        return spec.dtype
    if wh.exists("llms", spec.key):
        rows: list[Mapping[str, str]] = wh.read("llms", spec.key, columns=["dtype"]).to_pylist()
        if rows and (known := plain_dtype(rows[0]["dtype"] or "")) in BYTES_OF_DTYPE:
            return known
    return "bfloat16" if device else "float32"
