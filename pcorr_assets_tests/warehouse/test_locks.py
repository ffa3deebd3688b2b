"""Waiting for one's turn at a short piece of work."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from pcorr_assets.errors import PcorrError
from pcorr_assets.warehouse.locks import waiting_lock


def test_the_second_waits_until_the_first_has_ended(tmp_path: Path) -> None:
    path, order = tmp_path / "folder" / "index.lock", []
    held, go = threading.Event(), threading.Event()

    def first() -> None:
        with waiting_lock(path, "the index"):
            held.set()
            go.wait()
            order.append("first")

    thread = threading.Thread(target=first)
    thread.start()
    held.wait()
    go.set()
    with waiting_lock(path, "the index"):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]


def test_a_holder_that_hangs_is_no_reason_to_wait_for_ever(tmp_path: Path) -> None:
    path = tmp_path / "index.lock"
    with (
        waiting_lock(path, "the index"),
        pytest.raises(PcorrError, match="waited 0 s for the index"),
        waiting_lock(path, "the index", seconds=0),
    ):
        pass
    with waiting_lock(path, "the index", seconds=0):
        pass
