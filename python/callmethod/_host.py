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

from callmethod._readers import Readers, read_rings

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod import _core

ELSEWHERE_SECONDS = 0.1
"""How long nothing is looked at where another thread was found to read already."""


class Host:
    """The loop that runs here, among the workers of a server."""

    def __init__(self, workers: _core.Workers, poller: int, start: Callable[[], None]) -> None:
        """Have it watch the descriptor `poller`, taken over; `start()` starts what waits.

        Raises:
            NotImplementedError: the loop watches no descriptors.
        """
        # The loop keeps this object, which therefore must not keep the loop.
        self._loop = weakref.ref(asyncio.get_running_loop())
        self._workers, self._poller, self._start = workers, poller, start
        self._back: asyncio.TimerHandle | None = None
        here, bell = socket.socketpair()
        here.settimeout(0)
        bell.settimeout(0)
        self._bell = here.detach()
        try:
            self._readers = Readers({self._bell: self._ring, poller: self._attend}, self._leave)
        except NotImplementedError:
            bell.close()
            os.close(self._bell)
            os.close(poller)
            raise
        workers.host(bell.detach())

    def _ring(self) -> None:
        read_rings(self._bell)
        self._attend()

    def _attend(self) -> None:
        if not self._workers.attend() and self._back is None:
            # The poller is readable until that thread has read.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._poller)
            self._back = loop.call_later(ELSEWHERE_SECONDS, self._look_again)
        self._start()

    def _look_again(self) -> None:
        self._back = None
        asyncio.get_running_loop().add_reader(self._poller, self._attend)

    def _leave(self) -> None:
        self._workers.unhost()
        if self._back is not None:
            self._back.cancel()
        self._readers.leave(asyncio.get_running_loop())

    def leave(self) -> None:
        """Leave things to the workers; from any thread."""
        self._workers.unhost()
        loop = self._loop()
        # One that is closed has left.
        with contextlib.suppress(RuntimeError):
            if loop is not None:
                loop.call_soon_threadsafe(self._leave)
