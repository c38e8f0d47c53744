"""Where `async def` handlers run: on the user's event loop, or on one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any

from callmethod._process import JOIN_SECONDS, Threads, start_threads
from callmethod.errors import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextvars import Context

    # `finish(result, exception)`, exactly once for each coroutine.
    _Finish = Callable[[Any, BaseException | None], None]
    _Waiting = tuple[Awaitable[Any], Context, _Finish]


class AsyncRunner:
    """Hands coroutines over to an event loop, all that wait together in one wake-up."""

    def __init__(self) -> None:
        """Take the loop that runs here, or else make one at the first need."""
        # Re-entrant, since a finalizer may run wherever something is made, and may close a channel.
        self._lock = threading.RLock()
        self._waiting: list[_Waiting] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._own: _OwnLoop | None = None
        self._closed = False
        self._loop = _running_here()

    def submit(self, awaitable: Awaitable[Any], context: Context, finish: _Finish) -> None:
        """Have `awaitable` run in `context`.

        Raises:
            RuntimeError: the loop is closed.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the server has stopped")
            if self._loop is None:
                self._own = _OwnLoop()
                self._loop = self._own.loop
            first = not self._waiting
            self._waiting.append((awaitable, context, finish))
            try:
                if first or self._loop.is_closed():
                    self._loop.call_soon_threadsafe(self._start_waiting)
            except RuntimeError:
                self._waiting.pop()
                self._refuse_waiting("the event loop of the handlers is closed")
                raise

    def _take_waiting(self) -> list[_Waiting]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def _refuse_waiting(self, why: str) -> None:
        for awaitable, _, finish in self._take_waiting():
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            finish(None, RpcError(Code.CANCELLED, why))

    def _start_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        for awaitable, context, finish in self._take_waiting():
            task: asyncio.Task[None] = context.run(loop.create_task, _run(awaitable, finish))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def under_way(self) -> Callable[[], None]:
        """Return what cancels the coroutines that run now, and no later ones, without waiting."""
        loop, tasks = self._loop, list(self._tasks)

        def cancel() -> None:
            for task in tasks:
                task.cancel()

        def cancel_there() -> None:
            # A closed loop runs nothing.
            with contextlib.suppress(RuntimeError):
                if loop is not None:
                    loop.call_soon_threadsafe(cancel)

        return cancel_there

    def cancel(self, patience: float = JOIN_SECONDS) -> None:
        """Cancel what runs, and wait for its end, at most `patience` seconds."""
        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running():
            self._refuse_waiting("the event loop ended before the handler began")
            return
        if _running_here() is loop:
            # _Waiting would keep the loop from running what is being waited for.
            self._cancel_all()
            return
        if not (self._tasks or self._waiting):
            return
        gone = threading.Event()

        # No task: a loop that ends just now would complain of one that it has not run.
        def start_and_cancel() -> None:
            self._start_waiting()
            # One turn, so that each has begun and can take note of its end.
            loop.call_soon(self._cancel_and_tell, gone)

        try:
            loop.call_soon_threadsafe(start_and_cancel)
        except RuntimeError:
            return
        gone.wait(patience)

    def _cancel_and_tell(self, gone: threading.Event) -> None:
        left = set(self._tasks)
        if not left:
            gone.set()

        def ended(task: asyncio.Task[None]) -> None:
            left.discard(task)
            if not left:
                gone.set()

        for task in list(left):
            task.cancel()
            task.add_done_callback(ended)

    def _cancel_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def close(self, patience: float = JOIN_SECONDS) -> None:
        """Take nothing more, cancel what runs, and end a loop of our own."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        try:
            self.cancel(patience)
        finally:
            self._refuse_waiting("the event loop ended before the handler began")
            if self._own is not None:
                self._own.stop(patience)


class _OwnLoop:
    """An event loop on a thread of its own, which only `stop` ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._stopping = False
        self._thread: Threads = start_threads("callmethod-loop", self._run)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            # A handler that calls loop.stop() stops nobody else's handlers.
            while not self._stopping:
                self.loop.run_forever()
            self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        finally:
            self.loop.close()

    def stop(self, patience: float) -> None:
        self._stopping = True
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(patience)


async def _run(awaitable: Awaitable[Any], finish: _Finish) -> None:
    """Await and tell how it ended; nothing that a handler raises gets out to the loop."""
    try:
        result = await awaitable
    except asyncio.CancelledError:
        finish(None, RpcError(Code.CANCELLED, "the handler was cancelled"))
    except BaseException as error:  # noqa: BLE001  (SystemExit would end the loop for all)
        finish(None, error)
    else:
        finish(result, None)


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
