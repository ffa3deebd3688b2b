"""A whole world in a folder: settings that load, a folder that is respected, the truth."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pcorr_assets.config import load_settings
from pcorr_assets.demo import world, zoo
from pcorr_assets.demo.train import Schedule, Shape
from pcorr_assets.demo.world import POOL, SAMPLE, TARGETS, World, build_world, read_world
from pcorr_assets.errors import PcorrError


@pytest.fixture(scope="module", autouse=True)
def small_zoo() -> Iterator[None]:
    """Two LLMs of one step, trained in this process: the rest of the world is whole."""
    family = [llm for llm in zoo.ZOO if llm.family == "llama"]
    short = Schedule(step_count=1, batch_size=2, sequence_length=16)
    small = tuple(
        replace(llm, shape=Shape("llama", 16, 1, 1), vocab_size=300, schedule=short)
        for llm in family
    )

    def train_here(folder: Path, seed: int, portions: list[list[zoo.TinyLLM]], _: object) -> None:
        for portion in portions:
            for llm in portion:
                zoo.train_llm(folder, llm, seed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "ZOO", small)
        patch.setattr(zoo, "TOKENIZER_DOCUMENTS", 5)
        patch.setattr(zoo, "_run_workers", train_here)
        yield


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> World:
    return build_world(tmp_path_factory.mktemp("world"), seed=2)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_its_settings_load(built: World) -> None:
    settings = load_settings(built.config_path)
    assert settings.home == built.home
    assert built.home.parent == built.folder
    assert settings.text_samples == [SAMPLE]
    assert list(settings.targets) == list(built.targets) == list(TARGETS)
    assert set(settings.pools) == {POOL}
    assert set(settings.llm_specs) == {llm.key for llm in zoo.ZOO}
    for spec in settings.llm_specs.values():
        assert spec.path is not None
        assert (spec.path / "model.safetensors").is_file()
    for target in settings.targets.values():
        assert len(target.benchmarks) == 2
        for name in target.benchmarks:
            folder = settings.benchmarks[name].task_path
            assert isinstance(folder, Path)
            assert (folder / f"{name}.yaml").is_file()


def test_its_pages_are_chunked_as_configured(built: World) -> None:
    from pcorr_assets.text.chunked_dataset import chunk_sample
    from pcorr_assets.warehouse import Warehouse

    settings = load_settings(built.config_path)
    wh = Warehouse(built.folder / "elsewhere")
    with wh.writer("chunks", (SAMPLE,)) as writer:
        report = chunk_sample(SAMPLE, settings.samples[SAMPLE], writer)
    assert report.domains == len(built.domain_shares) >= 48
    assert report.pages == 10 * report.domains
    chunks = wh.read("chunks", SAMPLE, columns=["reference_token_count"])
    assert max(chunks["reference_token_count"].to_pylist()) <= world.CHUNK_TOKENS


def test_the_budget_is_at_most_half_of_what_the_topic_has(built: World) -> None:
    from pcorr_assets.text.files import iter_file
    from pcorr_assets.text.tokenizers import load_tokenizer

    settings = load_settings(built.config_path)
    assert settings.selection.tokenizer is not None
    tokenizer = load_tokenizer(settings.selection.tokenizer)
    rows = [
        row
        for path in (built.folder / "pool").iterdir()
        for part in iter_file(path)
        for row in part
    ]
    counts = [len(ids) for ids in tokenizer([row["text"] for row in rows])["input_ids"]]
    budget = settings.pools[POOL].token_budget
    assert budget is not None
    for topic in TARGETS:
        of_topic = sum(
            count * built.pool_shares[row["id"]].get(topic, 0)
            for row, count in zip(rows, counts, strict=True)
        )
        assert of_topic <= sum(counts) / 4
        assert budget <= of_topic / 2


def test_building_again_changes_nothing(built: World) -> None:
    before = hashes(built.folder)
    assert build_world(built.folder, seed=2) == built == read_world(built.folder)
    assert hashes(built.folder) == before


def test_an_interrupted_build_is_finished(built: World, tmp_path: Path) -> None:
    folder = tmp_path / "world"

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "train_zoo", killed)
        with pytest.raises(KeyboardInterrupt):
            build_world(folder, seed=2)
    with pytest.raises(PcorrError, match="no finished demo world"):
        read_world(folder)
    build_world(folder, seed=2)
    ours, theirs = hashes(folder), hashes(built.folder)
    for name, digest in ours.items():
        # A task's YAML holds the absolute path of its items.
        assert name.endswith(("_choice.yaml", "_last_word.yaml")) or digest == theirs[name], name
    assert {name for name in theirs if not name.startswith("elsewhere/")} == set(ours)


def test_an_edited_configuration_is_left_alone(tmp_path: Path) -> None:
    made = build_world(tmp_path / "world", seed=2)
    edited = made.config_path.read_text().replace("bootstrap: 200", "bootstrap: 20")
    made.config_path.write_text(edited)
    build_world(made.folder, seed=2)
    assert made.config_path.read_text() == edited


def test_a_foreign_folder_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "pcorr.yaml").write_text("home: mine\n")
    with pytest.raises(PcorrError, match="is no demo world"):
        build_world(tmp_path, seed=2)
    assert hashes(tmp_path) == {"pcorr.yaml": hashlib.sha256(b"home: mine\n").hexdigest()}


def test_a_world_of_another_seed_is_refused(built: World) -> None:
    with pytest.raises(PcorrError, match="seed 2, not 3"):
        build_world(built.folder, seed=3)


def test_results_about_other_llms_are_not_trained_over(tmp_path: Path) -> None:
    made = build_world(tmp_path / "world", seed=2)
    record = made.folder / "zoo" / zoo.ZOO[0].folder_name / "training.json"
    record.write_text(record.read_text().replace('"fingerprint": "', '"fingerprint": "old'))
    made.home.mkdir()
    before = hashes(made.folder)
    with pytest.raises(PcorrError, match=r"results about LLMs \(tiny/llama-s\)"):
        build_world(made.folder, seed=2)
    assert hashes(made.folder) == before
    made.home.rmdir()
    build_world(made.folder, seed=2)
    assert zoo.is_trained(made.folder / "zoo", zoo.ZOO[0], 2)


def test_weight_counts_mixed_domains_by_their_share() -> None:
    made = World(
        folder=Path("nowhere"),
        seed=0,
        targets={"sea": "sailing"},
        domain_shares={"a": {"sailing": 1.0}, "b": {"sailing": 0.3, "music": 0.7}, "c": {}},
        pool_shares={"d": {"music": 1.0}},
    )
    assert world.topic_weight(made, "sea", {"a": 2.0, "b": 1.0, "c": 1.0}) == pytest.approx(0.575)
    assert world.pool_topic_weight(made, "sea", {"d": 1}) == 0
    for target, weights, message in (
        ("land", {"a": 1.0}, "'land' is not a target"),
        ("sea", {"d": 1.0}, "'d' is no domain"),
        ("sea", {"a": 0.0}, "sum to 0"),
    ):
        with pytest.raises(PcorrError, match=message):
            world.topic_weight(made, target, weights)
