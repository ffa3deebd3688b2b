"""Code, pickles and templates that come with an LLM stay inert at every entrance, unless trusted.

Each is a mine: it leaves a file when it is run. The same mines go off at the same entrances
where the LLM is trusted, so that silence means something.
"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2.exceptions import SecurityError
from transformers import AutoTokenizer

import pcorr_assets
from pcorr_assets_tests.lm import tiny
from pcorr_assets_tests.lm.hub_server import Repository, serve

COMMIT = "c" * 40
PICKLES = ("pytorch_model.bin", "training_args.bin", "tokenizer.pkl", "optimizer.pt")
CODE = {
    "configuration_x.py": "from transformers import LlamaConfig\n"
    "class Config(LlamaConfig):\n    model_type = 'x'\n",
    "modeling_x.py": "from transformers import LlamaForCausalLM\n"
    "from .configuration_x import Config\n"
    "class Model(LlamaForCausalLM):\n    config_class = Config\n",
    "tokenization_x.py": "from transformers import PreTrainedTokenizerFast\n"
    "class Tokenizer(PreTrainedTokenizerFast):\n    pass\n",
    "custom_generate/generate.py": "def generate(model, *args, **options):\n"
    "    return type(model).generate(model, *args, **options)\n",
    "__init__.py": "",
    "sitecustomize.py": "",
}
CONFIG, MODEL, TOKENIZER = "configuration_x.py", "modeling_x.py", "tokenization_x.py"
GENERATE = "generate.py"
# What goes off at each entrance if the code of a local folder is trusted; nothing else may.
TRUSTED = {
    "identity": set(),
    "tokenizer": {CONFIG, TOKENIZER},
    "skeleton": {CONFIG, MODEL},
    "model": {CONFIG, MODEL, GENERATE},
    "probe": {CONFIG, MODEL, TOKENIZER, GENERATE},
    "reference tokenizer": set(),  # its code is never run, whoever trusts the LLM
    "deep check": {CONFIG, MODEL, TOKENIZER},
    "scoring job": {CONFIG, MODEL, TOKENIZER, GENERATE},
    "evaluation job": {CONFIG, MODEL, TOKENIZER, GENERATE},
}
ASKS_FOR_CODE = "comes with its own Python code"
# What every entrance that loads the weights says, by kind of LLM.
SAID = {
    "known": "ok",
    "unknown": ASKS_FOR_CODE,
    "pickled": "has pickled weights only",
    "index": "names 'pytorch_model.bin', which is no *.safetensors file",
    "kernel": "names code on the hub for its attention",
    "pickled allowed": "its weights cannot be used",
}
LOADERS = ("model", "probe", "scoring job", "evaluation job")


class Touches:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (os.system, (f"touch '{self.path}'",))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def mined(folder: Path, ran: Path) -> Path:
    """A good tiny LLM of an architecture that transformers knows, with a mine in every corner.

    Its files ask for the code that comes with it, and its tokenizer has a chat template.
    """
    tiny.save_llm(folder, "llama")
    (folder / "custom_generate").mkdir()
    for name, code in CODE.items():
        mine = ran / Path(name).name
        (folder / name).write_text(f"open({str(mine)!r}, 'w').close()\n{code}")
    for name in PICKLES:
        (folder / name).write_bytes(pickle.dumps(Touches(ran / name)))
    auto_map = {"AutoConfig": "configuration_x.Config", "AutoModelForCausalLM": "modeling_x.Model"}
    tiny.edit_config(folder, auto_map=auto_map)
    template = "{{ cycler.__init__.__globals__.os.system(\"touch '" + f"{ran}/shell" + "'\") }}"
    edit(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": [None, "tokenization_x.Tokenizer"]},
        chat_template=template,
    )
    (folder / "chat_template.jinja").write_text(template)
    return folder


def known(folder: Path) -> None:
    """As it is."""


def unknown(folder: Path) -> None:
    """Of an architecture that only its own code knows."""
    tiny.edit_config(folder, model_type="x")


def pickled(folder: Path) -> None:
    """Its weights are in a pickle and nowhere else."""
    (folder / "model.safetensors").unlink()


def index(folder: Path) -> None:
    """Its index of safetensors names the pickle."""
    (folder / "model.safetensors").unlink()
    content = {"metadata": {}, "weight_map": {"lm_head.weight": "pytorch_model.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(content))


def kernel(folder: Path) -> None:
    """Its configuration names code of another repository for its attention."""
    tiny.edit_config(folder, attn_implementation="evil/kernel")


KINDS = {make.__name__: make for make in (known, unknown, pickled, index, kernel)}
# From the hub the same files come: what differs is what is fetched.
PLACES = [
    *(("local", kind) for kind in KINDS),
    ("hub", "known"),
    ("hub", "unknown"),
    ("hub", "pickled"),
]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every entrance said to every LLM, and what ran; `requests` are the hub's."""
    base = tmp_path_factory.mktemp("inert")
    ran = base / "ran"
    ran.mkdir()
    folders = {kind: mined(base / kind, ran) for kind in KINDS}
    for kind, change in KINDS.items():
        change(folders[kind])
    cases: dict[str, dict[str, Any]] = {
        **{f"local {kind}": {"path": str(folders[kind])} for kind in KINDS},
        **{f"hub {kind}": {"name": f"evil/{kind}"} for place, kind in PLACES if place == "hub"},
        "local trusted": {"path": str(folders["unknown"]), "trust_remote_code": True},
        "hub trusted": {"name": "evil/unknown", "trust_remote_code": True},
        "local pickled allowed": {"path": str(folders["pickled"]), "allow_pickle": True},
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "TRANSFORMERS_"))}
    own = {
        "HF_HOME": str(base / "cache"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    (base / "work").mkdir()
    repositories = {
        f"evil/{kind}": Repository({COMMIT: folder}, {"main": COMMIT})
        for kind, folder in folders.items()
    }
    with serve(repositories) as hub:
        run = subprocess.run(
            [sys.executable, "-m", "pcorr_assets_tests.lm.entrances",
             str(base / "work"), str(ran), json.dumps(cases)],
            capture_output=True, text=True, timeout=600, check=False,
            cwd=Path(pcorr_assets.__file__).parents[1],
            env={**inherited, **own, "HF_ENDPOINT": hub.url},
        )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return {**json.loads(run.stdout.splitlines()[-1]), "requests": hub.requests}


@pytest.mark.parametrize(("place", "kind"), PLACES)
def test_nothing_that_comes_with_an_llm_is_run(
    answers: dict[str, Any], place: str, kind: str
) -> None:
    found = answers[f"{place} {kind}"]
    assert found.keys() == TRUSTED.keys()
    assert {name: answer["ran"] for name, answer in found.items() if answer["ran"]} == {}
    said = {name: found[name]["said"] for name in LOADERS}
    assert not {name: text for name, text in said.items() if SAID[kind] not in text}


def test_the_same_mines_go_off_at_the_same_entrances_where_they_are_trusted(
    answers: dict[str, Any],
) -> None:
    local = {name: set(answer["ran"]) for name, answer in answers["local trusted"].items()}
    assert local == TRUSTED
    hub = {name: set(answer["ran"]) for name, answer in answers["hub trusted"].items()}
    # What is in folders of a repository is not fetched, and its check fetches no code to run it.
    expected = {name: mines - {GENERATE} for name, mines in TRUSTED.items()}
    assert hub == {**expected, "deep check": set()}


def test_weights_in_a_pickle_that_is_allowed_still_run_nothing(answers: dict[str, Any]) -> None:
    found = answers["local pickled allowed"]
    assert {name: answer["ran"] for name, answer in found.items() if answer["ran"]} == {}
    assert SAID["pickled allowed"] in found["model"]["said"]


def test_pickles_are_not_even_fetched(answers: dict[str, Any]) -> None:
    assert [line for line in answers["requests"] if line.endswith("model.safetensors")]
    assert not [line for line in answers["requests"] if line.endswith((".bin", ".pkl", ".pt"))]


def test_a_loaded_pickle_goes_off(tmp_path: Path) -> None:
    folder = mined(tmp_path / "llm", tmp_path)
    for name in PICKLES:
        pickle.loads((folder / name).read_bytes())
        assert (tmp_path / name).exists()


def test_a_chat_template_is_rendered_in_a_sandbox_if_at_all(tmp_path: Path) -> None:
    folder = mined(tmp_path / "llm", tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    template = tokenizer.chat_template
    assert "touch" in template
    with pytest.raises(SecurityError):
        tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False)
    assert not (tmp_path / "shell").exists()
    jinja2.Environment().from_string(template).render()  # what it would do without one
    assert (tmp_path / "shell").exists()
