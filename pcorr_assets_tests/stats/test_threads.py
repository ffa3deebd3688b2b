"""Analyses on several threads: in their order, few at a time, with their errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pcorr_assets.stats import threads
from pcorr_assets.stats.threads import in_threads


@pytest.fixture(autouse=True)
def three_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cpu_count", lambda: 3)


def test_results_come_in_the_order_of_the_items() -> None:
    """The first item waits for the second, which another thread takes."""
    second = threading.Event()

    def call(item: int) -> int:
        if item == 0:
            assert second.wait(30)
        elif item == 1:
            second.set()
        return item * item

    assert list(in_threads(call, range(20), entries=1)) == [item * item for item in range(20)]


@pytest.mark.parametrize("entries", [1, 2**40])
def test_items_are_taken_as_they_are_needed(entries: int) -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = in_threads(lambda item: item, items(), entries=entries)
    assert next(results) == 0
    assert len(taken) <= 4
    results.close()


def test_large_matrices_are_analysed_one_at_a_time() -> None:
    names = in_threads(lambda _: threading.current_thread().name, range(5), entries=2**40)
    assert set(names) == {threading.current_thread().name}


def test_an_error_comes_in_its_turn() -> None:
    def call(item: int) -> int:
        if item == 2:
            raise ValueError("two")
        return item

    results = in_threads(call, range(5), entries=1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="two"):
        next(results)
