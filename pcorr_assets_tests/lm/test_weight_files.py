"""Only what lies in an LLM's folder is loaded, and what is loaded is what was hashed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.identity import ResolvedLLM
from pcorr_assets.lm.loading import load_model, load_tokenizer, resolve
from pcorr_assets_tests.lm import tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_llm(tmp_path_factory.mktemp("saved") / "llm", "llama")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "llm")


def pinned(folder: Path, **options: Any) -> ResolvedLLM:
    return resolve(tiny.local_spec("tiny/llm", folder, **options))


def load(folder: Path, **options: Any) -> Any:
    resolved = pinned(folder, **options)
    load_tokenizer(resolved)
    return load_model(resolved, "cpu", "float32")


def head(model: Any) -> torch.Tensor:
    return model.state_dict()["lm_head.weight"]


def write_index(folder: Path, *files: object) -> None:
    """An index of which all weights lie in these files, in place of the weights."""
    names = list(load_file(folder / "model.safetensors"))
    (folder / "model.safetensors").rename(folder / "part.safetensors")
    weight_map = {name: files[number % len(files)] for number, name in enumerate(names)}
    content = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "named",
    [
        "pytorch_model.bin",
        "../outside.safetensors",
        "/tmp/outside.safetensors",
        "sub/part.safetensors",
        "./part.safetensors",
        ".hidden.safetensors",
        "..\\outside.safetensors",
        "part.safetensors\0.bin",
        "other.safetensors.index.json",
        "adapter_model.bin",
        "weights.pt",
        "weights.gguf",
        "part.SAFETENSORS",
        "",
        None,
        7,
        ["part.safetensors"],
    ],
)
def test_an_index_names_safetensors_of_its_own_folder_only(folder: Path, named: object) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    save_file(weights, folder.parent / "outside.safetensors", {"format": "pt"})
    (folder / "sub").mkdir()
    for copy in ("sub/part.safetensors", ".hidden.safetensors"):
        save_file(weights, folder / copy, {"format": "pt"})
    write_index(folder, "part.safetensors", named)
    with pytest.raises(PcorrError, match=r"model\.safetensors\.index\.json of tiny/llm names"):
        load(folder)


def test_an_index_of_its_own_folder_loads(folder: Path) -> None:
    expected = head(load(folder))
    write_index(folder, "part.safetensors")
    assert torch.equal(head(load(folder)), expected)
    (folder / "part.safetensors").rename(folder / "other.safetensors")
    with pytest.raises(PcorrError, match=r"lacks part\.safetensors"):
        load(folder)


@pytest.mark.parametrize("content", ["{}", '{"weight_map": {}}', '{"weight_map": []}', "[", "[]"])
def test_a_damaged_index(folder: Path, content: str) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(content)
    with pytest.raises(PcorrError, match=r"index\.json of tiny/llm"):
        load(folder)


@pytest.mark.parametrize("named", ["other.safetensors", "adapter_model.bin", "../x.safetensors"])
def test_weights_that_the_configuration_names_are_refused(folder: Path, named: str) -> None:
    shutil.copy(folder / "model.safetensors", folder / "other.safetensors")
    tiny.edit_config(folder, transformers_weights=named)
    with pytest.raises(PcorrError, match="transformers_weights"):
        load(folder)


@pytest.mark.parametrize(
    ("file", "entry", "other"),
    [
        ("config.json", "configuration_files", "config.4.0.0.json"),
        ("tokenizer_config.json", "fast_tokenizer_files", "tokenizer.4.0.0.json"),
    ],
)
def test_other_files_to_read_instead_stay_in_the_folder(
    folder: Path, file: str, entry: str, other: str
) -> None:
    inside = "config.json" if file == "config.json" else "tokenizer.json"
    shutil.copy(folder / inside, folder.parent / other)
    shutil.copy(folder / inside, folder / other)
    path = folder / file
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, entry: [other]}))
    load(folder)
    path.write_text(json.dumps({**content, entry: [f"../{other}"]}))
    with pytest.raises(PcorrError, match=f"{file} of tiny/llm names files outside"):
        load(folder)


def test_paths_in_the_tokenizer_settings_are_not_followed(folder: Path) -> None:
    """Authors' own paths stand in many published files; transformers leaves them out."""
    other = tiny.word_tokenizer()
    other.save_pretrained(folder.parent / "other")
    path = folder / "tokenizer_config.json"
    before = load_tokenizer(pinned(folder))(tiny.TEXTS[0])["input_ids"]
    named = str(folder.parent / "other" / "tokenizer.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_file": named}))
    assert load_tokenizer(pinned(folder))(tiny.TEXTS[0])["input_ids"] == before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_links_out_of_a_local_folder_are_refused(folder: Path, name: str) -> None:
    outside = shutil.move(folder / name, folder.parent / name)
    (folder / name).symlink_to(outside)
    with pytest.raises(PcorrError, match=f"{name} in the folder of tiny/llm, .* is a link to"):
        load(folder)
    (folder / name).unlink()
    (folder / name).symlink_to(f"../llm/{name}")  # a loop
    with pytest.raises(PcorrError):
        load(folder)


