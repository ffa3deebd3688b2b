"""The short form of the faults: a few of most kinds, in the first stages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_what_faults_interrupt_or_damage_is_named_or_made_again(tmp_path: Path) -> None:
    # A process of its own, since children are forked of it, which may have no threads.
    command = [sys.executable, str(PROJECT / "scripts" / "faults.py"), "--short"]
    ended = subprocess.run(
        command, env={**os.environ, "TMPDIR": str(tmp_path)}, capture_output=True, text=True
    )
    said = f"{ended.stdout}\n{ended.stderr[-3000:]}"
    assert ended.returncode == 0, said
    count = re.search(r"(\d+) faults, 0 that were not survived", ended.stdout)
    assert count is not None, said
    assert int(count[1]) >= 15, said
    assert not list(tmp_path.glob("pcorr-faults-*"))
