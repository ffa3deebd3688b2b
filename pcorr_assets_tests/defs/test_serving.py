"""`pcorr ui`: the port, the address, and how it ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from pcorr_assets.defs.serving import refuse_taken_port
from pcorr_assets.errors import PcorrError
from pcorr_assets_tests.defs.command_world import CommandWorld
from pcorr_assets_tests.waiting import wait_for

PCORR = Path(sys.executable).with_name("pcorr")


@pytest.fixture
def world(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandWorld:
    shutil.copytree(whole, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    return CommandWorld(tmp_path / "w")


@pytest.mark.parametrize(
    ("listening", "asked_for"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "::1"),
     ("::1", "localhost")],
)  # fmt: skip
def test_a_taken_port_is_said_before_anything_starts(
    world: CommandWorld, listening: str, asked_for: str
) -> None:
    family = socket.AF_INET6 if ":" in listening else socket.AF_INET
    try:
        taken = socket.create_server(
            (listening, 0), family=family, dualstack_ipv6=listening == "::"
        )
    except OSError:
        pytest.skip("no IPv6 here")
    with taken:
        port = taken.getsockname()[1]
        if asked_for == "localhost" and "::1" not in addresses_of_localhost():
            pytest.skip("localhost has no IPv6 address here")
        said = world.run("ui", "--host", asked_for, "--port", str(port), status=1)
    assert said.startswith(f"Port {port} of ")
    assert f"pcorr ui --port {port % 65535 + 1}" in said
    refuse_taken_port("127.0.0.1", port)


def addresses_of_localhost() -> set[str]:
    return {str(found[4][0]) for found in socket.getaddrinfo("localhost", 0)}


def test_an_address_that_is_not_of_this_machine_is_said() -> None:
    with pytest.raises(PcorrError, match="no such address"):
        refuse_taken_port("no.such.host.invalid", 3000)
    with pytest.raises(PcorrError, match="Choose another --host"):
        refuse_taken_port("192.0.2.1", 3000)


class Served:
    """`pcorr ui` of a world, as a subprocess."""

    def __init__(self, world: CommandWorld, port: int) -> None:
        self.log = world.folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [PCORR, "ui", "--port", str(port)],
                env={**os.environ, "PCORR_CONFIG": str(world.config)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        return self.log.read_text()


@pytest.fixture
def served(world: CommandWorld, free_port: int) -> Iterator[Served]:
    served = Served(world, free_port)
    yield served
    served.process.terminate()
    served.process.wait(timeout=300)


def test_the_address_is_printed_when_it_answers_and_a_part_that_dies_ends_all(
    served: Served, world: CommandWorld, free_port: int
) -> None:
    address = f"http://127.0.0.1:{free_port}   (Ctrl-C ends it"
    wait_for("the address", lambda: address in served.said or served.process.poll() is not None)
    assert answers(free_port), served.said
    assert (world.folder / "dagster_home" / "dagster.yaml").is_file()
    (webserver,) = children_with("dagster_webserver", str(free_port))
    os.kill(webserver, signal.SIGKILL)
    assert served.process.wait(timeout=300) == 1
    assert "The Dagster UI or its daemon ended by itself" in served.said


def test_a_signal_ends_it_at_any_moment(served: Served) -> None:
    wait_for("its start", lambda: children_with("dagster", "dev", parent=served.process.pid))
    served.process.terminate()
    assert served.process.wait(timeout=300) == 0
    assert "Traceback" not in served.said


def children_with(*words: str, parent: int | None = None) -> list[int]:
    """Ids of the processes with these words in their command lines."""
    listed = subprocess.run(
        ["ps", "-A", "-ww", "-o", "pid=,ppid=,args="], capture_output=True, text=True, check=True
    )
    found = []
    for line in listed.stdout.splitlines():
        own, above, *arguments = line.split()
        of_parent = parent is None or int(above) == parent
        if of_parent and all(word in arguments for word in words):
            found.append(int(own))
    return found


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=60) as reply:
            return bool(json.load(reply)["dagster_version"])
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
