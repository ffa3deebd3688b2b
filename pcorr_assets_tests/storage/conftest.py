"""A server of the S3 protocol on loopback, and a proxy before it that injects faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from pcorr_assets.config import Storage
from pcorr_assets.storage import faults
from pcorr_assets_tests.filters.conftest import make_world  # noqa: F401
from pcorr_assets_tests.storage.proxy import Proxy, start_proxy
from pcorr_assets_tests.text.conftest import tokenizer_folder, tokenizers  # noqa: F401

BUCKET = "bucket"
SECRET = "a-secret-of-the-environment"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, int]]:
    """Host and port of moto's server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def s3(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Any:
    """boto3's client of the server, which holds one empty bucket; credentials are set."""
    import boto3
    import requests

    for name, value in {
        "AWS_ACCESS_KEY_ID": "an-identifier",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    host, port = s3_server
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=20).raise_for_status()
    client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def proxy(s3: Any, s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Between the platform and the server; waits between attempts are short."""
    monkeypatch.setattr(faults, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(faults, "STALL_SECONDS", 1.0)
    proxy, server = start_proxy(*s3_server)
    yield proxy
    proxy.released.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def storage(proxy: Proxy) -> Storage:
    """The options that lead to the proxy."""
    return Storage(endpoint=proxy.url)
