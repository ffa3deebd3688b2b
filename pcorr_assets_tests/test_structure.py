"""The rules of the house that a machine can keep."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pcorr_assets

PACKAGE = Path(pcorr_assets.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = (
    "torch", "transformers", "datasets", "lm_eval", "matplotlib", "fasttext", "sklearn", "warcio",
    "s3fs", "gcsfs", "adlfs", "botocore", "aiobotocore",
)  # fmt: skip


def names(paths: list[Path]) -> list[str]:
    return [path.relative_to(PACKAGE).as_posix() for path in paths]


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_only_defs_import_dagster(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    # The demo is a user of the platform, which launches runs.
    allowed = (
        relative.parts[0] in ("defs", "definitions.py") or relative.as_posix() == "demo/__main__.py"
    )
    assert allowed or "dagster" not in imported(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_modules_say_what_belongs_in_them(path: Path) -> None:
    is_data = path.parent.name == "topics" and path.name != "__init__.py"
    if is_data or (path.parent == PACKAGE and path.name == "__init__.py"):
        return
    documentation = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    assert "Belongs here:" in documentation
    assert "not belong here:" in documentation


@pytest.mark.parametrize("path", MODULES, ids=names(MODULES))
def test_modules_and_functions_stay_small(path: Path) -> None:
    source = path.read_text()
    assert source.count("\n") <= 420
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 70, node.name


def test_definitions_load_without_heavy_imports(tmp_path: Path) -> None:
    code = (
        "import sys, pcorr_assets.definitions; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == [], "loading definitions must not write anything"
