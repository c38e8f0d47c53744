"""What an event loop watches for us: a bell, and the poller, for as long as it is one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

READ_BYTES = 4096
"""Rings that are read off a bell at once."""
ELSEWHERE_SECONDS = 0.1
"""How long a poller is not watched where another thread was found to read."""


class Readers:
    """What the loop that runs here watches.

    The loop keeps this object, which therefore must not keep the loop.
    """

    def __init__(
        self,
        bell: int,
        ring: Callable[[], None],
        poller: int | None,
        look: Callable[[], bool],
        shut_down: Callable[[], None],
    ) -> None:
        """Take over the descriptors.

        `ring()` is called when the bell has rung, `look()` when the poller is readable: it returns
        False when another thread reads. `shut_down()` is called when the loop is to be closed.

        Raises:
            NotImplementedError: the loop watches no descriptors; nothing was taken over.
        """
        loop = asyncio.get_running_loop()
        self._bell, self._ring, self._poller, self._look = bell, ring, poller, look
        self._shut_down = shut_down
        self._back: asyncio.TimerHandle | None = None
        loop.add_reader(bell, self._hear)
        if poller is not None:
            try:
                loop.add_reader(poller, self._watch)
            except BaseException:
                loop.remove_reader(bell)
                raise
        self._fds = (bell,) if poller is None else (bell, poller)
        self._close = weakref.finalize(loop, _close_all, self._fds)
        self._close.atexit = False
        # A loop tells nobody that it will be closed, but it ends what it has begun to iterate.
        self._until_shutdown = self._listen()
        with contextlib.suppress(StopIteration):
            self._until_shutdown.__anext__().__await__().send(None)

    async def _listen(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._shut_down()

    def _hear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._bell, READ_BYTES)
        self._ring()

    def _watch(self) -> None:
        if not self._look() and self._back is None and self._poller is not None:
            # The poller is readable until that thread has read.
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._poller)
            self._back = loop.call_later(ELSEWHERE_SECONDS, self._watch_again, self._poller)

    def _watch_again(self, poller: int) -> None:
        self._back = None
        asyncio.get_running_loop().add_reader(poller, self._watch)

    def leave(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Have the loop watch nothing more, on its own thread or when it is closed.

        Returns:
            Whether it did until now.
        """
        if self._close.detach() is None:
            return False
        if self._back is not None:
            self._back.cancel()
        if not loop.is_closed():
            for fd in self._fds:
                loop.remove_reader(fd)
        _close_all(self._fds)
        return True


def duplicate(poller: int | None) -> int | None:
    """Return a descriptor of one's own for a poller; None where there is none to be had."""
    with contextlib.suppress(OSError):
        return None if poller is None else os.dup(poller)
    return None


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
