"""Serving the Dagster UI: until it is told to end, or a part of it dies.

Belongs here: the port, the process of `dagster dev`, when the UI answers, how it ends. Does
not belong here: which instance and configuration are served (`instance`).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from pcorr_assets.defs.instance import use_home
from pcorr_assets.errors import PcorrError

SECONDS_BETWEEN_LOOKS = 0.5
EVERY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_PR_SET_PDEATHSIG = 1


def serve(home: Path, config: Path | None, *, host: str = "127.0.0.1", port: int) -> int:
    """Run `dagster dev`, the UI and the daemon that launches runs, until a signal ends it.

    Says the address once the UI answers there. Returns 0 after SIGINT, SIGTERM or SIGHUP.

    Raises:
        PcorrError: the port is taken or cannot be had; or the UI or its daemon ended by
            itself, which ends all of it.
    """
    refuse_taken_port(host, port)
    use_home(home, config)
    command = ["-m", "dagster", "dev", "-m", "pcorr_assets.definitions", "-h", host]
    stopping: list[int] = []
    process = subprocess.Popen(
        [sys.executable, *command, "-p", str(port)],
        # Out of reach of the terminal's Ctrl-C, so that it is told once, here.
        start_new_session=True,
        preexec_fn=partial(_end_with, os.getpid()) if sys.platform == "linux" else None,
    )

    def stop(number: int, frame: Any) -> None:
        if not stopping:
            process.terminate()
        stopping.append(number)

    # Also SIGINT, which a shell has the background processes of its scripts ignore.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    answered = False
    while True:
        try:
            process.wait(SECONDS_BETWEEN_LOOKS)
            break
        except subprocess.TimeoutExpired:
            if not answered and not stopping and _answers(host, port):
                answered = True
                sys.stderr.write(f"{_url(host, port)}   (Ctrl-C ends it; DAGSTER_HOME is {home})\n")
                sys.stderr.flush()
    if stopping:
        return 0
    # Dagster says which of the two it was, and ends with status 0.
    raise PcorrError(
        f"The Dagster UI or its daemon ended by itself (the reason stands above), so nothing is "
        f"served on {_url(host, port)} any more and no run is launched. Start `pcorr ui` again."
    )


def refuse_taken_port(host: str, port: int) -> None:
    """Find out, before anything is started, whether the port can be had.

    Raises:
        PcorrError: with the address and what to do.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise PcorrError(f"--host {host}: no such address ({error})") from None
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                # As the server binds: a port whose last connections linger is free.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            raise PcorrError(_why_not(str(address[0]), port, error)) from None


def _why_not(address: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {address} is taken by another program, perhaps by another `pcorr ui`. "
            f"End that, or choose another port: `pcorr ui --port {port % 65535 + 1}`."
        )
    if error.errno == errno.EACCES:
        return f"Port {port} of {address} is not open to this user; choose one above 1023 (--port)."
    return f"Nothing can listen on {address}, port {port}: {error.strerror}. Choose another --host."


def _answers(host: str, port: int) -> bool:
    """Whether the UI is there; not through a proxy, which may be set for everything else."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{_url(host, port)}/server_info", timeout=10) as reply:
            return "dagster_version" in json.load(reply)
    except (urllib.error.URLError, ConnectionError, TimeoutError, ValueError):
        return False


def _url(host: str, port: int) -> str:
    name = EVERY_ADDRESS.get(host, host)
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


def _end_with(parent: int) -> None:
    """In the new process: SIGTERM when the one that started it is killed."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)
