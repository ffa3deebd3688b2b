"""A small world in a folder, for tests of the command `pcorr`.

Belongs here: its files and running a command on it. Does not belong here: any test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from pcorr_assets.config import Settings, load_settings
from pcorr_assets.defs.command import app
from pcorr_assets.defs.instance import open_instance
from pcorr_assets_tests.lm import tiny

CONFIG = """\
# our texts
home: data
samples:
  web:
    files: ["texts.jsonl"]
    reference_tokenizer: ./zoo/a
    chunk_tokens: 64
llms:
  - family: tiny          # made for tests
    dtype: float32
    models:
      - {key: tiny/a, path: zoo/a}
benchmarks:
  colours: {metric: acc}
targets:
  red: {benchmarks: [colours]}
pools: {}
"""
TEXTS = [tiny.TEXTS[0], tiny.TEXTS[3], tiny.TEXTS[4]]


@dataclass(frozen=True)
class CommandWorld:
    """The folder of a world: `pcorr.yaml`, a chunked sample `web`, LLMs in `zoo`."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "pcorr.yaml"

    @property
    def home(self) -> Path:
        return self.folder / "data"

    def settings(self) -> Settings:
        return load_settings(self.config)

    def run(self, *arguments: str, status: int = 0, answers: Sequence[str] = ()) -> str:
        """What a command prints, on both streams; its exit status must be `status`."""
        result = CliRunner().invoke(app, list(arguments), input="\n".join(answers))
        assert result.exit_code == status, (result.output, result.exception)
        return result.output


def make_world(folder: Path, *, with_instance: bool = False) -> CommandWorld:
    """A world whose two LLMs are saved, of which one is listed.

    Its Dagster instance, which takes a second to make, is made with the first command
    unless it is asked for here, so that copies of the world have it.
    """
    for seed, name in enumerate(("a", "b")):
        tiny.save_llm(folder / "zoo" / name, "llama", seed=seed)
    (folder / "texts.jsonl").write_text('{"id": "1", "text": "a text"}\n')
    (folder / "pcorr.yaml").write_text(CONFIG)
    tiny.write_chunks(folder / "data", "web", TEXTS)
    world = CommandWorld(folder)
    if with_instance:
        with open_instance(world.settings()):
            pass
    return world
