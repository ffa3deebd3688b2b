"""Task files, and the data that they name, in an object store."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import Settings, Storage, settings_from
from pcorr_assets.defs.deep_check.findings import Findings
from pcorr_assets.defs.deep_check.llms import check_benchmarks
from pcorr_assets.defs.deep_check.places import check_output
from pcorr_assets.errors import PcorrError
from pcorr_assets.jobs import evaluate_llm
from pcorr_assets.jobs.description import evaluate_job
from pcorr_assets.lm.benchmark_settings import benchmark_settings_sha256
from pcorr_assets.lm.task_folders import local_benchmarks
from pcorr_assets.storage import folders
from pcorr_assets.storage.folders import fetched_folder
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.storage.conftest import BUCKET, SECRET
from pcorr_assets_tests.storage.proxy import Fault, Proxy

URL = f"s3://{BUCKET}/lm/tasks"
TASK = """
include: base.txt
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: "{data}"}}}}
test_split: test
process_docs: !function code.first
"""
BASE = """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: "{{choices}}"
doc_to_target: "{{answer}}"
"""
CODE = "def first(docs):\n    return docs.select(range(8))\n"
ITEMS = "".join(
    json.dumps({"question": f"Item {n}:", "choices": ["rain", "fox"], "answer": n % 2}) + "\n"
    for n in range(12)
)


@pytest.fixture
def task_files(s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Writes the tasks into a folder and into the store, with data on the disk and there."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("datasets.config.DOWNLOADED_DATASETS_PATH", tmp_path / "cache" / "down")
    tiny.save_llm(tmp_path / "llm", "gpt2")
    here = tmp_path / "tasks"
    here.mkdir()
    (here / "items +.jsonl").write_text(ITEMS)

    def write(code: str = CODE, data: str = f"{URL}/items +.jsonl") -> None:
        s3.put_object(Bucket=BUCKET, Key="lm/tasks/items +.jsonl", Body=ITEMS.encode())
        for name, text in {"base.txt": BASE, "code.py": code}.items():
            (here / name).write_text(text)
            s3.put_object(Bucket=BUCKET, Key=f"lm/tasks/{name}", Body=text.encode())
        local = TASK.format(name="colours", data=here / "items +.jsonl")
        (here / "colours.yaml").write_text(local)
        there = TASK.format(name="colours", data=data).encode()
        s3.put_object(Bucket=BUCKET, Key="lm/tasks/deeper/colours.yaml", Body=b"- not a task")
        s3.put_object(Bucket=BUCKET, Key="lm/tasks/colours.yaml", Body=there)

    write()
    return write


def settings(folder: Path, storage: Storage, task_path: str = URL, **more: Any) -> Settings:
    there = {"metric": "acc", "task_path": task_path, "storage": storage.model_dump()}
    return settings_from(
        {
            "home": "home",
            "llms": [{"family": "tiny", "models": [{"key": "tiny-a", "path": "llm"}]}],
            "benchmarks": {"colours": there, **more},
        },
        folder=folder,
    )


def test_tasks_and_their_data_are_read_from_a_store(
    task_files: Callable[..., None], storage: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    local = settings(tmp_path, storage, "tasks").model_copy(update={"home": tmp_path / "local"})
    there = settings(tmp_path, storage)
    rows = {}
    proxy.faults += [Fault("503", "lm/tasks/code.py"), Fault("drop", "items", times=1)]
    for name, one in {"local": local, "there": there}.items():
        result = evaluate_llm.run(evaluate_job(one, "tiny-a", device="cpu"))
        assert result["metadata"]["evaluated"] == ["colours"]
        (rows[name],) = Warehouse(one.home).read("benchmark_errors", "tiny-a").to_pylist()
    for name in ("score", "error", "sample_count", "stderr"):
        assert rows["there"].get(name) == rows["local"].get(name), name
    assert rows["there"]["sample_count"] == 8
    # What was evaluated counts as of today without the store being asked.
    proxy.seen.clear()
    current = local_benchmarks(there)["colours"]
    assert rows["there"]["settings_sha256"] == benchmark_settings_sha256("colours", current)
    assert proxy.seen == []
    again = evaluate_llm.run(evaluate_job(there, "tiny-a", device="cpu"))
    assert again["metadata"]["reused"] == ["colours"]
    assert not any(path.endswith("code.py") for _, path in proxy.seen)
    kept = b"".join(path.read_bytes() for path in there.home.rglob("*") if path.is_file())
    assert SECRET.encode() not in kept


def test_another_content_is_evaluated_again(
    task_files: Callable[..., None], storage: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    there = settings(tmp_path, storage)
    evaluate_llm.run(evaluate_job(there, "tiny-a", device="cpu"))
    task_files(code=CODE.replace("8", "6"), data="items +.jsonl")
    result = evaluate_llm.run(evaluate_job(there, "tiny-a", device="cpu"))
    assert result["metadata"]["evaluated"] == ["colours"]
    (row,) = Warehouse(there.home).read("benchmark_errors", "tiny-a").to_pylist()
    assert row["sample_count"] == 6


def test_what_cannot_be_fetched_costs_no_other_benchmark(
    task_files: Callable[..., None], storage: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    local = {"metric": "acc", "task_path": "tasks"}
    there = settings(tmp_path, storage, f"s3://{BUCKET}/lm/gone")
    benchmarks = {"lost": there.benchmarks["colours"]}
    benchmarks |= settings(tmp_path, storage, "tasks", colours=local).benchmarks
    both = there.model_copy(update={"benchmarks": benchmarks})
    with pytest.raises(PcorrError, match=r"1 of 2 benchmarks .*\n  lost: .*no file in it"):
        evaluate_llm.run(evaluate_job(both, "tiny-a", device="cpu"))
    rows = Warehouse(both.home).read("benchmark_errors", "tiny-a")
    assert rows["benchmark"].to_pylist() == ["colours"]


def test_the_check_looks_at_tasks_in_a_store(
    task_files: Callable[..., None], s3: Any, storage: Storage, proxy: Proxy, tmp_path: Path
) -> None:
    def found(one: Settings) -> list[tuple[Any, str]]:
        findings = Findings()
        check_benchmarks(one, findings)
        return [(finding.place, finding.text) for finding in findings.found]

    there = settings(tmp_path, storage)
    assert found(there) == []
    assert not there.home.exists()
    task_files(data="data/items.jsonl")
    ((place, text),) = found(there)
    assert place == ("benchmarks", "colours", "task_path")
    assert "names its data as 'data/items.jsonl', which is not in that folder" in text
    task_files(data="items +.jsonl")
    assert found(there) == []
    ((_, text),) = found(settings(tmp_path, storage, f"s3://{BUCKET}/none"))
    assert "there is no file in it: check bucket and folder" in text
    ((_, text),) = found(settings(tmp_path, storage, "s3://no-such-bucket/none"))
    assert "no such object or bucket" in text
    outputs = Findings()
    for bucket in (BUCKET, "no-such-bucket"):
        check_output(("exports", "output"), f"s3://{bucket}/new", storage, outputs)
    ((place, text),) = [(finding.place, finding.text) for finding in outputs.found]
    assert place == ("exports", "output")
    assert "s3://no-such-bucket/new: there is no such object or bucket" in text


def test_a_folder_is_copied_by_what_it_holds(
    s3: Any, storage: Storage, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(refresh: bool = True) -> Path:
        return fetched_folder(f"s3://{BUCKET}/a [1]", storage, tmp_path, refresh=refresh)

    for name in ("x/ä#?.txt", "y.txt", ".hidden", "../out"):
        s3.put_object(Bucket=BUCKET, Key=f"a [1]/{name}", Body=name.encode())
    s3.put_object(Bucket=BUCKET, Key="a 1/not-this", Body=b"")
    first = fetch()
    files = {str(path.relative_to(first)) for path in first.rglob("*") if path.is_file()}
    assert files == {"x/ä#?.txt", "y.txt"}
    s3.put_object(Bucket=BUCKET, Key="a [1]/y.txt", Body=b"other")
    assert fetch(refresh=False) == first
    second = fetch()
    assert (second / "y.txt").read_bytes() == b"other"
    assert (first / "y.txt").read_bytes() == b"y.txt"
    (second / "y.txt").write_text("damaged")
    assert fetch(refresh=False) == second
    assert (second / "y.txt").read_bytes() == b"other"
    for name, message in (("x//y", "is none that a file can have"),
                          ("y.txt/z", "is both a file and a folder")):  # fmt: skip
        s3.put_object(Bucket=BUCKET, Key=f"a [1]/{name}", Body=b"")
        with pytest.raises(PcorrError, match=message):
            fetch()
        s3.delete_object(Bucket=BUCKET, Key=f"a [1]/{name}")
    monkeypatch.setattr(folders, "MOST_FILES", 1)
    with pytest.raises(PcorrError, match="holds more than 1 files"):
        fetch()
    assert not list(tmp_path.glob(".fetching-*"))
