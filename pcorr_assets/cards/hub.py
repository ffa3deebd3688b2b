"""Pushing to the hub, in one commit, with nothing of somebody else's replaced.

Belongs here: what is in a repository already, the commit, and sentences for what goes wrong.
Does not belong here: which files go (`publications`). The login is huggingface_hub's own
(`hf auth login` or HF_TOKEN): no token passes through here, and none is in a message.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pcorr_assets.cards.header import body_of, is_card
from pcorr_assets.cards.publications import NOTE, Publication, RepoType
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage.faults import reason_of, retried
from pcorr_assets.warehouse.verification import CARD

logger = logging.getLogger(__name__)

# What the hub itself puts into a new repository.
OF_THE_HUB = (".gitattributes",)


@dataclass(frozen=True)
class Repository:
    """A repository as it is: whether it exists, its files, card and note of what was pushed."""

    name: str
    repo_type: RepoType
    exists: bool
    commit: str | None
    files: frozenset[str]
    card: str | None
    note: Mapping[str, Any] | None

    def objections(self, publication: Publication) -> Iterator[str]:
        """Why the publication should not go into this repository."""
        others = self.files - {*OF_THE_HUB, CARD}
        if self.card is not None and not is_card(self.card) and body_of(self.card):
            yield f"{self.name} has a {CARD} that was not written here, which would be replaced"
        if self.note is None and others:
            some = ", ".join(sorted(others)[:3])
            yield f"{self.name} has files that were not pushed from here ({some})"
        elif self.note is not None and (said := _said(self.note)) != _said(publication.about):
            yield f"{self.name} holds something else ({said})"


@dataclass(frozen=True)
class Pushed:
    """Where it is now: the repository and the commit, with what was added and removed."""

    url: str
    commit_url: str
    file_count: int
    removed: tuple[str, ...]


def look_at(name: str, repo_type: RepoType) -> Repository:
    """What a repository holds; one that is not there is empty.

    Raises:
        PcorrError: the name is none, no access, or the hub cannot be reached.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    api = HfApi()
    with _translated(name):
        try:
            info = api.repo_info(name, repo_type=repo_type)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return Repository(name, repo_type, False, None, frozenset(), None, None)
        files = frozenset(one.rfilename for one in getattr(info, "siblings", None) or ())
        card = _text(name, repo_type, CARD, info.sha) if CARD in files else None
        noted = _text(name, repo_type, NOTE, info.sha) if NOTE in files else None
    return Repository(name, repo_type, True, info.sha, files, card, _note(noted))


def push(publication: Publication, repository: Repository, *, private: bool) -> Pushed:
    """Make the repository if it is not there, and push everything in one commit.

    Files that an earlier push named and this one does not have are removed; other files stay.
    What was uploaded before an interruption is not uploaded again.

    Raises:
        PcorrError: no login, no permission, or the hub cannot be reached; the repository is as
            it was then, or new and empty.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    name, repo_type = repository.name, repository.repo_type
    api = HfApi()
    gone = _gone(repository, publication.files)
    with _translated(name):
        if not repository.exists:
            api.create_repo(name, repo_type=repo_type, private=private, exist_ok=True)
        commit = retried(
            name,
            lambda: api.create_commit(
                name,
                [
                    *(
                        CommitOperationAdd(place, one if isinstance(one, bytes) else str(one))
                        for place, one in publication.files.items()
                    ),
                    *(CommitOperationDelete(place) for place in gone),
                ],
                repo_type=repo_type,
                commit_message=f"pcorr: {publication.title}",
                # Somebody else's commit meanwhile is not written over.
                parent_commit=repository.commit,
            ),
        )
    url = f"{api.endpoint}/{'' if repo_type == 'model' else 'datasets/'}{name}"
    return Pushed(url, str(commit.commit_url), len(publication.files), gone)


def _gone(repository: Repository, files: Collection[str]) -> tuple[str, ...]:
    noted = (repository.note or {}).get("files", ())
    named = {str(one.get("file")) for one in noted if isinstance(one, dict)}
    return tuple(sorted((named & repository.files) - set(files)))


def _text(name: str, repo_type: RepoType, file: str, commit: str | None) -> str:
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(name, file, repo_type=repo_type, revision=commit)
    with open(path, encoding="utf-8", errors="replace") as opened:
        return opened.read()


def _note(text: str | None) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text or "null")
    except ValueError:
        return None
    return found if isinstance(found, dict) and "kind" in found else None


def _said(about: Mapping[str, Any]) -> str:
    keys = ("kind", "sample", "pool", "target")
    return " ".join(f"{key} {about[key]}" for key in keys if key in about)


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """What huggingface_hub raises, as a PcorrError that says what to do."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    hub = constants.ENDPOINT
    try:
        yield
    except PcorrError:
        raise
    except HFValidationError as error:
        raise PcorrError(f"{name!r} is not the name of a repository: {error}") from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise PcorrError(
                f"{hub} does not let this account write to {name} (HTTP {status}): log in with "
                "`hf auth login`, or set HF_TOKEN to a token that may write there"
            ) from None
        if status in (409, 412):
            raise PcorrError(
                f"{name} was changed by somebody else meanwhile (HTTP {status}): look at it, then "
                "publish again"
            ) from None
        raise PcorrError(f"{name}: the hub {hub} answered {reason_of(error)}") from None
    except (OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
        raise PcorrError(
            f"{name}: the hub {hub} cannot be reached ({reason_of(error)}). Publish again: what is "
            "uploaded already is not uploaded twice"
        ) from None
    except (ValueError, RuntimeError) as error:
        raise PcorrError(f"{name}: {hub} refused what was pushed ({reason_of(error)})") from None
