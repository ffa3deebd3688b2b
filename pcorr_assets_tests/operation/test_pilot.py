"""A pilot through `pcorr run`: alone, with all that is made of it, and then the sample in full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.config.keys import to_slug
from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.instance import open_instance
from pcorr_assets.defs.plans import OUT_OF_DATE, Planner
from pcorr_assets.defs.platform import Platform
from pcorr_assets.defs.registration import register_llms
from pcorr_assets.defs.running.schedule import Schedule
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.operation.small_world import SmallWorld

PCORR = Path(sys.executable).with_name("pcorr")
LLMS = ("gpt2", "llama", "opt")


def run(world: SmallWorld, *arguments: str) -> str:
    found = subprocess.run(
        [PCORR, "run", *arguments],
        cwd=world.folder,
        capture_output=True,
        text=True,
        env={name: os.environ[name] for name in os.environ.keys() - {"DAGSTER_HOME"}},
    )
    assert found.returncode == 0, (found.stdout, found.stderr)
    return found.stdout


def materialisations(world: SmallWorld, asset: str) -> list[tuple[str, dict[str, object]]]:
    """Partitions of an asset in the order in which they were made, with their metadata."""
    with open_instance(load_settings(world.config)) as instance:
        records = instance.fetch_materializations(dg.AssetKey(asset), limit=100).records
    events = [record.asset_materialization for record in reversed(records)]
    return [
        (str(event.partition), {name: value.value for name, value in event.metadata.items()})
        for event in events
        if event is not None
    ]


@pytest.mark.long
def test_the_pilot_is_a_sample_of_its_own(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path, LLMS, len(LLMS), pilot={"pages_per_domain": 2})
    run(world, "--to", "report", "--pilot")
    assert [name for name, _ in materialisations(world, "chunked_dataset")] == ["web", "web@pilot"]
    scored = sorted(name for name, _ in materialisations(world, "chunk_bpb"))
    assert scored == [f"tiny-{number}|web@pilot" for number in range(len(LLMS))]
    wh = Warehouse(world.home)
    assert wh.partitions("verdicts") == [("web@pilot", "colour")]
    pages = set(wh.read("chunks", "web@pilot")["page_id"].to_pylist())
    assert Counter(page.split("/")[0] for page in pages) == dict.fromkeys(map(str, range(8)), 2)

    rows = wh.read("pilots", "web@pilot", "colour").to_pylist()
    (own,) = [row for row in rows if row["is_pilot"]]
    assert own["page_share"] == 2 / 3
    assert 0 <= own["overlap_low"] <= own["overlap"] <= own["overlap_high"] <= 1
    (noted,) = [noted for _, noted in materialisations(world, "estimate")]
    assert str(noted["pilot"]).startswith("Of the selection made from 16 of 24 pages (67%), ")
    page = (world.home / "reports" / to_slug("web@pilot") / "colour.html").read_text()
    assert str(noted["pilot"]) in page

    with open_instance(load_settings(world.config)) as instance:
        world.materialise(instance, ["chunk_bpb"])
    made = materialisations(world, "chunk_bpb")[len(LLMS) :]
    assert [name for name, _ in made] == [f"tiny-{number}|web" for number in range(len(LLMS))]
    count = wh.row_count("chunks", "web@pilot")
    assert {noted["taken_over_chunks"] for _, noted in made} == {count}


def test_all_pilots_are_waited_for(tmp_path: Path) -> None:
    world = SmallWorld(tmp_path, LLMS[:2], 2, pilot={"share": 0.3})
    settings = load_settings(world.config)
    platform = Platform(settings)
    graph = build_definitions(settings).resolve_asset_graph()
    with dg.DagsterInstance.ephemeral() as instance:
        register_llms(instance, settings)
        planner = Planner(platform, instance, graph)
        plan = planner.plan(["chunked_dataset", "chunk_bpb"], OUT_OF_DATE)
        schedule = Schedule(planner, plan.making)
    order = []
    while schedule.left:
        for parts in schedule.ready().values():
            order.append({partition for _, partition in parts})
            for part in parts:
                schedule.settle(part)
    assert order == [
        {"web"},
        {"web@pilot"},
        {"tiny-0|web@pilot", "tiny-1|web@pilot"},
        {"tiny-0|web", "tiny-1|web"},
    ]
