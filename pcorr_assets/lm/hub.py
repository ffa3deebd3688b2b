"""The Hugging Face hub: from a name and a revision to files on this disk.

Belongs here: which commit a revision is, which files of a repository an LLM needs, and
sentences for everything that can go wrong on the way. Does not belong here: what is
inside the files (`loading`).
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pcorr_assets.errors import PcorrError

logger = logging.getLogger(__name__)

COMMIT = re.compile(r"[0-9a-f]{40}")

SMALL_FILES = re.compile(r"[^/]+\.(json|txt|model|tiktoken|jinja|py|bpe|vocab|merges)|[^./]+")
# The only names that transformers loads weights from: repositories often hold the same
# weights again under others (consolidated.safetensors, onnx/, original/).
SAFE_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PICKLE_WEIGHTS = ("pytorch_model.bin", "pytorch_model.bin.index.json")


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


def download(name: str, commit: str, *, allow_pickle: bool) -> Path:
    """The folder that holds configuration, tokenizer and weights of one commit.

    Files that are in the cache of huggingface_hub are taken from there. Safetensors
    weights are preferred; pickled ones are fetched only where there are no others.

    Raises:
        PcorrError: no access, no connection, or only pickled weights without `allow_pickle`.
    """
    from huggingface_hub import hf_hub_download

    with translated(name, commit):
        files = _repository_files(name, commit)
        if files is None:
            return _cached_folder(name, commit)
        if "config.json" not in files:
            raise PcorrError(
                f"{name} at {commit[:12]} has no config.json, so it is no transformers model; "
                "give the name of one, or a local folder that was saved with save_pretrained."
            )
        head = weights_file(name, files, allow_pickle=allow_pickle)
        weights = _weights(name, commit, head)
        small = [file for file in files if SMALL_FILES.fullmatch(file)]
        # config.json last: where it is in the cache, everything else is there as well.
        ordered = [*dict.fromkeys([*small, *weights])]
        ordered.append(ordered.pop(ordered.index("config.json")))
        paths = [hf_hub_download(name, file, revision=commit) for file in ordered]
    return Path(paths[-1]).parent


def weights_file(name: str, files: Collection[str], *, allow_pickle: bool) -> str:
    """The file that weights are loaded from: safetensors, else pickled ones if they may be.

    It is the index where the weights are in several files.

    Raises:
        PcorrError: no weights that transformers can load, or pickled ones that may not be.
    """
    for file in SAFE_WEIGHTS:
        if file in files:
            return file
    pickles = [file for file in PICKLE_WEIGHTS if file in files]
    if not pickles:
        raise PcorrError(
            f"{name} has neither model.safetensors nor pytorch_model.bin, so there are no weights "
            "to load; other formats must be converted first (save_pretrained)."
        )
    if not allow_pickle:
        raise PcorrError(
            f"{name} has pickled weights only ({pickles[0]}), and unpickling can run code. If you "
            "trust it, set `allow_pickle: true` for it in pcorr.yaml; or convert it to "
            "safetensors."
        )
    return pickles[0]


def _weights(name: str, commit: str, head: str) -> list[str]:
    from huggingface_hub import hf_hub_download

    if not head.endswith(".index.json"):
        return [head]
    index = json.loads(Path(hf_hub_download(name, head, revision=commit)).read_text("utf-8"))
    return [head, *sorted(set(index["weight_map"].values()))]


def _repository_files(name: str, commit: str) -> list[str] | None:
    """Names of a commit's files; None if only the cache can be asked."""
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    try:
        info = HfApi().model_info(name, revision=commit)
    except (OfflineModeIsEnabled, httpx2.TransportError) as error:
        if isinstance(_cached_config(name, commit), str):
            logger.info("%s: the hub cannot be reached (%s); using the cache", name, error)
            return None
        raise
    if info.siblings is not None:
        return [sibling.rfilename for sibling in info.siblings]
    return HfApi().list_repo_files(name, revision=commit)


def _cached_config(name: str, commit: str) -> object:
    from huggingface_hub import try_to_load_from_cache

    return try_to_load_from_cache(name, "config.json", revision=commit)


def _cached_folder(name: str, commit: str) -> Path:
    return Path(str(_cached_config(name, commit))).parent


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
