"""One pass for all targets: what is worked out when, and what a kill costs."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pcorr_assets.config import NearDuplicates, Pool
from pcorr_assets.errors import PcorrError
from pcorr_assets.filters import passes, scoring, standing, workers
from pcorr_assets.filters.groups import PoolGroup, read_group, refresh_groups
from pcorr_assets.filters.model import FilterFile, FilterModel
from pcorr_assets.filters.scoring import Code, Options, ScoredGroup, score_group
from pcorr_assets.filters.training import build_filter
from pcorr_assets.warehouse import Warehouse
from pcorr_assets.warehouse.files import sha256_file
from pcorr_assets_tests.filters.conftest import page_text
from pcorr_assets_tests.waiting import wait_for

SAMPLE, TARGET = "texts", "sailing_quiz"
FILES = ("a.jsonl", "b.jsonl", "c.parquet", "d.jsonl")
KEY = "crawl/0000"


@dataclass
class Scene:
    """A pool of four files in one group, and filters that were trained differently."""

    warehouse: Warehouse
    pool: Pool
    filters: dict[str, FilterFile]
    folder: Path

    @property
    def group(self) -> PoolGroup:
        (key,) = refresh_groups(self.warehouse, "crawl", self.pool).keys
        return read_group(self.warehouse, key)

    def score(self, *targets: str, **options: Any) -> ScoredGroup:
        filters = {target: self.filters[target] for target in targets}
        return score_group(self.warehouse, self.group, self.pool, filters, **options)

    def hashes(self, home: Path | None = None) -> dict[str, str]:
        root = (home or self.warehouse.home) / "warehouse"
        tables = ("pool_documents", "pool_scores")
        return {
            path.relative_to(root).as_posix(): sha256_file(path)
            for table in tables
            for path in sorted((root / table).rglob("*.parquet"))
            if path.name != "_schema.parquet"
        }


def write_pool(folder: Path, documents: int = 40) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    for number, name in enumerate(FILES):
        rows = [
            {
                "id": f"{number}-{n % 30}",  # some come again
                "text": page_text(("sailing", "chess")[n % 2], 1000 * number + n),
                "tokens": n,
            }
            for n in range(documents)
        ]
        if name == "d.jsonl":
            rows = [{"id": 1, "text": None, "tokens": 1}, *rows[:3], {"text": 7, "tokens": 0}]
        if name.endswith(".parquet"):
            pq.write_table(pa.Table.from_pylist(rows), folder / name, row_group_size=7)
        else:
            (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def scene(make_world: Callable[..., Any], tmp_path: Path, tokenizer: str) -> Scene:
    filters = {}
    for number, target in enumerate(("one", "two", "three")):
        world = make_world(f"filters-{number}", lr=0.3 + number / 10)
        built = build_filter(world.warehouse, SAMPLE, TARGET, world.selection)
        filters[target] = FilterFile(built.path, built.sha256)
    write_pool(tmp_path / "pool")
    pool = Pool.model_validate(
        {"sample": SAMPLE, "files": [str(tmp_path / "pool/*")], "keep_ratio": 0.5}
    )
    return Scene(Warehouse(tmp_path / "home"), pool, filters, tmp_path / "pool")


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    return str(save_tokenizer(tmp_path / "tokenizer"))


def save_tokenizer(folder: Path, *words: str) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    names = {"[UNK]": 0, **{word: n + 1 for n, word in enumerate(words)}}
    inner = Tokenizer(models.WordLevel(names, unk_token="[UNK]"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="[UNK]").save_pretrained(folder)
    return folder


@dataclass
class Counted:
    """How many texts were tokenised and how many lines were scored."""

    tokenised: int = 0
    scored: int = 0

    def take(self) -> tuple[int, int]:
        found = (self.tokenised, self.scored)
        self.tokenised = self.scored = 0
        return found


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    found = Counted()
    real_counts, real_score = passes.token_counts, FilterModel.score

    def counts(documents: list[Any], counter: Any) -> list[int]:
        found.tokenised += len(documents) * (counter is not None)
        return real_counts(documents, counter)

    def score(self: FilterModel, lines: list[bytes]) -> Any:
        found.scored += len(lines)
        return real_score(self, lines)

    monkeypatch.setattr(passes, "token_counts", counts)
    monkeypatch.setattr(FilterModel, "score", score)
    return found


DOCUMENTS = 3 * 40 + 5


def test_one_pass_for_all_targets_and_a_target_more_tokenises_nothing(
    scene: Scene, tokenizer: str, counted: Counted
) -> None:
    first = scene.score("one", "two", tokenizer=tokenizer)
    assert counted.take() == (DOCUMENTS, 2 * DOCUMENTS)
    assert (first.document_count, first.passed, first.scored) == (DOCUMENTS,) * 2 + (
        ["one", "two"],
    )
    kept = scene.hashes()
    third = scene.score("one", "two", "three", tokenizer=tokenizer)
    assert counted.take() == (0, DOCUMENTS)
    assert (third.counted, third.scored) == ([], ["three"])
    assert kept.items() < scene.hashes().items()
    # Another filter of a target: it alone is scored, and the others stay.
    scene.filters["two"], scene.filters["three"] = scene.filters["three"], scene.filters["two"]
    again = scene.score("one", "two", "three", tokenizer=tokenizer)
    assert counted.take() == (0, 2 * DOCUMENTS)
    assert again.scored == ["two", "three"]
    nothing = scene.score("one", "two", "three", tokenizer=tokenizer)
    assert counted.take() == (0, 0)
    assert (nothing.passed, nothing.counted, nothing.scored) == (0, [], [])


def test_what_is_added_is_what_one_pass_gives(scene: Scene, tokenizer: str, tmp_path: Path) -> None:
    for targets in (["three"], ["three", "one"], ["one", "two", "three"]):
        scene.score(*targets, tokenizer=tokenizer)
    at_once = Scene(Warehouse(tmp_path / "other"), scene.pool, scene.filters, scene.folder)
    at_once.score("one", "two", "three", tokenizer=tokenizer)
    assert scene.hashes() == at_once.hashes()


def test_another_tokenizer_counts_again_and_scores_nothing(
    scene: Scene, tokenizer: str, counted: Counted, tmp_path: Path
) -> None:
    other = str(save_tokenizer(tmp_path / "other-tokenizer", "mast"))
    scene.score("one", "two", tokenizer=tokenizer)
    scores = scene.warehouse.read("pool_scores", KEY, "one")
    counted.take()
    scene.score("one", "two", tokenizer=other)
    assert counted.take() == (DOCUMENTS, 0)
    after = scene.warehouse.read("pool_scores", KEY, "one")
    assert after["score"] == scores["score"]
    assert scene.warehouse.metadata("pool_scores", KEY, "two")["token_source"].endswith(other)
    # A target may count with a tokenizer of its own: its scores are kept, too.
    scene.score("one", "two", tokenizer=other, tokenizers={"two": tokenizer})
    assert counted.take() == (DOCUMENTS, 0)
    # Counts that any table of the group has are not counted again.
    scene.score("one", "two", tokenizer=tokenizer)
    assert counted.take() == (0, 0)


def test_signatures_that_are_wanted_later_need_texts_and_nothing_else(
    scene: Scene, tokenizer: str, counted: Counted, tmp_path: Path
) -> None:
    without = scene.score("one", "two", tokenizer=tokenizer)
    assert not without.signed
    before = scene.hashes()
    signatures = scene.warehouse.read("pool_documents", KEY)["signature"]
    assert signatures.null_count == DOCUMENTS
    counted.take()
    scene.pool = scene.pool.model_copy(update={"near_duplicates": NearDuplicates()})
    later = scene.score("one", "two", tokenizer=tokenizer)
    assert counted.take() == (0, 0)
    assert (later.signed, later.passed, later.counted, later.scored) == (True, DOCUMENTS, [], [])
    at_once = Scene(Warehouse(tmp_path / "other"), scene.pool, scene.filters, scene.folder)
    at_once.score("one", "two", tokenizer=tokenizer)
    assert scene.hashes() == at_once.hashes()
    rows = scene.warehouse.read("pool_documents", KEY).to_pylist()
    assert {len(row["signature"]) for row in rows if row["signature"]} == {256}
    assert [row["signature"] is None for row in rows] == [row["byte_count"] == 0 for row in rows]
    counted.take()
    # Another threshold needs nothing, another tokenizer no text of its own for signatures,
    # other n-grams other signatures; without the setting they go, and no text is read.
    scene.pool = scene.pool.model_copy(update={"near_duplicates": NearDuplicates(jaccard=0.9)})
    assert scene.score("one", "two", tokenizer=tokenizer).passed == 0
    other = str(save_tokenizer(tmp_path / "other-tokenizer", "mast"))
    assert not scene.score("one", "two", tokenizer=other).signed
    assert scene.warehouse.read("pool_documents", KEY).to_pylist()[0]["signature"]
    scene.pool = scene.pool.model_copy(update={"near_duplicates": NearDuplicates(ngram=3)})
    assert scene.score("one", "two", tokenizer=tokenizer).signed
    scene.pool = scene.pool.model_copy(update={"near_duplicates": None})
    assert scene.score("one", "two", tokenizer=tokenizer).passed == 0
    assert scene.hashes() == before


def test_a_column_counts_tokens_as_it_says(scene: Scene, counted: Counted) -> None:
    pool = scene.pool.model_copy(update={"token_count_column": "tokens"})
    score_group(scene.warehouse, scene.group, pool, {"one": scene.filters["one"]})
    assert counted.take()[0] == 0
    tokens = scene.warehouse.read("pool_documents", KEY)["token_count"].to_pylist()
    assert tokens == [*range(40)] * 3 + [0, 0, 1, 2, 0]


def test_a_changed_file_is_read_again_with_its_group(
    scene: Scene, tokenizer: str, counted: Counted
) -> None:
    scene.score("one", tokenizer=tokenizer)
    counted.take()
    path = scene.folder / "b.jsonl"
    os.utime(path, ns=(1, 1))
    scene.score("one", tokenizer=tokenizer)
    assert counted.take() == (0, 0), "a touched file is the same"
    path.write_bytes(path.read_bytes().removesuffix(b"\n") + b" ")
    scene.score("one", tokenizer=tokenizer)
    assert counted.take() == (DOCUMENTS, DOCUMENTS)
    scene.score("one", tokenizer=tokenizer, code=Code(scoring="2"))
    assert counted.take() == (0, DOCUMENTS)
    scene.score("one", tokenizer=tokenizer, code=Code(reading="2", scoring="2"))
    assert counted.take() == (DOCUMENTS, DOCUMENTS)


def test_a_damaged_table_is_made_again(scene: Scene, tokenizer: str) -> None:
    scene.score("one", "two", tokenizer=tokenizer)
    before = scene.hashes()
    for table, keys in (("pool_documents", (KEY,)), ("pool_scores", (KEY, "two"))):
        path = scene.warehouse.path(table, *keys)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        scene.score("one", "two", tokenizer=tokenizer)
        assert scene.hashes() == before


class Killed(BaseException):
    """As a signal that ends a process: nothing of it is caught."""


def test_a_killed_pass_goes_on_and_comes_out_the_same(
    scene: Scene, tokenizer: str, counted: Counted, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """At seeded moments within files, many times over, with a part after each batch."""
    undisturbed = Scene(Warehouse(tmp_path / "whole"), scene.pool, scene.filters, scene.folder)
    undisturbed.score("one", "two", tokenizer=tokenizer)
    counted.take()
    monkeypatch.setattr("pcorr_assets.text.files.BATCH_ROWS", 6)
    real = FilterModel.score
    generator = random.Random(1)
    options = Options(seconds_per_part=0.0)

    def dying(left: Iterator[int]) -> Callable[..., Any]:
        def score(self: FilterModel, lines: list[bytes]) -> Any:
            if next(left, None) is None:
                raise Killed
            return real(self, lines)

        return score

    kills = 0
    while True:
        monkeypatch.setattr(FilterModel, "score", dying(iter(range(generator.randrange(2, 9)))))
        try:
            scene.score("one", "two", tokenizer=tokenizer, options=options)
        except Killed:
            kills += 1
        else:
            break
    assert kills >= 4
    assert scene.hashes() == undisturbed.hashes()
    # Each batch was tokenised once, but for the one that each kill cost.
    assert counted.take()[0] <= DOCUMENTS + 6 * kills
    assert not list((scene.warehouse.home / scoring.PARTS).rglob("*.parquet"))


def test_parts_of_other_files_or_filters_are_not_used(
    scene: Scene, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FilterModel.score
    calls = iter(range(3))

    def score(self: FilterModel, lines: list[bytes]) -> Any:
        if next(calls, None) is None:
            raise Killed
        return real(self, lines)

    with monkeypatch.context() as patched:
        patched.setattr(FilterModel, "score", score)
        with pytest.raises(Killed):
            scene.score("one", tokenizer=tokenizer, options=Options(seconds_per_part=0.0))
    assert list((scene.warehouse.home / scoring.PARTS).rglob("*.parquet"))
    (scene.folder / "a.jsonl").write_text('{"text": "mast keel"}\n')
    scored = scene.score("one", tokenizer=tokenizer)
    assert scored.document_count == DOCUMENTS - 39
    hashes = scene.warehouse.read("pool_documents", KEY)["content_sha256"].to_pylist()
    assert hashes == scene.warehouse.read("pool_scores", KEY, "one")["content_sha256"].to_pylist()


def test_a_file_that_changes_while_it_is_read_is_noticed(
    scene: Scene, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = FilterModel.score

    def score(self: FilterModel, lines: list[bytes]) -> Any:
        with (scene.folder / "a.jsonl").open("a") as file:
            file.write('{"text": "more"}\n')
        return real(self, lines)

    with monkeypatch.context() as patched:
        patched.setattr(FilterModel, "score", score)
        with pytest.raises(PcorrError, match=r"a\.jsonl was changed or removed while it was read"):
            scene.score("one", tokenizer=tokenizer)
    assert scene.score("one", tokenizer=tokenizer).document_count > DOCUMENTS


def test_kill_minus_nine_loses_little(scene: Scene, tokenizer: str, tmp_path: Path) -> None:
    """A process of its own, killed once it has written some parts."""
    rows = [{"id": str(n), "text": page_text("sailing", n)} for n in range(500)]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    (scene.folder / "a.jsonl").write_text(text * 40)
    scene.pool = scene.pool.model_copy(update={"near_duplicates": NearDuplicates()})
    undisturbed = Scene(Warehouse(tmp_path / "whole"), scene.pool, scene.filters, scene.folder)
    undisturbed.score("one", tokenizer=tokenizer)
    scene.group  # noqa: B018
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from pcorr_assets.config import Pool\n"
        "from pcorr_assets.filters.groups import read_group\n"
        "from pcorr_assets.filters.model import FilterFile\n"
        "from pcorr_assets.filters.scoring import Options, score_group\n"
        "from pcorr_assets.warehouse import Warehouse\n"
        "home, files, model, sha256, tokenizer = sys.argv[1:]\n"
        "pool = Pool.model_validate({'sample': 's', 'files': [files], 'keep_ratio': 0.5,\n"
        "                            'near_duplicates': {}})\n"
        "group = read_group(Warehouse(Path(home)), 'crawl/0000')\n"
        "filters = {'one': FilterFile(Path(model), sha256)}\n"
        "score_group(Warehouse(Path(home)), group, pool, filters, tokenizer=tokenizer,\n"
        "            options=Options(seconds_per_part=0.1))\n"
    )
    file = scene.filters["one"]
    arguments = [str(scene.warehouse.home), str(scene.folder / "*"), str(file.path), file.sha256]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments, tokenizer])
    parts = scene.warehouse.home / scoring.PARTS
    wait_for("two parts", lambda: len(list(parts.rglob("part-*"))) >= 2, every=0.005)
    process.kill()
    process.wait()
    assert not scene.hashes()
    scene.score("one", tokenizer=tokenizer)
    assert scene.hashes() == undisturbed.hashes()


def test_two_processes_give_what_one_gives(
    scene: Scene, tokenizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "WORTH_A_PROCESS_BYTES", 0)
    spread = Scene(Warehouse(tmp_path / "spread"), scene.pool, scene.filters, scene.folder)
    # What one process had begun with is gone on with by two.
    with pytest.MonkeyPatch.context() as patch:
        real, calls = FilterModel.score, iter(range(3))

        def score(self: FilterModel, lines: list[bytes]) -> Any:
            if next(calls, None) is None:
                raise Killed
            return real(self, lines)

        patch.setattr(FilterModel, "score", score)
        patch.setattr("pcorr_assets.text.files.BATCH_ROWS", 6)
        with pytest.raises(Killed):
            spread.score("one", tokenizer=tokenizer, options=Options(seconds_per_part=0.0))
    scored = spread.score("one", tokenizer=tokenizer, options=Options(workers=2))
    scene.score("one", tokenizer=tokenizer)
    assert spread.hashes() == scene.hashes()
    assert scored.passed == DOCUMENTS
    # A file that cannot be read is named, and what the others finished stays.
    (scene.folder / "d.jsonl").write_text("no JSON\n")
    with pytest.raises(PcorrError, match=r"d\.jsonl"):
        spread.score("one", tokenizer=tokenizer, options=Options(workers=2))
    before = spread.warehouse.row_count("pool_scores", KEY, "one")
    assert before == DOCUMENTS


def test_a_process_that_is_ended_from_outside_is_named(
    scene: Scene, tokenizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = workers.wait

    def wait(pending: Any, *options: Any) -> Any:
        for process in multiprocessing.active_children():
            process.kill()
        return real(pending, *options)

    with monkeypatch.context() as patched:
        patched.setattr(workers, "WORTH_A_PROCESS_BYTES", 0)
        patched.setattr(workers, "wait", wait)
        with pytest.raises(PcorrError, match=r"files of crawl/0000 was ended from outside"):
            scene.score("one", tokenizer=tokenizer, options=Options(workers=2))
    assert scene.score("one", tokenizer=tokenizer).document_count == DOCUMENTS


def test_how_far_a_pool_is(
    scene: Scene, tokenizer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = standing.pool_standing(scene.warehouse, "crawl")
    assert (before.file_count, before.words()) == (0, "crawl: 0 of 0 files, 0 documents")
    real, calls = FilterModel.score, iter(range(9))

    def score(self: FilterModel, lines: list[bytes]) -> Any:
        if next(calls, None) is None:
            raise Killed
        return real(self, lines)

    with monkeypatch.context() as patched:
        patched.setattr("pcorr_assets.progress.SECONDS_BETWEEN_LINES", 0.0)
        patched.setattr(FilterModel, "score", score)
        patched.setattr("pcorr_assets.text.files.BATCH_ROWS", 6)
        with caplog.at_level("INFO"), pytest.raises(Killed):
            scene.score("one", tokenizer=tokenizer, options=Options(seconds_per_part=0.0))
    # The first file has 7 batches; two of the second are done.
    assert "read crawl/0000: 1 of 4 files" in caplog.text
    assert "s left" in caplog.text
    found = standing.pool_standing(scene.warehouse, "crawl")
    (group,) = found.groups
    assert (found.files, found.file_count) == (group.files, group.file_count) == (1, 4)
    assert found.documents == group.documents == 40 + 12
    first, *_ = sizes = [shard.byte_count for shard in scene.group.shards]
    assert (found.bytes_done, found.byte_count) == (first, sum(sizes))
    assert found.documents_per_second is not None
    expected = (40 / first * sum(sizes) - 52) / found.documents_per_second
    assert found.seconds_left == pytest.approx(expected)
    assert "documents/s" in group.words()
    scene.score("one", tokenizer=tokenizer)
    after = standing.pool_standing(scene.warehouse, "crawl")
    assert after.words() == f"crawl: 4 of 4 files, {DOCUMENTS} documents"
