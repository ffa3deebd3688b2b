"""The implementation of fsspec for a URL, set up with the options of the configuration.

Belongs here: from a URL and `Storage` to a file system and the path in it. Does not belong
here: using it (`remote`, `listing`, `writing`).
"""

from __future__ import annotations

import logging
import os
from typing import Any

from pcorr_assets.config.storage import Storage
from pcorr_assets.config.urls import scheme_of
from pcorr_assets.errors import PcorrError
from pcorr_assets.storage import faults

CONNECT_SECONDS = 20
_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure"}


def filesystem_of(url: str, options: Storage) -> tuple[Any, str]:
    """(file system, path in it) of a URL. No connection is made yet.

    Raises:
        PcorrError: the package for this kind of store is not installed, or its `endpoint` cannot
            be one of this kind.
    """
    scheme = scheme_of(url)
    if scheme == "az" and (options.endpoint or "https:").startswith("http:"):
        raise PcorrError(
            f"storage.endpoint {options.endpoint}: az:// is spoken over https only; for an "
            "emulator without it leave endpoint out and set AZURE_STORAGE_CONNECTION_STRING"
        )
    import fsspec

    try:
        arguments = _arguments(scheme, options)
        kind = fsspec.get_filesystem_class(scheme)
        if scheme == "hf":
            # It keeps listings whatever one says, and fsspec keeps it: what is new was never seen.
            arguments["skip_instance_cache"] = True
        system = kind(use_listings_cache=False, **arguments)
    except ImportError as error:
        extra = _EXTRAS.get(scheme)
        remedy = f"pip install 'pcorr_assets[{extra}]'" if extra else str(error)
        raise PcorrError(
            f"{url}: the package that reads {scheme}:// is not installed: {remedy}"
        ) from error
    except Exception as error:  # noqa: BLE001 - logins fail here, each library in its way
        raise PcorrError(faults.explained(url, error)) from None
    if scheme == "s3":
        # Tried again by `faults.retried` alone; both would multiply.
        system.retries = 1
    return system, url if scheme in ("https", "http") else url.partition("://")[2]


def gives_parts(system: Any, url: str) -> bool:
    """Does a web server give a part of a file where one is asked for, and not all of it?

    Raises whatever its library raises; nothing of the file is read.
    """
    from fsspec.asyn import sync

    async def ask() -> bool:
        session = await system.set_session()
        answer = session.get(system.encode_url(url), headers={"Range": "bytes=0-0"})
        async with answer as response:
            response.raise_for_status()
            return response.status == 206

    return bool(sync(system.loop, ask))


def options_of(url: str, options: Storage) -> dict[str, Any]:
    """What libraries that open a URL by themselves take as `storage_options`."""
    return _arguments(scheme_of(url), options)


def _arguments(scheme: str, options: Storage) -> dict[str, Any]:
    if scheme == "s3":
        return _s3(options)
    written: dict[str, Any]
    if scheme == "gs":
        # Else gcsfs asks by gRPC what kind of bucket it is, and waits a minute before every request
        # where that does not pass: behind a proxy, or at an endpoint that is not Google's.
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        # It logs a traceback of what is raised and told in words.
        logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
        written = {"endpoint_url": options.endpoint, "timeout": faults.STALL_SECONDS}
        if options.anonymous:
            written["token"] = "anon"
        if options.requester_pays:
            written["requester_pays"] = True
    elif scheme == "az":
        written = {"account_name": options.account, "account_host": _azure_host(options)}
        # Without a word adlfs tries anonymous access first.
        written["anon"] = options.anonymous
    elif scheme == "hf":
        written = {"endpoint": options.endpoint, "token": False if options.anonymous else None}
    else:
        import aiohttp

        limits = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=faults.STALL_SECONDS
        )
        written = {"client_kwargs": {"timeout": limits}}
    return {name: value for name, value in written.items() if value is not None}


def _azure_host(options: Storage) -> str | None:
    """The host of the endpoint, which adlfs puts after `https://` by itself."""
    return options.endpoint and options.endpoint.partition("://")[2].rstrip("/")


def _s3(options: Storage) -> dict[str, Any]:
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": faults.STALL_SECONDS,
        "retries": {"total_max_attempts": 1},
        # Stores that only speak the protocol seldom know the newer checksums.
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
    }
    if options.endpoint is not None:
        config["s3"] = {"addressing_style": "path"}
    arguments: dict[str, Any] = {
        "anon": options.anonymous,
        "requester_pays": options.requester_pays,
        "config_kwargs": config,
    }
    if options.endpoint is not None:
        arguments["endpoint_url"] = options.endpoint
    if options.region is not None:
        arguments["client_kwargs"] = {"region_name": options.region}
    return arguments
