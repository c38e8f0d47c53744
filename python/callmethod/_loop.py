"""Where `async def` handlers run: on the user's event loop, or on one of our own."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from callmethod._process import JOIN_SECONDS, Threads, start_threads
from callmethod.errors import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextvars import Context

Finish = Any
"""`finish(result, exception)`, exactly once for each coroutine."""


class AsyncRunner:
    """Hands coroutines over to an event loop, all that wait together in one wake-up."""

    def __init__(self) -> None:
        """Take the loop that runs here, or else make one at the first need."""
        self._lock = threading.Lock()
        self._waiting: list[tuple[Coroutine[Any, Any, Any], Context, Finish]] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._thread: Threads | None = None
        self._closed = False
        try:
            self._loop: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            self._loop = None

    def submit(self, awaitable: Awaitable[Any], context: Context, finish: Finish) -> None:
        """Have `awaitable` run in `context`.

        Raises:
            RuntimeError: the loop is closed.
        """
        coroutine = awaitable if asyncio.iscoroutine(awaitable) else _awaited(awaitable)
        with self._lock:
            if self._closed:
                raise RuntimeError("the server has stopped")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = start_threads("callmethod-loop", _run_loop, self._loop)
            # Inside the lock, so that none of the batch is left behind when the loop is closed.
            if not self._waiting:
                self._loop.call_soon_threadsafe(self._start_waiting)
            self._waiting.append((coroutine, context, finish))

    def _take_waiting(self) -> list[tuple[Coroutine[Any, Any, Any], Context, Finish]]:
        with self._lock:
            waiting, self._waiting = self._waiting, []
            return waiting

    def _start_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        for coroutine, context, finish in self._take_waiting():
            task = context.run(loop.create_task, coroutine)
            self._tasks.add(task)
            task.add_done_callback(self._end_by(finish))

    def _end_by(self, finish: Finish) -> Callable[[asyncio.Task[Any]], None]:
        def end(task: asyncio.Task[Any]) -> None:
            self._tasks.discard(task)
            if task.cancelled():
                finish(None, RpcError(Code.CANCELLED, "the handler was cancelled"))
            elif (error := task.exception()) is not None:
                finish(None, error)
            else:
                finish(task.result(), None)

        return end

    def _cancel_all(self) -> None:
        for task in list(self._tasks):
            task.cancel()

    def close(self) -> None:
        """Cancel what still runs, and end a loop of our own."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._cancel_running()
        for coroutine, _, finish in self._take_waiting():
            coroutine.close()
            finish(None, RpcError(Code.CANCELLED, "the event loop ended before the handler began"))
        if self._thread is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _cancel_running(self) -> None:
        loop = self._loop
        if loop is None or loop.is_closed() or not loop.is_running():
            return
        if _running_here() is loop:
            # Waiting would keep the loop from running what is being waited for.
            self._cancel_all()
            return
        gone = threading.Event()

        async def cancel_and_wait() -> None:
            self._start_waiting()
            # Tasks that have not begun yet are closed by the cancel, never started.
            tasks = list(self._tasks)
            self._cancel_all()
            await asyncio.gather(*tasks, return_exceptions=True)
            gone.set()

        coroutine = cancel_and_wait()
        try:
            asyncio.run_coroutine_threadsafe(coroutine, loop)
        except RuntimeError:
            coroutine.close()
            return
        gone.wait(JOIN_SECONDS)


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
