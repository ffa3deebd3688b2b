"""A small published matrix, as CSV files, and the definitions over it."""

from __future__ import annotations

import csv
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from pcorr_assets.config import Settings
from pcorr_assets.config.loading import settings_from
from pcorr_assets.defs.build import build_definitions
from pcorr_assets_tests.defs.command_world import make_world

FAMILIES, PER_FAMILY, PAGES = 8, 2, 40


def write_matrix(folder: Path, *, seed: int = 5) -> None:
    """Two CSV files: half of the pages are about what the benchmark `signal` asks for."""
    rng = np.random.default_rng(seed)
    llms = [f"('fam{f}', 'fam{f}/llm-{i}')" for f in range(FAMILIES) for i in range(PER_FAMILY)]
    skill = rng.normal(size=len(llms))
    general = rng.normal(size=len(llms))
    about = np.arange(PAGES) < PAGES // 2
    bpb = (
        1.5
        + 0.1 * general[:, None]
        + 0.3 * skill[:, None] * about
        + 0.02 * rng.normal(size=(len(llms), PAGES))
    )
    signal = 0.5 + 0.05 * skill
    with (folder / "bpb.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *llms])
        writer.writerows([f"page-{d:02}", *bpb[:, d]] for d in range(PAGES))
    with (folder / "errors.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["benchmark", *llms])
        writer.writerow(["signal", *signal])
        writer.writerow(["noise", *rng.permutation(signal)])


@pytest.fixture
def matrix_settings(tmp_path: Path) -> Settings:
    write_matrix(tmp_path)
    return settings_from(
        {
            "home": "home",
            "samples": {
                "published": {
                    "matrix_csv": {"bpb": "bpb.csv", "errors": "errors.csv", "level": "page"}
                }
            },
            "targets": {
                "good": {"benchmarks": ["signal"]},
                "bad": {"benchmarks": ["noise"]},
            },
            "selection": {"keep_ratio": 0.25},
            "validation": {"bootstrap": 40, "halvings": 20, "permutations": 200},
        },
        folder=tmp_path,
    )


Materialise = Callable[..., dg.ExecuteInProcessResult]


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def materialise(instance: dg.DagsterInstance) -> Materialise:
    """Run some assets of a configuration for one partition, in process."""

    def run(
        settings: Settings,
        names: Sequence[str],
        partition: str | dg.MultiPartitionKey | None = None,
        **options: Any,
    ) -> dg.ExecuteInProcessResult:
        definitions = build_definitions(settings)
        job = dg.define_asset_job("run", selection=list(names))
        resolved = dg.Definitions(assets=definitions.assets, jobs=[job])
        return resolved.resolve_job_def("run").execute_in_process(
            instance=instance, partition_key=partition, raise_on_error=False, **options
        )

    return run


def sample_target(sample: str, target: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey({"sample": sample, "target": target})


@pytest.fixture
def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small world with an instance, for the tests of commands to copy."""
    return make_world(tmp_path_factory.mktemp("world"), with_instance=True).folder
