"""Lines of progress where there is no terminal."""

from __future__ import annotations

import logging

import pytest

from pcorr_assets.progress import Progress


def lines(caplog: pytest.LogCaptureFixture, updates: list[int], every: float | None) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO), Progress("read", total=3, every=every) as progress:
        for count in updates:
            progress.update(count)
    return [record.message.partition(" items")[0] for record in caplog.records]


def test_the_end_is_said_once_and_only_of_a_loop_that_said_something(
    caplog: pytest.LogCaptureFixture,
) -> None:
    at_once = 1e-9
    assert lines(caplog, [1, 2], at_once) == ["read: 1 of 3", "read: 3 of 3"]
    assert lines(caplog, [3], None) == []
    caplog.clear()
    with caplog.at_level(logging.INFO), Progress("read", total=3, every=at_once) as progress:
        progress.update(1)
        progress.done += 2  # counted, and no line was due
    said = [record.message.partition(" items")[0] for record in caplog.records]
    assert said == ["read: 1 of 3", "read: 3 of 3"]
