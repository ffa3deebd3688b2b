"""Section `storage`: the options of an object store that are no secrets; and `exports`.

Belongs here: how the store of a section's URLs is reached. Does not belong here: opening
anything (the room `storage`). Secrets never stand in the file: they come from the environment, or
from what the provider's own login left.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

from pcorr_assets.config.fields import Text, YesNo, absolute, folder_of
from pcorr_assets.config.section import Section, expected, said
from pcorr_assets.config.urls import NO_SECRETS, checked_url, is_url, scheme_of


def _path_or_url(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise expected(value, "a path on this machine or a URL (s3://bucket/file)")
    return checked_url(value) if is_url(value) else absolute(value, folder_of(info))


def _unit_tokens(value: object, info: ValidationInfo) -> Path | str | dict[str, Path | str]:
    if not isinstance(value, Mapping):
        return _path_or_url(value, info)
    if not value or not all(isinstance(level, str) for level in value):
        raise expected(value, "a file, or a mapping from levels to files")
    return {level: _path_or_url(file, info) for level, file in value.items()}


def _folder(value: object, info: ValidationInfo) -> Path | str:
    found = _path_or_url(value, info)
    if isinstance(found, str) and scheme_of(found) in ("https", "http"):
        raise said(
            "got a folder on a web server, which has no list of its files; expected s3://, gs://, "
            "az:// or hf://, or the path of a folder that it was downloaded to"
        )
    return found.rstrip("/") if isinstance(found, str) else found


def output_url(value: object) -> str:
    """The URL, without a slash at its end, if something can be written there.

    Raises a mistake otherwise, which repeats no secret.
    """
    if not isinstance(value, str) or not is_url(value):
        raise expected(value, "a URL (s3://bucket/folder)")
    found = checked_url(value)
    if scheme_of(found) not in ("s3", "gs", "az"):
        raise said("got a place where nothing can be written; expected s3://, gs:// or az://")
    return found.rstrip("/")


def _endpoint(value: object) -> str:
    what = "the address of a service, such as https://minio.example.org:9000"
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#]+/?", value):
        raise said(f"got no endpoint; expected {what}")
    if "@" in value:
        raise said(f"got an address with a user or a password in it; {NO_SECRETS}")
    return value


# A local file as an absolute path, a remote one as its URL.
PathOrUrl = Annotated[Path | str, BeforeValidator(_path_or_url)]
UnitTokens = Annotated[Path | str | dict[str, Path | str], BeforeValidator(_unit_tokens)]
# The same for a folder, whose files must be listed.
FolderOrUrl = Annotated[Path | str, BeforeValidator(_folder)]
OutputUrl = Annotated[str, BeforeValidator(output_url)]
Endpoint = Annotated[str, BeforeValidator(_endpoint)]


class Storage(Section):
    """How the store of the section's URLs is reached. Nothing in here is a secret.

    `endpoint` is of a service that speaks the protocol of S3 (MinIO, Ceph, R2) or of a test
    server; `anonymous` sends no credentials; `requester_pays` says that who asks pays;
    `account` is the storage account of `az://`.
    """

    endpoint: Endpoint | None = None
    region: Text | None = None
    anonymous: YesNo = False
    requester_pays: YesNo = False
    account: Text | None = None


class Exports(Section):
    """Where exports are put beside the copy under the home, and how that store is reached."""

    output: OutputUrl | None = None
    storage: Storage = Storage()
