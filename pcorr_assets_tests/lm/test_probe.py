"""What is told of an LLM before it is on the list: its files, its tokens, one forward pass."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

import pcorr_assets
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.cost import Measured
from pcorr_assets.lm.probe import Finding, look_at, seconds_to_score, try_out
from pcorr_assets.warehouse import Warehouse
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.hub_server import Hub, Repository, serve

SETTING = {"web": 512}
COMMIT = "c" * 40


@pytest.fixture(scope="module")
def llm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo") / "llm"
    return tiny.save_llm(folder, "llama_tied", tokenizer=tiny.byte_tokenizer("<s> $A"))


def look(llm: Path, tmp_path: Path, texts: list[str] | None = None, **options: Any) -> Finding:
    if texts is not None:
        tiny.write_chunks(tmp_path / "home", "web", texts)
    spec = tiny.local_spec("mine", llm, **options)
    return look_at(spec, Warehouse(tmp_path / "home"), SETTING, tmp_path / "scratch")


def test_what_is_told_is_what_the_loaded_llm_has(llm: Path, tmp_path: Path) -> None:
    found = look(llm, tmp_path, tiny.TEXTS, dtype="bfloat16")
    model = tiny.tiny_model("llama_tied")
    assert found.parameter_count == sum(p.numel() for p in model.parameters())
    assert found.weight_bytes == 2 * found.parameter_count
    assert found.context_length == 256
    assert found.download_bytes == 0
    tokenizer = tiny.byte_tokenizer("<s> $A")
    lengths = [len(tokenizer(text)["input_ids"]) for text in tiny.TEXTS]
    (sample,) = found.samples
    assert (sample.chunk_count, sample.looked_at) == (len(lengths), len(lengths))
    assert (sample.token_count, sample.longest) == (sum(lengths), max(lengths))
    assert found.operations == 2.0 * found.parameter_count * sum(lengths)
    assert found.warnings == ()


def test_tokens_of_many_chunks_are_scaled_and_the_longest_is_seen(
    llm: Path, tmp_path: Path
) -> None:
    texts = tiny.words(5000, 30)
    texts[1234] = "x" * 250
    (sample,) = look(llm, tmp_path, texts).samples
    tokenizer = tiny.byte_tokenizer("<s> $A")
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    assert sample.looked_at <= 2000
    assert sample.longest == max(lengths)
    assert sample.token_count == pytest.approx(sum(lengths), rel=0.03)


def test_overlong_chunks_are_refused_or_announced(llm: Path, tmp_path: Path) -> None:
    texts = ["short", "q7" * 300]
    with pytest.raises(PcorrError, match=r"1 of 2 chunks .* 256") as refusal:
        look(llm, tmp_path, texts)
    assert "overlong: window" in str(refusal.value)
    (warning,) = look(llm, tmp_path, overlong="nan").warnings
    assert "1 of the 2 chunks of web" in warning
    assert "left out" in warning
    (warning,) = look(llm, tmp_path, overlong="window").warnings
    assert "windows" in warning


def test_a_sample_without_chunks_is_judged_by_its_setting(llm: Path, tmp_path: Path) -> None:
    found = look(llm, tmp_path)
    (warning,) = found.warnings
    assert "not chunked yet" in warning
    assert "512 tokens will not fit the context of 256" in warning
    assert found.token_count == 0
    assert try_out(found) > 0


def test_the_forward_pass_is_the_plain_loss(llm: Path, tmp_path: Path) -> None:
    text = tiny.TEXTS[0]
    found = look(llm, tmp_path, [text], dtype="float32")
    ids = tiny.byte_tokenizer("<s> $A")(text)["input_ids"]
    assert len(ids) <= 64
    (expected,) = tiny.plain_losses(
        tiny.tiny_model("llama_tied"), tiny.byte_tokenizer("<s> $A"), [text]
    )
    assert try_out(found) == pytest.approx(expected, rel=1e-5)


def test_weights_that_are_damaged_or_missing_are_noticed(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    before = look(folder, tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] *= math.nan
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PcorrError, match="changed while it was loaded"):
        try_out(before)
    found = look(folder, tmp_path)
    with pytest.raises(PcorrError, match=r"not finite in float32 \(such as model\.norm\.weight"):
        try_out(found)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(PcorrError, match="--allow-pickle"):
        look(folder, tmp_path)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(PcorrError, match="no weights"):
        look(folder, tmp_path)


def test_code_that_is_not_trusted_is_not_run(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama")
    ran = tmp_path / "ran"
    (folder / "own.py").write_text(f"open({str(ran)!r}, 'w')\n")
    tiny.edit_config(
        folder, model_type="own", auto_map={"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"}
    )
    with pytest.raises(PcorrError, match="--trust-remote-code"):
        look(folder, tmp_path)
    assert not ran.exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    folder = tiny.save_llm(tmp_path / "llm", "llama", vocab_size=100)
    with pytest.raises(PcorrError, match="100 embeddings"):
        look(folder, tmp_path, tiny.TEXTS)


def test_what_does_not_fit_into_memory_is_not_loaded(llm: Path, tmp_path: Path) -> None:
    found = look(llm, tmp_path)
    huge = Finding(**{**vars(found), "weight_bytes": 10**15})
    with pytest.raises(PcorrError, match=r"1000000\.0 GB .*--no-load"):
        try_out(huge)


def test_time_is_scaled_from_llms_that_were_measured(llm: Path, tmp_path: Path) -> None:
    found = look(llm, tmp_path, tiny.TEXTS)
    assert seconds_to_score(found, []) is None
    # Ten times the parameters, a tenth of the rate.
    measured = [Measured("other", found.parameter_count * 10, 0.01, "CPU")]
    assert seconds_to_score(found, measured) == pytest.approx(found.token_count / 1000)


SCRIPT = """
import json, sys, tempfile
from pathlib import Path
from pcorr_assets.config import LLMSpec
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.hub import download
from pcorr_assets.lm.probe import look_at
from pcorr_assets.warehouse import Warehouse
from huggingface_hub import try_to_load_from_cache
answers = []
for request in json.loads(sys.argv[1]):
    name = request["name"]
    spec = LLMSpec(key=name, family="tiny", **request)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            found = look_at(spec, Warehouse(Path(scratch)), {}, Path(scratch))
        commit = found.resolved.commit_sha
        cached = isinstance(try_to_load_from_cache(name, "config.json", revision=commit), str)
        download(name, commit, allow_pickle=False)
        with tempfile.TemporaryDirectory() as scratch:
            again = look_at(spec, Warehouse(Path(scratch)), {}, Path(scratch))
        answers.append({"commit": commit, "parameters": found.parameter_count, "cached": cached,
                        "bytes": found.download_bytes, "again": again.download_bytes})
    except PcorrError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("hub")
    whole = tiny.save_llm(folder / "whole", "llama")
    (whole / "original.bin").write_bytes(b"never fetched, never counted")
    split = folder / "split"
    tiny.tiny_model("llama").save_pretrained(split, max_shard_size="20KB")
    tiny.byte_tokenizer().save_pretrained(split)
    pickled = tiny.save_llm(folder / "pickled", "llama")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    revisions = {"main": COMMIT}
    with serve(
        {
            "tiny/whole": Repository({COMMIT: whole}, revisions),
            "tiny/split": Repository({COMMIT: split}, revisions),
            "tiny/pickled": Repository({COMMIT: pickled}, revisions),
            "tiny/gated": Repository({COMMIT: whole}, revisions, 403, "GatedRepo"),
        }
    ) as served:
        yield served


