"""Independent analyses on several cores.

Belongs here: how many run at a time, and results in their order. Does not belong here: what
is analysed. Threads do, because NumPy lets go of the interpreter while it computes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from pcorr_assets.machine import cpu_count

# What is not computed in NumPy keeps more threads than these waiting for each other.
MOST_THREADS = 4
# So many entries of matrices at a time, of all threads together; each makes a copy or two.
_ENTRIES = 2**26

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    call: Callable[[Item], Result], items: Iterable[Item], *, entries: int
) -> Generator[Result, None, None]:
    """`call` of each item, in their order; an exception is raised in its item's turn.

    Items are taken as threads become free, so that few of them exist at a time.

    Args:
        call: must not change anything that another call reads.
        items: to call it with.
        entries: size of the matrix that one call works on; large ones run one at a time.
    """
    workers = min(cpu_count(), MOST_THREADS, max(1, _ENTRIES // max(1, entries)))
    if workers == 1:
        yield from map(call, items)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="analysis") as pool:
        waiting: deque[Future[Result]] = deque()
        for item in items:
            waiting.append(pool.submit(call, item))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
