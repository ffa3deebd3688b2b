"""`pcorr check-config --deep` on the cluster: what runs would need, asked before they do."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import settings_from
from pcorr_assets.defs.deep_check import Findings
from pcorr_assets.defs.deep_check.cluster import check_cluster

pytestmark = pytest.mark.slurm


def check(compute: dict[str, Any], folder: Path) -> Findings:
    findings = Findings()
    check_cluster(settings_from({"compute": compute}, folder=folder), findings)
    return findings


def test_a_cluster_that_takes_our_jobs_says_when(cluster: dict[str, Any], folder: Path) -> None:
    findings = check(cluster, folder)
    assert findings.found == []
    assert any("answers" in note for note in findings.notes)
    assert any("sbatch --test-only for chunk_bpb: " in note for note in findings.notes)


def test_everything_that_is_wrong_there_is_found_at_once(
    cluster: dict[str, Any], folder: Path
) -> None:
    wrong = deepcopy(cluster)
    wrong["slurm"] |= {"environment": "/nowhere", "remote_base": "/dev/null/jobs"}
    wrong["slurm"]["overrides"] = {"benchmark_errors": {"partition": "nosuch"}}
    found = {finding.place[2:]: finding.text for finding in check(wrong, folder).found}
    assert "/nowhere/activate.sh is not there" in found["environment",]
    assert "cannot be made or written there" in found["remote_base",]
    assert "nosuch" in found["overrides", "benchmark_errors"]
    assert len(found) == 3
