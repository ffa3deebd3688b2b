"""The Hugging Face hub: from a name and a revision to files on this disk.

Belongs here: which commit a revision is, which files of a repository an LLM needs, and
sentences for everything that can go wrong on the way. Does not belong here: what is
inside the files (`loading`).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pcorr_assets.errors import PcorrError
from pcorr_assets.lm.causes import UNWRITABLE
from pcorr_assets.lm.weights import (
    INDEX,
    files_of_index,
    refuse_adapter,
    refuse_missing_gguf,
    weights_file,
)

logger = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")

SMALL_FILES = re.compile(r"[^/]+\.(json|txt|model|tiktoken|jinja|py|bpe|vocab|merges)|[^./]+")


def resolve_commit(name: str, revision: str) -> str:
    """The commit (40 hexadecimal digits) that a branch or tag of a hub model is at.

    Without a connection it is the commit that was last seen on this machine.

    Raises:
        PcorrError: no such repository or revision, no access, or no connection.
    """
    if COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    with translated(name, revision):
        return HfApi().resolve_revision(name, revision=revision).resolved


@dataclass(frozen=True)
class Repository:
    """What a hub LLM consists of, before its weights are downloaded.

    `folder` holds its configuration, tokenizer and code. `weights` are the names of its
    weight files; `byte_count` is the size of all that loading needs and `missing_bytes` what
    of it is not in the cache yet, None where the hub does not say.
    """

    folder: Path
    weights: tuple[str, ...]
    byte_count: int | None
    missing_bytes: int | None


def describe_repository(
    name: str,
    commit: str,
    folder: Path,
    *,
    allow_pickle: bool,
    subfolder: str | None = None,
    gguf_file: str | None = None,
) -> Repository:
    """Fetch everything but the weights of one commit into `folder`.

    The cache of huggingface_hub is left alone: a configuration that is there stands for an
    LLM that is there as a whole. Without a connection, an LLM in the cache is described.

    Raises:
        PcorrError: as `download`.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    part = Part(subfolder, gguf_file)
    with translated(name, commit):
        sizes = _repository_files(name, commit, part, with_sizes=True)
        if sizes is None:
            return Repository(_cached_folder(name, commit, part), (), None, 0)
        small, head = _needed(name, commit, sizes, part, allow_pickle=allow_pickle)
        for file in small:
            hf_hub_download(name, file, revision=commit, local_dir=folder)
        weights = [head]
        if head.endswith(INDEX):
            weights = part.within(files_of_index(folder / head, name))
        needed = dict.fromkeys([*small, *weights])
        cached = [isinstance(try_to_load_from_cache(name, f, revision=commit), str) for f in needed]
    known = [sizes.get(file) for file in needed]
    missing = [size for size, is_cached in zip(known, cached, strict=True) if not is_cached]
    inside = folder / subfolder if subfolder else folder
    return Repository(inside, tuple(weights), _total(known), _total(missing))


def stated_parameters(name: str) -> int | None:
    """How many parameters the hub states for a repository of safetensors; None if none.

    Raises:
        PcorrError: as `download`.
    """
    from huggingface_hub import HfApi

    with translated(name, "main"):
        found = HfApi().model_info(name, expand=["safetensors"]).safetensors
    return found.total if found is not None else None


def download(
    name: str,
    commit: str,
    *,
    allow_pickle: bool,
    subfolder: str | None = None,
    gguf_file: str | None = None,
) -> Path:
    """The folder that holds configuration, tokenizer and weights of one commit.

    Files that are in the cache of huggingface_hub are taken from there. Safetensors
    weights are preferred; pickled ones are fetched only where there are no others. All are
    those of `subfolder`, if it is given; with `gguf_file` it holds everything.

    Raises:
        PcorrError: no access, no connection, no such file, or only pickled weights without
            `allow_pickle`.
    """
    from huggingface_hub import hf_hub_download

    part = Part(subfolder, gguf_file)
    with translated(name, commit):
        files = _repository_files(name, commit, part)
        if files is None:
            return _cached_folder(name, commit, part)
        small, head = _needed(name, commit, files, part, allow_pickle=allow_pickle)
        weights = _weights(name, commit, head, part)
        # The marker last: where it is in the cache, everything else is there as well.
        ordered = [*dict.fromkeys([*small, *weights])]
        ordered.append(ordered.pop(ordered.index(part.marker)))
        paths = [hf_hub_download(name, file, revision=commit) for file in ordered]
    return Path(paths[-1]).parent


