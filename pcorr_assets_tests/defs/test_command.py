"""The command `pcorr`: its help, exit statuses, instance, and the commands that look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.command import COMMANDS, main
from pcorr_assets.defs.instance import INSTANCE, dagster_home, open_instance
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.defs.command_world import CommandWorld, make_world
from pcorr_assets_tests.waiting import wait_for

PCORR = Path(sys.executable).with_name("pcorr")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_world(tmp_path_factory.mktemp("world")).folder


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return CommandWorld(tmp_path / "w")


def test_every_command_explains_itself(world: CommandWorld) -> None:
    overview = world.run("--help")
    for name, _, explanation in COMMANDS:
        assert name in overview
        assert explanation in overview
        assert "Usage: " in world.run(name, "--help")


def test_exit_statuses(world: CommandWorld, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config"]) == 0
    assert "no mistakes found" in capsys.readouterr().out
    for wrong in (["no-such-command"], ["sql"], ["status", "--state", "odd"], ["add-llm"]):
        assert main(wrong) == 2
    world.config.write_text("hom: x\nllms: 3\n")
    assert main(["check-config"]) == 1
    captured = capsys.readouterr()
    assert "did you mean home?" in captured.err
    assert "2 mistakes" in captured.err
    assert "Traceback" not in captured.err


def test_commands_say_that_there_is_no_configuration(
    world: CommandWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for arguments in (["status"], ["sql", "SELECT 1"], ["ui"], ["clean"], ["add-llm", "a/b"]):
        assert "no pcorr.yaml" in world.run(*arguments, status=1)
    assert "no configuration file" in world.run("check-config")
    assert sorted(os.listdir(tmp_path)) == ["w"]


def test_paths_that_cannot_be_written_are_said_without_a_traceback(
    world: CommandWorld, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "texts.jsonl/x.duckdb"]) == 1
    captured = capsys.readouterr()
    assert "texts.jsonl" in captured.err
    assert "Traceback" not in captured.err


def test_the_command_is_quick_where_it_can_be(world: CommandWorld) -> None:
    code = (
        "import sys; from pcorr_assets.defs.command import main; main(sys.argv[1:]); "
        "print([n for n in ('dagster', 'torch', 'transformers', 'datasets') if n in sys.modules])"
    )
    for arguments in (["--help"], ["sql", "SELECT 1"], ["check-config"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", arguments


def test_sql_answers_and_refuses(world: CommandWorld) -> None:
    assert json.loads(world.run("sql", "--format", "json", "SELECT count(*) n FROM chunks")) == [
        {"n": 3}
    ]
    assert world.run("sql", "-", "--format", "csv", answers=["SELECT 7 AS x"]) == "x\n7\n"
    assert "│" in world.run("sql", "SELECT 1")
    assert "no query but COPY" in world.run("sql", "COPY chunks TO 'x.csv'", status=1)
    assert not Path("x.csv").exists()


def test_the_instance_of_the_user_is_used(
    world: CommandWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own"
    for wrong in ("relative", str(own)):
        monkeypatch.setenv("DAGSTER_HOME", wrong)
        with pytest.raises(PcorrError, match="absolute path of a folder that exists"):
            dagster_home(world.settings())
    own.mkdir()
    assert dagster_home(world.settings()) == own
    assert os.listdir(own) == []
    assert not (world.folder / "dagster_home").exists()


def test_a_new_instance_is_made_once_beside_the_configuration(
    world: CommandWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = dagster_home(world.settings())
    assert home == world.folder / "dagster_home"
    assert (home / "dagster.yaml").read_bytes() == INSTANCE.read_bytes()
    changed = INSTANCE.read_text() + "# mine\n"
    (home / "dagster.yaml").write_text(changed)
    monkeypatch.chdir("/")
    monkeypatch.setenv("PCORR_CONFIG", str(world.config))
    assert "1 new LLMs: tiny/a" in world.run("register")
    assert (home / "dagster.yaml").read_text() == changed
    with open_instance(world.settings()) as instance:
        assert instance.get_dynamic_partitions("llm") == ["tiny/a"]


def test_the_instances_settings_of_checkout_and_package_are_one() -> None:
    assert INSTANCE.read_bytes() == (Path(__file__).parents[2] / "dagster.yaml").read_bytes()


def test_status_of_every_partition(world: CommandWorld) -> None:
    world.run("register")
    (world.folder / "texts.jsonl").write_text('{"id": "1", "txt": "no text column"}\n')
    with open_instance(world.settings()) as instance:
        job = build_definitions(world.settings()).resolve_implicit_global_asset_job_def()
        failed = job.execute_in_process(
            partition_key="web",
            asset_selection=[dg.AssetKey("chunked_dataset")],
            instance=instance,
            raise_on_error=False,
        )
    assert not failed.success
    overview = world.run("status")
    assert "failed:" in overview
    line = overview.splitlines()[-1]
    assert line.startswith("chunked_dataset  web  failed: ")
    assert "text" in line
    every = json.loads(world.run("status", "--json"))
    assert {"asset": "chunk_bpb", "partition": "tiny/a|web", "state": "missing"}.items() <= next(
        one for one in every if one["asset"] == "chunk_bpb"
    ).items()
    missing = world.run("status", "--asset", "chunk_bpb", "--asset", "bpb_matrix")
    assert [line.split() for line in missing.splitlines()] == [
        ["chunk_bpb", "tiny/a|web", "missing"],
        ["bpb_matrix", "web", "missing"],
    ]
    assert world.run("status", "--asset", "chunk_bpb", "--state", "failed") == ""
    assert "chunk_bp" in world.run("status", "--asset", "chunk_bp", status=1)


def test_the_installed_command_serves_the_ui(world: CommandWorld, free_port: int) -> None:
    environment = {**os.environ, "PCORR_CONFIG": str(world.config)}
    with (world.folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [PCORR, "ui", "--port", str(free_port)],
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for("the UI", lambda: answers(free_port))
        assert (world.folder / "dagster_home" / "dagster.yaml").is_file()
        said = (world.folder / "log").read_text()
        assert f"http://127.0.0.1:{free_port}" in said
        assert "Made the Dagster home" in said
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=120)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=10) as reply:
            return bool(json.load(reply)["dagster_version"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
