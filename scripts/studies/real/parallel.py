"""The same function on many arguments, on some processes.

Belongs here: starting processes, and results as they are done. Does not belong here: what is
computed, and where results are kept.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from pcorr_assets.processes import end_with

Result = TypeVar("Result")


def side_by_side(
    processes: int, function: Callable[..., Result], arguments: Sequence[tuple]
) -> Iterator[Result]:
    """What `function` returns for each of `arguments`, as they are done; here, if 1 process.

    The first that fails ends it: what waits is not begun, what runs comes to its end.
    """
    if processes == 1:
        yield from (function(*own) for own in arguments)
        return
    # Forked processes would inherit the threads of libraries in a state of their own.
    context = multiprocessing.get_context("spawn")
    # Orphans of a study that was killed would make what the next one makes.
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=end_with, initargs=(os.getpid(),)
    ) as pool:
        waiting = [pool.submit(function, *own) for own in arguments]
        try:
            for one in as_completed(waiting):
                yield one.result()
        finally:
            pool.shutdown(cancel_futures=True)