def fetch_code(classes: Iterable[str], commit: str) -> None:
    """Have the Python files of other repositories in the cache, as they are at one commit.

    `classes` are named as `json_files.FOREIGN_CODE` has them.

    Raises:
        PcorrError: no such repository or commit, no access, or no connection.
    """
    for name, module in sorted(set(map(_repository_and_module, classes))):
        with translated(name, commit):
            _fetch_python_files(name, commit, module)


def _repository_and_module(named: str) -> tuple[str, str]:
    repository, _, path = named.partition("--")
    return repository, path.rpartition(".")[0] + ".py"


def _fetch_python_files(name: str, commit: str, module: str) -> None:
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        siblings = HfApi().model_info(name, revision=commit).siblings or []
    except (OfflineModeIsEnabled, httpx2.TransportError):
        if isinstance(try_to_load_from_cache(name, module, revision=commit), str):
            return
        raise
    files = [sibling.rfilename for sibling in siblings if sibling.rfilename.endswith(".py")]
    # The one that is looked for last: where it is in the cache, so are those that it imports.
    for file in sorted(files, key=lambda file: file == module):
        hf_hub_download(name, file, revision=commit)


@dataclass(frozen=True)
class Part:
    """Which files of a repository are the LLM: those of a subfolder, or one GGUF file."""

    subfolder: str | None = None
    gguf_file: str | None = None

    @property
    def prefix(self) -> str:
        """What their paths begin with."""
        return f"{self.subfolder}/" if self.subfolder else ""

    @property
    def marker(self) -> str:
        """The file that is downloaded last."""
        return self.prefix + (self.gguf_file or "config.json")

    def within(self, names: Iterable[str]) -> list[str]:
        """Paths in the repository of files of this part."""
        return [self.prefix + name for name in names]


def _needed(
    name: str, commit: str, files: Collection[str], part: Part, *, allow_pickle: bool
) -> tuple[list[str], str]:
    """The small files of a transformers model, and the file that its weights start from."""
    own = [file.removeprefix(part.prefix) for file in files if file.startswith(part.prefix)]
    place = f"{name} at {commit[:12]}" + (f", folder {part.subfolder}," if part.subfolder else "")
    refuse_adapter(name, own)
    small = part.within(file for file in own if SMALL_FILES.fullmatch(file))
    if part.gguf_file is not None:
        refuse_missing_gguf(part.gguf_file, own, place)
        return small, part.marker
    if "config.json" not in own:
        raise PcorrError(
            f"{place} has no config.json, so it is no transformers model; "
            "give the name of one, or a local folder that was saved with save_pretrained."
        )
    return small, part.prefix + weights_file(name, own, allow_pickle=allow_pickle)


