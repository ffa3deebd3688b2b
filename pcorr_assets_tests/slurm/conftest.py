"""The test cluster, and worlds on the folder that its jobs see."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from pcorr_assets.config import load_settings
from pcorr_assets.jobs import score_llm
from pcorr_assets.jobs.description import score_job
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.slurm import demo_world, worlds

ROOT = worlds.ROOT
SCRIPT = Path(__file__).parents[2] / "scripts" / "slurm-cluster"


@pytest.fixture(scope="session")
def cluster(require: Callable[[str, bool, str], None]) -> dict[str, Any]:
    """The section `compute` for the cluster of scripts/slurm-cluster, if it is up."""
    up = (
        os.geteuid() == 0
        and (ROOT / "compute.yaml").is_file()
        and subprocess.run([SCRIPT, "status"], capture_output=True, check=False).returncode == 0
    )
    require("slurm", up, "no cluster is up (scripts/slurm-cluster up)")
    return yaml.safe_load((ROOT / "compute.yaml").read_text())["compute"]


@pytest.fixture(scope="session")
def shared(cluster: dict[str, Any]) -> Iterator[Path]:
    """A folder that both sides see under the same path."""
    del cluster
    folder = ROOT / "shared" / f"tests-{os.getpid()}"
    folder.mkdir(parents=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def zoo(shared: Path) -> Path:
    worlds.write_zoo(shared / "zoo")
    return shared / "zoo"


@pytest.fixture(scope="session")
def demo(shared: Path) -> Path:
    """Six demo LLMs with the demo's sample, benchmarks and pool."""
    demo_world.write(shared / "demo")
    return shared / "demo"


@pytest.fixture(scope="session", autouse=True)
def ssh_sockets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Connections kept open by dagster-slurm end with the tests."""
    folder = tmp_path_factory.mktemp("ssh")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_SLURM_SSH_CONTROL_DIR", str(folder))
        yield
    for socket in folder.glob("cm-*"):
        subprocess.run(
            ["ssh", "-O", "exit", "-o", f"ControlPath={socket}", "nobody"],
            capture_output=True,
            check=False,
        )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def folder(shared: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for one test, seen by both sides."""
    folder = shared / request.node.name
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def long_work(shared: Path, zoo: Path) -> str:
    """Hash of `chunk_bpb` of the long sample, scored in this process, on one thread."""
    import torch

    config = worlds.write_world(shared, zoo, worlds.SHORT_BATCHES, worlds.long_texts(), "reference")
    settings = load_settings(config)
    before = torch.get_num_threads()
    score_llm.run(score_job(settings, worlds.SAMPLE, worlds.LLM, threads=1))
    torch.set_num_threads(before)
    return sha256_file(Warehouse(settings.home).path("chunk_bpb", worlds.LLM, worlds.SAMPLE))
