"""Descriptors of ours that an event loop watches, for as long as it is one that runs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Mapping

READ_BYTES = 4096
"""Rings that are read off a bell at once."""


class Readers:
    """What the loop that runs here watches: called by descriptor when there is something to read.

    The loop keeps this object, which therefore must not keep the loop.
    """

    def __init__(
        self, heard: Mapping[int, Callable[[], None]], shut_down: Callable[[], None]
    ) -> None:
        """Take over the descriptors; `shut_down()` is called when the loop is to be closed."""
        loop = asyncio.get_running_loop()
        self._shut_down = shut_down
        self._fds = tuple(heard)
        for fd, hear in heard.items():
            loop.add_reader(fd, hear)
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

    def leave(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Have the loop watch nothing more, on its own thread or when it is closed.

        Returns:
            Whether it did until now.
        """
        if self._close.detach() is None:
            return False
        if not loop.is_closed():
            for fd in self._fds:
                loop.remove_reader(fd)
        _close_all(self._fds)
        return True


def read_rings(bell: int) -> None:
    """Read what was written to a bell."""
    with contextlib.suppress(BlockingIOError):
        os.read(bell, READ_BYTES)


def _close_all(fds: tuple[int, ...]) -> None:
    for fd in fds:
        os.close(fd)