def _total(sizes: Collection[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _weights(name: str, commit: str, head: str, part: Part) -> list[str]:
    from huggingface_hub import hf_hub_download

    if not head.endswith(INDEX):
        return [head]
    index = Path(hf_hub_download(name, head, revision=commit))
    return [head, *part.within(files_of_index(index, name))]


def _repository_files(
    name: str, commit: str, part: Part, *, with_sizes: bool = False
) -> dict[str, int | None] | None:
    """A commit's files, with sizes in bytes if wanted; None if only the cache can be asked."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        info = HfApi().model_info(name, revision=commit, files_metadata=with_sizes)
    except (OfflineModeIsEnabled, httpx2.TransportError) as error:
        if isinstance(_cached_marker(name, commit, part), str):
            logger.info("%s: the hub cannot be reached (%s); using the cache", name, error)
            return None
        raise
    if info.siblings is not None:
        return {sibling.rfilename: sibling.size for sibling in info.siblings}
    return dict.fromkeys(HfApi().list_repo_files(name, revision=commit))


def _cached_marker(name: str, commit: str, part: Part) -> object:
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(name, part.marker, revision=commit)


def _cached_folder(name: str, commit: str, part: Part) -> Path:
    return Path(str(_cached_marker(name, commit, part))).parent


@contextmanager
def translated(name: str, revision: str) -> Iterator[None]:
    """Turn what huggingface_hub raises into a PcorrError that says what to do."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
        RevisionResolutionError,
    )

    page = f"{constants.ENDPOINT}/{name}"
    no_access = (
        f"{name} is gated or private and this account has no access ({{}}): accept its licence on "
        f"{page}, then set HF_TOKEN (or run `hf auth login`) where the job runs, and launch "
        "again."
    )
    try:
        yield
    except HFValidationError as error:
        raise PcorrError(f"{name!r} is not the name of a hub model: {error}") from error
    except GatedRepoError as error:
        raise PcorrError(no_access.format(_status(error))) from error
    except RepositoryNotFoundError as error:
        if error.response.status_code in (401, 403):
            raise PcorrError(
                f"{name} is not on {constants.ENDPOINT} for this account ({_status(error)}): check "
                f"the spelling; if it is private or gated, accept its licence on {page}, set "
                "HF_TOKEN where the job runs, and launch again."
            ) from error
        raise PcorrError(
            f"{name} does not exist on {constants.ENDPOINT} ({_status(error)}): check the spelling "
            "of its key in pcorr.yaml; it may have been renamed or removed."
        ) from error
    except RevisionNotFoundError as error:
        raise PcorrError(
            f"{name} has no revision {revision!r} ({_status(error)}): give a branch, tag or commit "
            f"that {page}/tree/main lists."
        ) from error
    except LocalEntryNotFoundError as error:
        raise PcorrError(_unreachable(name, error.__cause__ or error)) from error
    except EntryNotFoundError as error:
        raise PcorrError(
            f"{name} at {revision[:12]} lacks a file that it lists: {error}"
        ) from error
    except HfHubHTTPError as error:
        if error.response.status_code in (401, 403):
            raise PcorrError(no_access.format(_status(error))) from error
        raise PcorrError(
            f"{name}: the hub {constants.ENDPOINT} answered {_status(error)}. Launch again later; "
            "files that are complete are kept."
        ) from error
    except (RevisionResolutionError, OfflineModeIsEnabled) as error:
        raise PcorrError(_unreachable(name, error)) from error
    except httpx2.HTTPError as error:
        raise PcorrError(_unreachable(name, error)) from error
    except OSError as error:
        if error.errno in UNWRITABLE:
            raise PcorrError(
                f"{name}: files of the hub cannot be kept in {constants.HF_HUB_CACHE} ({error}). "
                "Free space or correct the permissions there, or set HF_HOME to a folder that can "
                "be written; then launch again."
            ) from error
        raise PcorrError(_unreachable(name, error)) from error


def _status(error: object) -> str:
    response = getattr(error, "response", None)
    return f"HTTP {response.status_code}" if response is not None else type(error).__name__


def _unreachable(name: str, cause: BaseException) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import OfflineModeIsEnabled

    if constants.HF_HUB_OFFLINE or isinstance(cause, OfflineModeIsEnabled):
        return (
            f"{name} is not in the cache ({constants.HF_HUB_CACHE}) and HF_HUB_OFFLINE is set: "
            "unset it, or download the LLM on a machine with a network into the same HF_HOME."
        )
    return (
        f"{name}: the connection to {constants.ENDPOINT} failed or was dropped "
        f"({type(cause).__name__}: {cause}). Launch again: complete files are kept and only "
        "what is missing is downloaded."
    )