def test_links_that_stay_inside_and_those_of_the_hubs_cache(folder: Path) -> None:
    expected = head(load(folder))
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    (folder / "model.safetensors").symlink_to("weights.safetensors")
    assert torch.equal(head(load(folder)), expected)

    snapshot = folder.parent / "models--tiny--llm" / "snapshots" / ("a" * 40)
    blobs = snapshot.parents[1] / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        shutil.copyfile(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    assert torch.equal(head(load(snapshot)), expected)
    assert pinned(snapshot).commit_sha == pinned(folder).commit_sha

    link = folder.parent / "link"
    link.symlink_to(folder)
    assert pinned(link).commit_sha == pinned(folder).commit_sha


def change(name: str, make: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_bytes(make((folder / name).read_bytes()))

    return apply


CHANGES = {
    "weights": change("model.safetensors", lambda content: content[:-4] + b"\0\0\0\1"),
    "config": change("config.json", lambda content: content + b" "),
    "tokenizer": change("tokenizer.json", lambda content: content + b" "),
    "generation": change("generation_config.json", lambda content: content + b" "),
    "code": lambda folder: (folder / "modeling.py").write_text("x = 1"),
    "code in a folder": lambda folder: (
        (folder / "sub").mkdir(),
        (folder / "sub" / "modeling.py").write_text("x = 1"),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_every_change_is_another_identity(folder: Path, name: str) -> None:
    resolved = pinned(folder)
    CHANGES[name](folder)
    assert pinned(folder).commit_sha != resolved.commit_sha
    for attempt in (lambda: load_tokenizer(resolved), lambda: load_model(resolved, "cpu", "auto")):
        with pytest.raises(PcorrError, match="changed while it was loaded"):
            attempt()


def test_files_that_were_only_touched_are_the_same(folder: Path) -> None:
    resolved = pinned(folder)
    os.utime(folder / "config.json", (1, 1))
    assert pinned(folder).commit_sha == resolved.commit_sha
    load_model(resolved, "cpu", "float32")


def test_weights_do_not_follow_later_changes_of_the_file(folder: Path) -> None:
    model = load(folder)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    with (folder / "model.safetensors").open("r+b") as file:  # in place, as a trainer may write
        file.seek(-50_000, os.SEEK_END)
        file.write(b"\0" * 50_000)
    for name, weights in model.state_dict().items():
        assert torch.equal(weights, before[name])


def test_an_adapter_is_refused_alone_and_beside_full_weights(folder: Path) -> None:
    settings = {"peft_type": "LORA", "base_model_name_or_path": "nobody/nothing", "r": 2}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(PcorrError, match=r"adapter_config\.json.*merge_and_unload"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(PcorrError, match=r"adapter_config\.json.*merge_and_unload"):
        load(folder)


def test_code_of_another_repository_is_refused_where_code_is_trusted(folder: Path) -> None:
    tiny.edit_config(folder, auto_map={"AutoModelForCausalLM": "other/repo--modeling.Model"})
    assert load(folder) is not None  # not trusted: the architecture is known without it
    with pytest.raises(PcorrError, match="code from another repository"):
        load(folder, trust_remote_code=True)


@pytest.mark.parametrize("named", ["{}/outside.Model", "../outside.Model", ".hidden.Model", 7, ""])
@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_outside_of_the_folder_is_refused_where_code_is_trusted(
    folder: Path, file: str, named: object
) -> None:
    mark = folder.parent / "ran"
    (folder.parent / "outside.py").write_text(f"open({str(mark)!r}, 'w').close()\nModel = None\n")
    name = named.format(folder.parent) if isinstance(named, str) else named
    path = folder / file
    kind = "AutoModelForCausalLM" if file == "config.json" else "AutoTokenizer"
    content = {**json.loads(path.read_text()), "auto_map": {kind: [None, name]}}
    path.write_text(json.dumps(content))
    with pytest.raises(PcorrError, match=f"{file} of tiny/llm names .* as its code"):
        load(folder, trust_remote_code=True)
    assert not mark.exists()


@pytest.mark.parametrize("count", [10**7, 1e9])
def test_layers_that_would_never_end_are_refused(folder: Path, count: float) -> None:
    tiny.edit_config(folder, num_hidden_layers=count)
    with pytest.raises(PcorrError, match=r"config\.json of tiny/llm counts .* layers"):
        load(folder)


def test_a_model_without_any_of_its_layers_is_refused(folder: Path) -> None:
    tiny.edit_config(folder, num_hidden_layers=0)
    with pytest.raises(PcorrError, match="weights more than its config"):
        load(folder)
