"""A built wheel holds all that the package needs."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[1]


def test_a_wheel_loads_the_definitions_without_the_checkout(tmp_path: Path) -> None:
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PROJECT / "pcorr_assets", source / "pcorr_assets", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE", "dagster.yaml"):
        shutil.copy(PROJECT / name, source)
    # What the checkout's environment has already serves to build, so that no network is needed.
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    options = ["--no-build-isolation", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    (wheel,) = tmp_path.glob("pcorr_assets-*.whl")
    installed = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import pcorr_assets.definitions as d; "
        "from pcorr_assets.defs.instance import INSTANCE; "
        "assert d.__file__.startswith(sys.argv[1]), d.__file__; "
        "assert 'granularity: op' in INSTANCE.read_text(); "
        "from pcorr_assets.report.page import render_index; assert '<style>' in render_index([])"
    )
    # -P: the folder that the interpreter starts in must not lend it the checkout.
    subprocess.run([sys.executable, "-P", "-c", code, str(installed)], cwd=elsewhere, check=True)
