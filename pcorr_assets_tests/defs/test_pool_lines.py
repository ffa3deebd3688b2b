"""How far pools are, in `pcorr status` and in the asset `partition_overview`."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from pcorr_assets.config import FastText, Settings
from pcorr_assets.filters.fitting import train_model
from pcorr_assets.filters.groups import read_group
from pcorr_assets.filters.model import FilterFile, FilterModel
from pcorr_assets.filters.scoring import Options, score_group
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.defs.command_world import CommandWorld

POOLS = """\
pools:
  crawl: {sample: web, files: "pool/*.jsonl", token_count_column: n, keep_ratio: 1, group_bytes: 1}
  later: {sample: web, files: "later/*.jsonl", token_count_column: n, keep_ratio: 1}
"""
ROWS = 4000


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    """A world with a pool of two files, each a group, and one that nobody has listed yet."""
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    found = CommandWorld(tmp_path / "w")
    found.config.write_text(found.config.read_text().replace("pools: {}\n", POOLS))
    for name in ("pool/a", "pool/b", "later/c"):
        path = found.folder / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        lines = [json.dumps({"id": f"{i}", "text": f"mast {i}", "n": 1}) for i in range(ROWS)]
        path.write_text("\n".join(lines))
    return found


@pytest.fixture
def filters(tmp_path: Path) -> dict[str, FilterFile]:
    """One filter, of next to nothing."""
    (tmp_path / "corpus").write_text("__label__include mast\n__label__exclude rook\n" * 20)
    model = tmp_path / "model.bin"
    train_model(tmp_path / "corpus", FastText(dim=2, bucket=10, epoch=1), model)
    return {"red": FilterFile(model, sha256_file(model))}


def score(settings: Settings, group: str, filters: dict[str, FilterFile]) -> None:
    warehouse = Warehouse(settings.home)
    options = Options(seconds_per_part=0.0)
    pool = settings.pools["crawl"]
    score_group(warehouse, read_group(warehouse, group), pool, filters, options=options)


def test_how_far_pools_are_is_shown(
    world: CommandWorld, filters: dict[str, FilterFile], monkeypatch: pytest.MonkeyPatch,
    materialise: Callable[..., dg.ExecuteInProcessResult],
) -> None:  # fmt: skip
    def shown() -> list[str]:
        """The lines of the command, which are those of the asset."""
        said = world.run("status").partition("\npools:\n")[2].splitlines()
        result = materialise(world.settings(), ["partition_overview"])
        (event,) = result.asset_materializations_for_node("partition_overview")
        in_ui = str(event.metadata["pools"].value)
        # Times go on between the two.
        for line in said:
            assert line.partition(" left")[0].rpartition(",")[0] in in_ui
        return said

    assert "pools:" not in world.run("status")
    world.run("register")
    assert shown() == [
        "crawl: 0 of 2 files, 0 documents", "later: 0 of 1 files, 0 documents"
    ]  # fmt: skip

    score(world.settings(), "crawl/0000", filters)
    real, calls = FilterModel.score, iter(range(2))

    def killed(self: FilterModel, lines: list[bytes]) -> object:
        if next(calls, None) is None:
            raise Killed
        return real(self, lines)

    with monkeypatch.context() as patched:
        patched.setattr(FilterModel, "score", killed)
        with pytest.raises(Killed):
            score(world.settings(), "crawl/0001", filters)
    whole, group, later = shown()
    at_work = re.fullmatch(r"crawl/0001: 0 of 1 files, ([\d,]+) documents, .*", group)
    assert at_work is not None
    done = int(at_work[1].replace(",", ""))
    assert 0 < done < ROWS
    beginning = f"crawl: 1 of 2 files, {ROWS + done:,} documents, "
    assert whole.startswith(beginning)
    assert re.search(r"[\d,]+ documents/s, [\d.]+ GB/s of text, .* left$", whole)
    assert later == "later: 0 of 1 files, 0 documents"

    score(world.settings(), "crawl/0001", filters)
    assert shown()[0] == f"crawl: 2 of 2 files, {2 * ROWS:,} documents"
