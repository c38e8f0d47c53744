"""An event loop that reads for a server whose handlers all run on it.

So nobody need wake it for a call, nor wait for it to let go of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import weakref
from typing import TYPE_CHECKING

from callmethod._readers import Readers

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod import _core


class Host:
    """The loop that runs here, among the workers of a server."""

    def __init__(self, workers: _core.Workers, poller: int, start: Callable[[], None]) -> None:
        """Have it watch the descriptor `poller`, taken over; `start()` starts what waits.

        Raises:
            NotImplementedError: the loop watches no descriptors.
            OSError: there are no more of them.
        """
        # The loop keeps this object, which therefore must not keep the loop.
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._workers, self._start = workers, start
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, poller)
            here, bell = socket.socketpair()
            with here, bell:
                here.settimeout(0)
                bell.settimeout(0)
                self._readers = Readers(here.fileno(), self._ring, poller, self._look, self._leave)
                here.detach()
                undo.pop_all()
                workers.host(bell.detach())

    def _ring(self) -> None:
        self._look()

    def _look(self) -> bool:
        read = self._workers.attend()
        self._start()
        return read

    def _leave(self) -> None:
        self._workers.unhost()
        self._readers.leave(asyncio.get_running_loop())

    def leave(self) -> None:
        """Leave things to the workers; from any thread."""
        self._workers.unhost()
        loop = self._loop()
        # One that is closed has left.
        with contextlib.suppress(RuntimeError):
            if loop is not None:
                loop.call_soon_threadsafe(self._leave)
