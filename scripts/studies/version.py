"""Which commit a page was written at.

Belongs here: asking git. Does not belong here: pages.
"""

from __future__ import annotations

import subprocess
from pathlib import Path


def commit() -> str:
    """The short id of the commit that is checked out; CalledProcessError: there is none."""
    asked = ["git", "rev-parse", "--short", "HEAD"]
    folder = Path(__file__).parent
    found = subprocess.run(asked, cwd=folder, check=True, capture_output=True, text=True)
    return found.stdout.strip()
