"""The script of the full-size figures runs in its small form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "full_size.py"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("kills", "1 kills in 1 passes, each equal to the undisturbed one"),
        ("selection", "selection of 10% of 200,000 documents"),
    ],
)
def test_the_small_form_runs(what: str, said: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), what, "--small", "--folder", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    assert list(tmp_path.iterdir()) == []
