"""Which exact weights an LLM key stands for, so that later jobs load the same.

Belongs here: the commit of a hub LLM, the content hash of a local folder, and the check
against what was recorded and what is loaded. Does not belong here: loading (`loading`),
the record itself (`jobs`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.content import folder_files, folder_sha256
from pcorr_assets.lm.weights import refuse_adapter, refuse_missing_gguf

if TYPE_CHECKING:
    from pcorr_assets.config import LLMSpec

# Name, size, time of the last change (ns) and inode of each file of a folder.
Stamps = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True)
class ResolvedLLM:
    """An LLM of the configuration, pinned.

    `commit_sha` is the hub commit (40 hexadecimal digits) or, for a local folder, the
    SHA-256 over its files, hidden ones left out (64 digits). `stamps` are those of the
    folder's files when they were hashed, empty for a hub LLM.
    """

    spec: LLMSpec
    commit_sha: str
    stamps: Stamps = field(default=(), compare=False, repr=False)

    @property
    def label(self) -> str:
        """How messages name the LLM."""
        return self.spec.key

    def refuse_changes(self) -> None:
        """PcorrError if the files of a local folder are not those that were hashed."""
        if not self.stamps or self.spec.path is None:
            return
        with _readable(self.spec.path, self.label):
            if _stamps(self.spec.path) == self.stamps:
                return
            now = folder_sha256(self.spec.path)
        if now != self.commit_sha:
            raise PcorrError(
                f"The folder of {self.label}, {self.spec.path}, changed while it was loaded "
                f"(content hash {self.commit_sha[:12]}, now {now[:12]}), so what was loaded has no "
                "identity. Wait until nothing writes there any more, then launch again."
            )


def resolve(spec: LLMSpec, expected: str | None = None) -> ResolvedLLM:
    """Pin an LLM to a commit or content hash.

    `expected` is what an earlier job recorded. A hub LLM is then pinned to that commit
    without asking what its branch is at now; a local folder must still have that content.

    Raises:
        PcorrError: no such repository, revision or folder; no access; a changed folder; or
            one with links that lead out of it.
    """
    if spec.path is not None:
        found = _resolve_folder(spec, spec.path)
        if expected is not None and found.commit_sha != expected:
            raise PcorrError(
                f"The folder of {spec.key}, {spec.path}, changed since it was first used (content "
                f"hash {expected[:12]}, now {found.commit_sha[:12]}), so its numbers would not "
                "belong together. Restore the files, or give the new LLM a key of its own."
            )
        return found
    if spec.name is None:
        raise PcorrError(f"{spec.key} has neither a hub name nor a folder; give it one of them.")
    if expected is not None:
        return ResolvedLLM(spec, expected)
    from pcorr_assets.lm.hub import resolve_commit

    return ResolvedLLM(spec, resolve_commit(spec.name, spec.revision))


def _resolve_folder(spec: LLMSpec, folder: Path) -> ResolvedLLM:
    if not folder.is_dir():
        raise PcorrError(
            f"The folder of {spec.key} is not there: {folder}. Correct `path` in pcorr.yaml, or "
            "put the folder where the job runs."
        )
    with _readable(folder, spec.key):
        refuse_adapter(spec.key, {path.name for path in folder.iterdir()})
        if spec.gguf_file is not None:
            refuse_missing_gguf(spec.gguf_file, {path.name for path in folder.iterdir()}, spec.key)
        elif not (folder / "config.json").is_file():
            raise PcorrError(
                f"The folder of {spec.key}, {folder}, has no config.json: expected what "
                "save_pretrained of transformers writes (config.json, tokenizer files, "
                "model.safetensors)."
            )
        _refuse_links_out(folder, spec.key)
        stamps = _stamps(folder)
        return ResolvedLLM(spec, folder_sha256(folder), stamps)


@contextmanager
def _readable(folder: Path, key: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PcorrError(
            f"The folder of {key}, {folder}, cannot be read ({error}). Correct the permissions, "
            "or restore the files."
        ) from error


def _stamps(folder: Path) -> Stamps:
    found = [(inside, path.stat()) for inside, path in folder_files(folder)]
    return tuple((name, stat.st_size, stat.st_mtime_ns, stat.st_ino) for name, stat in found)


def _refuse_links_out(folder: Path, key: str) -> None:
    """PcorrError for links out of the folder, but for those of the hub's cache to its blobs."""
    root = folder.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else None
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if not path.is_symlink() or any(part.startswith(".") for part in inside.parts):
            continue
        target = Path(os.path.realpath(path))
        if target.is_relative_to(root) or (blobs and target.parent == blobs):
            continue
        raise PcorrError(
            f"{inside} in the folder of {key}, {folder}, is a link to {target}: only files of the "
            "folder itself are loaded. Put the file in its place, or give the folder that it lies "
            "in as `path`."
        )
