"""Section `storage`: the options of an object store that are no secrets.

Belongs here: how the store of a sample's or pool's URLs is reached. Does not belong here: opening
anything (the room `storage`). Secrets never stand in the file: they come from the environment, or
from what the provider's own login left.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, ValidationInfo

from pcorr_assets.config.fields import Text, YesNo, absolute, folder_of
from pcorr_assets.config.section import Section, expected, said
from pcorr_assets.config.urls import NO_SECRETS, checked_url, is_url


def _path_or_url(value: object, info: ValidationInfo) -> Path | str:
    if isinstance(value, Path):
        value = str(value)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise expected(value, "a path on this machine or a URL (s3://bucket/file)")
    return checked_url(value) if is_url(value) else absolute(value, folder_of(info))


def _url(value: object) -> str:
    if not isinstance(value, str) or not is_url(value):
        raise expected(value, "a URL (s3://bucket/folder)")
    found = checked_url(value)
    if found.startswith(("http", "hf")):
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
OutputUrl = Annotated[str, BeforeValidator(_url)]
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
