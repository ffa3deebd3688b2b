"""`pcorr plan`: the paper's bill offline, and the prediction beside what runs took."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pcorr_assets.defs.bill import bill_metadata
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.jobs.scoring_runs import record_run
from pcorr_assets.warehouse import TABLES, Warehouse
from pcorr_assets_tests.dagster_ui import PROJECT
from pcorr_assets_tests.defs.command_world import CommandWorld
from pcorr_assets_tests.lm import tiny


@pytest.fixture
def paper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    """The configuration of the paper's run, with nothing there yet."""
    shutil.copy(PROJECT / "configs" / "rpjv2.yaml", tmp_path / "pcorr.yaml")
    monkeypatch.setenv("PCORR_CONFIG", str(tmp_path / "pcorr.yaml"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster_home"))
    return CommandWorld(tmp_path)


def test_the_bill_of_the_paper_offline(paper: CommandWorld) -> None:
    said = paper.run("plan", "--budget-hours", "40")
    assert "89 LLMs" in said
    assert "32% of the 312 TFLOP/s of A100 (data sheet)" in said
    assert "not known" not in said
    assert "29 of 89 LLMs of 27 families" in said

    bill = json.loads(paper.run("plan", "--json", "--device", "H100"))
    hours = sum(one["hours"] for one in bill["missing"])
    parameters = sum(one["parameters"] for one in bill["missing"])
    # The formula, by hand: 2 operations a parameter and token, at 32 % of the published peak.
    assert hours == pytest.approx(2 * parameters * 250e6 / (0.32 * 989e12) / 3600)
    assert parameters == pytest.approx(308e9, rel=0.01)
    # A row of 64 bytes for each 512 tokens.
    tables = {one["disk"] - one["download"] for one in bill["missing"]}
    assert tables == {64 * (250_000_000 // 512 + 1)}


def test_what_is_not_known_is_named(paper: CommandWorld) -> None:
    text = paper.config.read_text()
    text = text.replace("    microsoft/phi-1_5: 1400000000\n", "")
    paper.config.write_text(text)
    said = paper.run("plan")
    assert "88 LLMs" in said
    assert "not known: how many parameters microsoft/phi-1_5 has" in said
    paper.config.write_text(text.replace("  device: A100\n", ""))
    assert "Name the device that it will run on" in paper.run("plan", status=1)


def record(paper: CommandWorld, llm: str, parameters: int, rate: float, devices: int = 1) -> None:
    """What scoring an LLM took, at so many tokens a second of all devices."""
    report = {
        "device_name": "NVIDIA A100", "dtype": "float16", "scoring_workers": devices,
        "scoring_devices": devices, "parameter_count": parameters, "scored_token_count": 1000,
        "seconds": 1000 / rate,
        "tokens_per_second": rate, "operations_per_second": 2 * parameters * rate / devices,
        "padding_share": 0.0,
    }  # fmt: skip
    record_run(Warehouse(paper.home), llm, "rpjv2", report)


def test_measurements_count_once_there_are_some(paper: CommandWorld) -> None:
    record(paper, "one/llm-1b", 10**9, 2e5, devices=2)
    record(paper, "one/llm-2b", 2 * 10**9, 1e6 / 19)
    said = paper.run("plan")
    assert "2 LLMs scored on NVIDIA A100, float16" in said
    assert "one/llm-2b (NVIDIA A100, float16)" in said
    assert "+5%" in said


def test_a_pilot_and_the_rest_of_its_sample_cost_what_the_sample_does(paper: CommandWorld) -> None:
    def bill(*arguments: str) -> list[float]:
        found = json.loads(paper.run("plan", "--json", *arguments))["missing"]
        names = ("tokens", "pilot_tokens", "hours", "pilot_hours")
        return [sum(one[name] for one in found) for name in names]

    tokens, _, hours, _ = bill()
    assert "No sample has a pilot; with one: none." in paper.run("plan", "--pilot", status=1)
    text = paper.config.read_text()
    paper.config.write_text(
        text.replace("\n  rpjv2:\n", "\n  rpjv2:\n    pilot: {pages_per_domain: 5}\n")
    )
    assert bill() == pytest.approx([tokens, tokens / 5, hours, hours / 5])
    assert bill("--pilot") == bill("--sample", "rpjv2@pilot")
    assert bill("--pilot", "--sample", "rpjv2") == bill("--pilot", "--sample", "rpjv2@pilot")
    assert "'rpjv1' has no pilot; with one: rpjv2." in paper.run(
        "plan", "--pilot", "--sample", "rpjv1", status=1
    )
    assert bill("--sample", "rpjv2@pilot") == pytest.approx([tokens / 5] * 2 + [hours / 5] * 2)
    assert bill("--sample", "rpjv2") == pytest.approx([tokens, 0, hours, 0])
    said = paper.run("plan")
    assert "\nfirst the pilots: " in said

    # Where the sample is chunked, its pilot's tokens are counted; what is scored is not paid twice.
    tiny.write_chunks(paper.home, "rpjv2", tiny.TEXTS)
    counts = [len(text.split()) for text in tiny.TEXTS]
    found = json.loads(paper.run("plan", "--json"))["missing"][0]
    assert found["tokens"] == sum(counts)
    assert 0 < found["pilot_tokens"] <= sum(sorted(counts)[-5:])
    wh = Warehouse(paper.home)
    tiny.write_chunks(paper.home, "rpjv2@pilot", tiny.TEXTS[:3])
    values = ("rpjv2@pilot", found["llm"], "chunk", 1.0, 10, 20, 1.0, 0)
    schema = TABLES["chunk_bpb"].schema
    rows = pa.Table.from_pylist([dict(zip(schema.names, values, strict=True))], schema=schema)
    wh.write("chunk_bpb", (found["llm"], "rpjv2@pilot"), rows)
    again = json.loads(paper.run("plan", "--json"))["missing"][0]
    assert (again["llm"], again["pilot_tokens"]) == (found["llm"], 0)
    assert again["tokens"] == found["tokens"] - 10


def test_only_what_is_missing_of_a_sample_that_is_chunked(paper: CommandWorld) -> None:
    tiny.write_chunks(paper.home, "rpjv2", tiny.TEXTS)
    reference = sum(len(text.split()) for text in tiny.TEXTS)
    said = json.loads(paper.run("plan", "--json"))
    assert {one["tokens"] for one in said["missing"]} == {reference}
    tables = {one["disk"] - one["download"] for one in said["missing"]}
    assert tables == {64 * len(tiny.TEXTS)}


def test_descriptions_quote_the_last_bill(paper: CommandWorld) -> None:
    settings, wh = paper.settings(), Warehouse(paper.home)

    def descriptions() -> list[str]:
        found = build_definitions(settings)
        job = found.resolve_job_def("score_new_llms")
        asset = found.resolve_assets_def("chunk_bpb")
        schema: Any = job.nodes[0].definition
        pad = schema.config_schema.config_type.fields["llms"]
        return [asset.descriptions_by_key[asset.key], job.description or "", pad.description]

    assert all(
        "no bill was made yet. The bill as it is now: `pcorr plan`" in d for d in descriptions()
    )
    shown = bill_metadata(settings, wh)
    assert len(shown["what it will cost"].records) == 89
    hours = json.loads(paper.run("plan", "--json"))["missing"]
    total = f"{sum(one['hours'] for one in hours):,.1f} device-hours"
    assert "89 LLMs are left to score on rpjv2" in shown["left to score"]
    assert total in shown["left to score"]
    for said in descriptions():
        assert shown["left to score"] in said
        assert "As of 20" in said
    # What stands in the way of a bill costs no run, and the last bill stays.
    text = paper.config.read_text()
    paper.config.write_text(text.replace("  device: A100\n", ""))
    settings = paper.settings()
    assert "Name the device" in bill_metadata(settings, wh)["left to score"]
    assert total in descriptions()[0]
