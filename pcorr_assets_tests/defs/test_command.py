"""The command `pcorr`: its help, exit statuses, instance, and the commands that look."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.defs.build import build_definitions
from pcorr_assets.defs.command import COMMANDS, main
from pcorr_assets.defs.instance import INSTANCE, dagster_home, open_instance
from pcorr_assets_tests.defs.command_world import CommandWorld, make_world

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
    for arguments in (
        ["status"],
        ["sql", "SELECT 1"],
        ["ui"],
        ["clean"],
        ["add-llm", "a/b"],
        ["check-config"],
        ["check-config", "--deep"],
    ):
        said = world.run(*arguments, status=1)
        assert f"no pcorr.yaml in this folder ({tmp_path})" in said
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
    own = tmp_path / "not" / "there"
    monkeypatch.setenv("DAGSTER_HOME", str(own))
    assert dagster_home(world.settings()) == own
    assert (own / "dagster.yaml").read_bytes() == INSTANCE.read_bytes()
    used = tmp_path / "used"
    (used / "history").mkdir(parents=True)
    monkeypatch.setenv("DAGSTER_HOME", str(used))
    assert dagster_home(world.settings()) == used
    assert os.listdir(used) == ["history"]
    assert not (world.folder / "dagster_home").exists()


def test_a_home_that_cannot_be_used_is_said_by_every_command(
    world: CommandWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = world.folder / "texts.jsonl"
    wrong = {
        "relative": "needs an absolute path",
        str(file): "cannot be used",
        str(file / "below"): "cannot be used",
        str(tmp_path / "what?" / "home"): "has a ? or an escape such as %20 in its path",
        str(tmp_path / "a%20b" / "home"): "has a ? or an escape such as %20 in its path",
    }
    for named, message in wrong.items():
        monkeypatch.setenv("DAGSTER_HOME", named)
        for command in (["status"], ["register"], ["ui"], ["clean"], ["free-slots"]):
            assert message in world.run(*command, status=1)
    assert not (tmp_path / "what").exists()


def test_an_instance_that_dagster_cannot_open_is_said_without_a_traceback(
    world: CommandWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "broken"
    home.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    for broken in ("concurrency: {pools: {granularity: other}}\n", "a: [\n", "no_such_key: 1\n"):
        (home / "dagster.yaml").write_text(broken)
        said = world.run("register", status=1)
        assert said.startswith("The Dagster instance (DAGSTER_HOME"), said
        assert "whether its dagster.yaml is in order" in said
    (home / "dagster.yaml").write_bytes(INSTANCE.read_bytes())
    (home / "history").mkdir()
    (home / "history" / "runs.db").write_text("no database at all, but a text that is long" * 50)
    assert "file is not a database" in world.run("register", status=1)


@pytest.mark.parametrize("name", ["it's a b", 'a"b*[c]', "100% äöü#;b"])
def test_a_project_in_a_folder_with_an_odd_name(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    world = CommandWorld(tmp_path / name)
    shutil.copytree(whole, world.folder)
    monkeypatch.chdir(world.folder)
    assert "no mistakes found" in world.run("check-config")
    assert "1 new LLMs: tiny/a" in world.run("register")
    assert world.run("sql", "--format", "csv", "SELECT count(*) AS n FROM chunks") == "n\n3\n"
    assert "exports/pcorr_export.duckdb: " in world.run("export")
    assert "chunk_bpb" in world.run("status")
    assert "0 files or folders" in world.run("clean")
    assert os.listdir(tmp_path) == [name]


def test_a_reader_that_is_gone_and_a_poor_locale_are_no_errors(world: CommandWorld) -> None:
    query = "SELECT 'größer ' || range AS text FROM range(100000)"
    command = [str(PCORR), "sql", "--format", "csv", query]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"text\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 128 + signal.SIGPIPE
    poor = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [str(PCORR), "sql", "SELECT chr(246) AS text"], env=poor, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert rb"\xf6" in done.stdout


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
