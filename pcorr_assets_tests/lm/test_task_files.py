"""Which changes in a folder of local tasks outdate which benchmark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pcorr_assets.config import Benchmark
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256, evaluation_sha256
from pcorr_assets.lm.task_files import task_files_sha256

FILES = {
    "base.txt": "output_type: multiple_choice\ndoc_to_text: !function code.text\n",
    "a.yaml": """
include: base.txt
task: a
dataset_path: json
dataset_kwargs: {data_files: {test: "DATA/a.jsonl", train: ["DATA/many-*.jsonl"]}}
""",
    "b.yaml": "task: b\ntag: tagged\ndataset_path: o/n\nprocess_docs: !function deep.nothing\n",
    "c.yaml": "task: c\nmetric_list: [{metric: !function deep.metric}]\n",
    "inner.yaml": "group: inner\ntask: [b, {task: c, num_fewshot: 2}]\n",
    "outer.yaml": "group: outer\ntask:\n  - group: inline\n    task: [tagged]\n  - inner\n",
    "code.py": "import helper\nimport json\n\n\ndef text(doc):\n    return doc\n",
    "helper.py": "HELP = 1\n",
    "deep.py": "def nothing(docs):\n    return docs\n",
    "broken.yaml": "task: [a, b\n",
    "loader.yaml": "task: loader\ncustom_dataset: !function deep.nothing\n",
    "readme.md": "for people\n",
}
NAMES = ("a", "b", "c", "inner", "outer", "loader")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tasks, groups and code, with the data elsewhere."""
    data, folder = tmp_path / "data", tmp_path / "tasks"
    data.mkdir()
    folder.mkdir()
    for name in ("a", "many-1", "many-2"):
        (data / f"{name}.jsonl").write_text(json.dumps({"name": name}) + "\n")
    for name, text in FILES.items():
        (folder / name).write_text(text.replace("DATA", str(data)))
    return folder


def hashes(folder: Path) -> dict[str, str]:
    return {name: task_files_sha256(name, folder) for name in NAMES}


@pytest.mark.parametrize(
    ("path", "outdated"),
    [
        ("tasks/new.yaml", "loader"),
        ("tasks/readme.md", "loader"),
        ("tasks/a.yaml", "a loader"),
        ("tasks/base.txt", "a loader"),
        ("tasks/code.py", "a loader"),
        ("tasks/helper.py", "a loader"),
        ("tasks/b.yaml", "b inner outer loader"),
        ("tasks/c.yaml", "c inner outer loader"),
        ("tasks/deep.py", "b c inner outer loader"),
        ("tasks/inner.yaml", "inner outer loader"),
        ("tasks/outer.yaml", "outer loader"),
        ("data/a.jsonl", "a"),
        ("data/many-1.jsonl", "a"),
        ("data/many-3.jsonl", "a"),
        ("data/other.jsonl", ""),
    ],
)
def test_a_file_outdates_what_depends_on_it(folder: Path, path: str, outdated: str) -> None:
    before = hashes(folder)
    changed = folder.parent / path
    text = changed.read_text() if changed.exists() else "task: new\n"
    changed.write_text(text + "# more\n")
    after = hashes(folder)
    assert [name for name in NAMES if after[name] != before[name]] == outdated.split()


def test_a_missing_file_is_another_content(folder: Path) -> None:
    before = hashes(folder)
    data = folder.parent / "data" / "a.jsonl"
    kept = data.read_bytes()
    data.unlink()
    assert hashes(folder)["a"] != before["a"]
    data.write_bytes(kept)
    assert hashes(folder) == before


def test_a_name_that_no_file_defines_depends_on_the_whole_folder(folder: Path) -> None:
    before = task_files_sha256("unknown", folder)
    (folder / "readme.md").write_text("changed\n")
    assert task_files_sha256("unknown", folder) != before


def test_another_place_of_the_same_files_is_the_same(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("copy"))
    assert hashes(folder.with_name("copy")) == hashes(folder)
    for of in (evaluation_sha256, benchmark_settings_sha256):
        here, there = (
            of("outer", Benchmark.model_validate({"metric": "acc", "task_path": str(path)}))
            for path in (folder, folder.with_name("copy"))
        )
        assert here == there
