"""LLMs from a hub on the loopback interface: revisions, no access, dropped connections.

huggingface_hub reads its endpoint and cache folder when it is imported, so every look at
the hub happens in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pcorr_assets
from pcorr_assets_tests.lm import gguf_files, tiny
from pcorr_assets_tests.lm.hub_server import Hub, Repository, serve

MAIN, OLD = "a" * 40, "b" * 40

SCRIPT = """
import json, sys
import torch
from pcorr_assets.config import LLMSpec
from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.loading import load_model, load_tokenizer, resolve
torch.set_num_threads(1)
request = json.loads(sys.argv[1])
answers = []
for spec, expected in request:
    try:
        resolved = resolve(LLMSpec(**{"key": spec["name"], "family": "tiny", **spec}), expected)
        tokenizer = load_tokenizer(resolved)
        model = load_model(resolved, "cpu", "float32")
        total = float(sum(weights.abs().sum() for weights in model.parameters()))
        answers.append({"commit": resolved.commit_sha, "total": total, "size": len(tokenizer)})
    except PcorrError as error:
        answers.append({"error": str(error)})
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with one tiny LLM at two commits under names of differing temper."""
    folder = tmp_path_factory.mktemp("hub")
    commits = {
        MAIN: tiny.save_llm(folder / "main", "llama", seed=0),
        OLD: tiny.save_llm(folder / "old", "llama", seed=1),
    }
    # The same weights in several files, and again under a name that is never loaded.
    split = folder / "split"
    tiny.tiny_model("llama", 1).save_pretrained(split, max_shard_size="20KB")
    tiny.byte_tokenizer().save_pretrained(split)
    (split / "consolidated.safetensors").write_bytes(b"never fetched")
    pickled = tiny.save_llm(folder / "pickled", "llama")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    revisions = {"main": MAIN, "step100": OLD}
    several = folder / "several"
    tiny.save_llm(several / "steps/100", "llama", seed=1)
    tiny.save_llm(several / "steps/200", "llama", seed=0)
    gguf_files.save_gguf(several / "tiny-f32.gguf", tiny.tiny_model("llama"))
    code = folder / "code"
    code.mkdir()
    (code / "own_llama.py").write_text(
        "from transformers import LlamaConfig as OwnConfig, LlamaForCausalLM as OwnLlama\n"
    )
    borrowed = tiny.save_llm(folder / "borrowed", "llama", seed=1)
    tiny.edit_config(
        borrowed,
        auto_map={
            "AutoConfig": "tiny/code--own_llama.OwnConfig",
            "AutoModelForCausalLM": "tiny/code--own_llama.OwnLlama",
        },
    )
    repositories = {
        "tiny/several": Repository({MAIN: several}, revisions),
        "tiny/code": Repository({OLD: code}, {"main": OLD}),
        "tiny/borrowed": Repository({MAIN: borrowed}, revisions),
        "tiny/llm": Repository(commits, revisions),
        "tiny/gated": Repository(commits, revisions, 403, "GatedRepo"),
        "tiny/gated-plainly": Repository(commits, revisions, 403),
        "tiny/private": Repository(commits, revisions, 401, "RepoNotFound"),
        "tiny/busy": Repository(commits, revisions, 418),
        "tiny/drops-once": Repository(commits, revisions, drops=1),
        "tiny/drops": Repository(commits, revisions, drops=1000),
        "tiny/split": Repository({MAIN: split}, revisions),
        "tiny/pickled": Repository({MAIN: pickled}, revisions),
    }
    with serve(repositories) as served:
        yield served


def ask(hub_url: str, cache: Path, *requests: Any, **environment: str) -> list[dict[str, Any]]:
    """Load LLMs in a new process that knows this hub and this cache only."""
    pairs = [request if isinstance(request, tuple) else (request, None) for request in requests]
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(pairs)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(pcorr_assets.__file__).parents[1],
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))},
            "HF_ENDPOINT": hub_url,
            "HF_HOME": str(cache),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        },
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def total(seed: int) -> float:
    model = tiny.tiny_model("llama", seed)
    return float(sum(weights.abs().sum().item() for weights in model.parameters()))


def test_two_revisions_and_a_pinned_commit(hub: Hub, tmp_path: Path) -> None:
    main, step, pinned, again, split = ask(
        hub.url,
        tmp_path,
        {"name": "tiny/llm"},
        {"name": "tiny/llm", "revision": "step100"},
        ({"name": "tiny/llm"}, OLD),
        {"name": "tiny/llm", "revision": OLD},
        {"name": "tiny/split"},
    )
    assert (main["commit"], step["commit"]) == (MAIN, OLD)
    assert main["total"] == pytest.approx(total(0))
    assert split["total"] == pytest.approx(total(1))
    assert [line for line in hub.requests if "model-00002-of" in line]
    assert not [line for line in hub.requests if "consolidated" in line]
    assert step["total"] == pinned["total"] == again["total"] == pytest.approx(total(1))

    # Without a network the cache is enough, and what is not in it is named.
    cached, missing = ask(
        hub.url, tmp_path, {"name": "tiny/llm"}, {"name": "tiny/other"}, HF_HUB_OFFLINE="1"
    )
    assert cached == main
    assert "HF_HUB_OFFLINE is set" in missing["error"]
    (unreachable,) = ask("http://127.0.0.1:9", tmp_path, {"name": "tiny/llm"})
    assert unreachable == main


def test_one_of_several_llms_of_a_repository(hub: Hub, tmp_path: Path) -> None:
    step: dict[str, Any] = {"name": "tiny/several", "key": "step", "subfolder": "steps/100"}
    gguf: dict[str, Any] = {"name": "tiny/several", "key": "gguf", "gguf_file": "tiny-f32.gguf"}
    hub.requests.clear()
    one, other, nowhere, absent = ask(
        hub.url, tmp_path, step, gguf, step | {"subfolder": "steps"}, gguf | {"gguf_file": "q.gguf"}
    )
    assert one["total"] == pytest.approx(total(1))
    assert other["total"] == pytest.approx(total(0))
    assert not [line for line in hub.requests if "steps/200" in line]
    assert "folder steps, has no config.json" in nowhere["error"]
    assert "has no q.gguf: it has tiny-f32.gguf" in absent["error"]
    # What is in the cache is found without the hub.
    assert ask("http://127.0.0.1:9", tmp_path, step, gguf) == [one, other]


def test_code_of_another_repository_is_run_at_a_commit_that_is_named(
    hub: Hub, tmp_path: Path
) -> None:
    trusted: dict[str, Any] = {"name": "tiny/borrowed", "trust_remote_code": True}
    pinned, loose, elsewhere = ask(
        hub.url,
        tmp_path,
        trusted | {"code_revision": OLD},
        trusted,
        trusted | {"code_revision": "c" * 40},
    )
    assert pinned["total"] == pytest.approx(total(1))
    assert "`code_revision`" in loose["error"]
    assert "tiny/code has no revision" in elsewhere["error"]
    (again,) = ask("http://127.0.0.1:9", tmp_path, trusted | {"code_revision": OLD})
    assert again == pinned


def test_what_cannot_be_had_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    names = ["gated", "gated-plainly", "private", "missing", "busy", "pickled"]
    answers = ask(
        hub.url,
        tmp_path,
        *({"name": f"tiny/{name}"} for name in names),
        {"name": "tiny/llm", "revision": "step7"},
        {"name": "tiny/pickled", "allow_pickle": False},
        {"name": "no name"},
    )
    errors = dict(zip([*names, "revision", "pickle", "name"], answers, strict=True))
    messages = {name: answer["error"] for name, answer in errors.items()}
    for name in ("gated", "gated-plainly", "private"):
        assert "accept its licence" in messages[name]
        assert "HF_TOKEN" in messages[name]
        assert f"tiny/{name}" in messages[name]
    assert "tiny/missing does not exist" in messages["missing"]
    assert "HTTP 418" in messages["busy"]
    assert "tiny/llm has no revision 'step7'" in messages["revision"]
    assert "allow_pickle: true" in messages["pickle"]
    assert "not the name of a hub model" in messages["name"]
    asked = [line for line in hub.requests if "pytorch_model.bin" in line]
    assert asked == []  # refused before it was downloaded


def test_a_dropped_connection_and_the_next_attempt(hub: Hub, tmp_path: Path) -> None:
    once, dropped = ask(hub.url, tmp_path, {"name": "tiny/drops-once"}, {"name": "tiny/drops"})
    assert once["total"] == pytest.approx(total(0))
    assert "was dropped" in dropped["error"]
    assert "Launch again" in dropped["error"]
    hub.repositories["tiny/drops"].drops = 0
    hub.requests.clear()
    (retried,) = ask(hub.url, tmp_path, {"name": "tiny/drops"})
    assert retried["total"] == pytest.approx(total(0))
    assert not [line for line in hub.requests if "tokenizer.json" in line]  # it was complete


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    (answer,) = ask("http://127.0.0.1:9", tmp_path, {"name": "tiny/llm"})
    assert "connection to http://127.0.0.1:9 failed" in answer["error"]
