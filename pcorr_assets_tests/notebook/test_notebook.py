"""The notebook of the documentation runs from top to bottom in a kernel of its own."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from pcorr_assets_tests.report import worlds

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.mark.parametrize("write_world", [worlds.write_text_world, worlds.write_matrix_world])
def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_world) -> None:
    write_world(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()
    outputs = [cell.outputs[0]["data"] for cell in notebook.cells if cell.get("outputs")]
    assert len(outputs) == sum(cell.cell_type == "code" for cell in notebook.cells)
    assert sum("image/png" in data for data in outputs) == 3
