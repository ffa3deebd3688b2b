"""Work in forked children, which may be killed at any moment and take nothing with them.

Belongs here: forking, what a child returns or dies of, and what it printed. Does not belong
here: what is done in it.

The parent imports everything once and does no work of its own, so that it has no thread and
no open file that a child could inherit half-way.
"""

from __future__ import annotations

import os
import pickle
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECONDS = 180


@dataclass(frozen=True)
class Ended:
    """How a child ended: its function's `value`, or the `signal` it died of; and its `output`."""

    value: Any = None
    signal: int = 0
    output: str = ""


class Child:
    """A function that runs in a child of its own; `end` waits for it."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        self._read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._read)
            self._work(write, function, arguments)
        os.close(write)

    def _work(self, write: int, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        os.setpgrp()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for stream in (1, 2):
            os.dup2(self._output.fileno(), stream)
        status = 1
        try:
            with os.fdopen(write, "wb") as pipe:
                pickle.dump(function(*arguments), pipe)
            status = 0
        except BaseException:  # noqa: BLE001 - the parent reads it in the output
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            # Not the parent's handlers at exit: they are not the child's to run.
            os._exit(status)

    def kill(self) -> None:
        """End the child now, as the kernel does when memory runs out."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> bool:
        """Whether the child ends, or says what it found, within so many seconds."""
        return bool(select.select([self._read], [], [], seconds)[0])

    def end(self, seconds: float = SECONDS) -> Ended:
        """Wait for the end; one that hangs is killed, and a TimeoutError raised."""
        hangs = not self.wait(seconds)
        if hangs:
            os.killpg(self.pid, signal.SIGKILL)
        with os.fdopen(self._read, "rb") as pipe:
            pickled = pipe.read()
        _, status = os.waitpid(self.pid, 0)
        self._output.seek(0)
        output = self._output.read().decode(errors="replace")
        self._output.close()
        if hangs:
            raise TimeoutError(f"hung for {seconds} s: {output}")
        if os.WIFSIGNALED(status):
            return Ended(signal=os.WTERMSIG(status), output=output)
        if os.WEXITSTATUS(status):
            raise RuntimeError(f"a child broke:\n{output}")
        return Ended(pickle.loads(pickled), output=output)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value, computed in a child that nothing happens to."""
    ended = Child(function, *arguments).end()
    if ended.signal:
        raise RuntimeError(f"a child died of signal {ended.signal}:\n{ended.output}")
    return ended.value