def test_llms_of_the_hub(hub: Hub, tmp_path: Path) -> None:
    requests = [
        {"name": "tiny/whole"},
        {"name": "tiny/split"},
        {"name": "tiny/pickled"},
        {"name": "tiny/gated"},
        {"name": "tiny/unknown"},
        {"name": "tiny/whole", "revision": "v2"},
    ]
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "cache"),
        "PYTHONPATH": str(Path(pcorr_assets.__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(requests)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole, split, pickled, gated, unknown, revision = json.loads(done.stdout.splitlines()[-1])
    folders = {
        name: hub.repositories[f"tiny/{name}"].commits[COMMIT] for name in ("whole", "split")
    }
    for answer, name in ((whole, "whole"), (split, "split")):
        files = [p for p in folders[name].iterdir() if p.name != "original.bin"]
        assert answer["commit"] == COMMIT
        assert answer["bytes"] == sum(path.stat().st_size for path in files)
        assert answer["parameters"] == tiny.tiny_model("llama").num_parameters()
        # A configuration in the cache stands for an LLM that is there as a whole.
        assert not answer["cached"]
        assert answer["again"] == 0
    assert not [request for request in hub.requests if "original.bin" in request]
    assert "pickled weights only" in pickled["error"]
    assert "gated" in gated["error"]
    assert "does not exist" in unknown["error"]
    assert "no revision 'v2'" in revision["error"]
