"""Which exact weights an LLM key stands for, so that later jobs load the same.

Belongs here: the commit of a hub LLM, the content hash of a local folder, and the check
against what was recorded. Does not belong here: loading (`loading`), the record itself
(`jobs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.content import folder_sha256

if TYPE_CHECKING:
    from pcorr_assets.config import LLMSpec


@dataclass(frozen=True)
class ResolvedLLM:
    """An LLM of the configuration, pinned.

    `commit_sha` is the hub commit (40 hexadecimal digits) or, for a local folder, the
    SHA-256 over its files, hidden ones left out (64 digits).
    """

    spec: LLMSpec
    commit_sha: str

    @property
    def label(self) -> str:
        """How messages name the LLM."""
        return self.spec.key


def resolve(spec: LLMSpec, expected: str | None = None) -> ResolvedLLM:
    """Pin an LLM to a commit or content hash.

    `expected` is what an earlier job recorded. A hub LLM is then pinned to that commit
    without asking what its branch is at now; a local folder must still have that content.

    Raises:
        PcorrError: no such repository, revision or folder; no access; a changed folder.
    """
    if spec.path is not None:
        found = _model_folder_sha256(spec.path, spec.key)
        if expected is not None and found != expected:
            raise PcorrError(
                f"The folder of {spec.key}, {spec.path}, changed since it was first used (content "
                f"hash {expected[:12]}, now {found[:12]}), so its numbers would not belong "
                "together. Restore the files, or give the new LLM a key of its own."
            )
        return ResolvedLLM(spec, found)
    if spec.name is None:
        raise PcorrError(f"{spec.key} has neither a hub name nor a folder; give it one of them.")
    if expected is not None:
        return ResolvedLLM(spec, expected)
    from pcorr_assets.lm.hub import resolve_commit

    return ResolvedLLM(spec, resolve_commit(spec.name, spec.revision))


def _model_folder_sha256(folder: Path, key: str) -> str:
    if not folder.is_dir():
        raise PcorrError(
            f"The folder of {key} is not there: {folder}. Correct `path` in pcorr.yaml, or put "
            "the folder where the job runs."
        )
    if not (folder / "config.json").is_file():
        raise PcorrError(
            f"The folder of {key}, {folder}, has no config.json: expected what save_pretrained "
            "of transformers writes (config.json, tokenizer files, model.safetensors)."
        )
    return folder_sha256(folder)
