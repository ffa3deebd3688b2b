"""`pcorr check-config --deep`: everything that would stop a run is found at once, with its line."""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pcorr_assets.config import settings_from
from pcorr_assets.defs.deep_check import Findings
from pcorr_assets.defs.deep_check.cluster import check_cluster
from pcorr_assets_tests.defs.command_world import CommandWorld, make_world
from pcorr_assets_tests.lm import hub_server

BROKEN = """\
home: texts.jsonl/data
samples:
  web:
    files: [texts.jsonl, "gone/*.jsonl", cut.json.gz]
    text_column: body
    reference_tokenizer: ./zoo/none
  columns:
    files: texts.jsonl
    domain_column: site
    reference_tokenizer: ./zoo/a
  empty:
    files: blank.jsonl
    reference_tokenizer: ./zoo/a
  scripted:
    dataset: ./scripted
    reference_tokenizer: ./zoo/a
  published:
    matrix_csv: {bpb: bpb.csv, errors: gone.csv}
llms:
  - family: tiny
    models:
      - {key: good, path: zoo/a}
      - {key: gone, path: zoo/gone}
      - {key: damaged, path: zoo/damaged}
benchmarks:
  colours: {metric: acc, task_path: tasks}
  colour: {metric: acc, task_path: tasks}
  lost: {metric: acc, task_path: nowhere}
selection:
  language_model: texts.jsonl
pools:
  crawl:
    sample: columns
    files: pool/*.parquet
    keep_ratio: 0.5
"""
TASK = """\
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: colours.jsonl}}
test_split: test
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list: [{metric: bits_per_byte}]
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_world(tmp_path_factory.mktemp("world")).folder
    (folder / "tasks").mkdir()
    (folder / "tasks" / "colours.yaml").write_text(TASK)
    return folder


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return CommandWorld(tmp_path / "w")


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_world_that_can_run_passes_and_nothing_is_made(world: CommandWorld) -> None:
    config = world.config.read_text().replace("{metric: acc}", "{metric: acc, task_path: tasks}")
    world.config.write_text(config)
    before = files_below(world.folder)
    said = world.run("check-config", "--deep")
    assert "all that it names can be used" in said
    assert "GB are free where" in said
    assert files_below(world.folder) == before


def test_everything_is_found_at_once_with_its_line(
    world: CommandWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config.write_text(BROKEN)
    content = gzip.compress(b'{"id": "1", "body": "a"}\n')
    (world.folder / "cut.json.gz").write_bytes(content[:2] + b"\0" * 20)
    (world.folder / "blank.jsonl").write_text('{"id": null, "text": " "}\n' * 3)
    (world.folder / "scripted").mkdir()
    (world.folder / "scripted" / "scripted.py").write_text("open('it-ran', 'w')")
    (world.folder / "bpb.csv").write_text("id,org/a\nx,1\n")
    shutil.copytree(world.folder / "zoo" / "a", world.folder / "zoo" / "damaged")
    (world.folder / "zoo" / "damaged" / "config.json").write_text("{")
    monkeypatch.setenv("DAGSTER_HOME", "relative")
    said = world.run("check-config", "--deep", status=1)
    lines = [line.strip() for line in said.splitlines()]
    for place, reason, line in (
        ("home: ", "cannot be made", 1),
        ("samples.web.files[1]: ", "no file matches", 4),
        ("samples.web.reference_tokenizer: ", "no such folder", 6),
        ("samples.columns.files: ", "no column 'site'; it has 'id', 'text'", 8),
        ("samples.empty.text_column: ", "have no value in 'text'", 11),
        ("samples.empty.id_column: ", "have no value in 'id'", 11),
        ("samples.scripted.dataset: ", "loading script", 15),
        ("samples.published.matrix_csv.errors: ", "gone.csv does not exist", 18),
        ("llms[0].models[1]: ", "zoo/gone", 23),
        ("llms[0].models[2]: ", "damaged", 24),
        ("benchmarks.colour: ", "did you mean colours?", 27),
        ("benchmarks.lost.task_path: ", "is no folder", 28),
        ("selection.language_model: ", "not a fastText classifier", 30),
        ("pools.crawl: ", "nothing counts its tokens", 32),
        ("pools.crawl.files[0]: ", "no file matches", 34),
        ("DAGSTER_HOME", "absolute path", None),
    ):
        ending = f"(line {line})" if line else ""
        assert any(
            text.startswith(place) and reason in text and text.endswith(ending) for text in lines
        ), (place, reason, said)
    assert "Traceback" not in said
    assert not Path("it-ran").exists()
    assert "llms[0].models[0]" not in said


def test_a_cluster_that_does_not_answer_is_said(world: CommandWorld, free_port: int) -> None:
    ssh = {"host": "127.0.0.1", "user": "nobody", "port": free_port, "host_key_checking": "off"}
    slurm = {"ssh": ssh, "remote_base": "/scratch/me", "environment": "/scratch/env"}
    settings = settings_from({"compute": {"mode": "slurm", "slurm": slurm}}, folder=world.folder)
    findings = Findings()
    check_cluster(settings, findings)
    (found,) = findings.found
    assert found.place == ("compute", "slurm", "ssh")
    assert "cannot be reached" in found.text


HUB_WORLD = """\
samples:
  web: {files: texts.jsonl, reference_tokenizer: ./zoo/a}
llms:
  - family: hub
    models: [org/known, org/unknown, org/known@v9]
"""


@pytest.mark.parametrize("is_up", [True, False])
def test_hub_names_are_asked_where_the_hub_answers(
    world: CommandWorld, free_port: int, is_up: bool
) -> None:
    world.config.write_text(HUB_WORLD)
    commit = "a" * 40
    repository = hub_server.Repository({commit: world.folder / "zoo" / "a"}, {"main": commit})
    with hub_server.serve({"org/known": repository}) as hub:
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_HOME": str(world.folder / "huggingface"),
            "HF_ENDPOINT": hub.url if is_up else f"http://127.0.0.1:{free_port}",
            "NO_PROXY": "127.0.0.1",
        }
        done = subprocess.run(
            [Path(sys.executable).with_name("pcorr"), "check-config", "--deep"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if is_up:
        assert done.returncode == 1
        assert "llms[0].models[1]: org/unknown does not exist" in done.stderr
        assert "llms[0].models[2]: org/known has no revision 'v9'" in done.stderr
        assert "models[0]" not in done.stderr
    else:
        assert done.returncode == 0, done.stderr
        for name in ("LLM org/known", "LLM org/unknown"):
            assert f"note: {name} was not checked: http://127.0.0.1" in done.stdout
    assert "Traceback" not in done.stderr
