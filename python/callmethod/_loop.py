"""Where `async def` handlers run: on the user's event loop, or on one of our own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
import threading
from typing import TYPE_CHECKING

from callmethod import _core
from callmethod._host import Host
from callmethod._process import JOIN_SECONDS, Threads, start_threads
from callmethod._readers import duplicate

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context
    from typing import Any


class AsyncRunner:
    """Hands coroutines over to an event loop, all that wait together in one wake-up."""

    def __init__(self) -> None:
        """Take the loop that runs here, or else make one at the first need."""
        # Re-entrant, since a finalizer may run wherever something is made, and may close a channel.
        self._lock = threading.RLock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._own: _OwnLoop | None = None
        self._host: Host | None = None
        self._loop = _running_here()
        self.waiting = _core.Waiting(self._event_loop, self._start_waiting)

    def _event_loop(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._own = _OwnLoop()
                self._loop = self._own.loop
            return self._loop

    def _refuse_waiting(self, why: str) -> None:
        for coroutine in self.waiting.take():
            coroutine.refuse(why)

    def host(self, workers: _core.Workers, process: _core.Process) -> None:
        """Have the loop read for a server all of whose handlers run on it.

        Nothing changes where the loop, or the system, is not made for that.
        """
        loop = self._event_loop()
        if _running_here() is loop:
            self._host_here(workers, process)
        else:
            loop.call_soon_threadsafe(self._host_here, workers, process)

    def _host_here(self, workers: _core.Workers, process: _core.Process) -> None:
        poller = duplicate(process.poller())
        # There may be no descriptor left, either.
        with contextlib.suppress(NotImplementedError, OSError):
            if poller is not None:
                self._host = Host(workers, poller, self._start_waiting)

    def _start_waiting(self) -> None:
        make, arguments = _task_maker(asyncio.get_running_loop())
        self.waiting.make_tasks(make, arguments, self._tasks)

    def call_soon(self, flush: Callable[[], None]) -> None:
        """Have `flush()` called at the end of this turn of the loop that runs here."""
        asyncio.get_running_loop().call_soon(flush)

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
            # Waiting would keep the loop from running what is being waited for.
            self._cancel_all()
            return
        if not self._tasks and self.waiting.is_empty():
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
        if not self.waiting.close():
            return
        if self._host is not None:
            self._host.leave()
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


def _task_maker(
    loop: asyncio.AbstractEventLoop,
) -> tuple[Callable[..., asyncio.Task[None]], dict[str, Any]]:
    """Return what makes a task, and the arguments beside coroutine, name and context.

    From 3.12 on it has a coroutine run at once, up to where it waits. A loop with a task factory
    makes its tasks in its own way.
    """
    make: Callable[..., asyncio.Task[None]] = _task_in_context
    arguments: dict[str, Any] = {"loop": loop}
    if sys.version_info >= (3, 11):
        if loop.get_task_factory() is not None:
            make, arguments = loop.create_task, {}
        else:
            make = asyncio.Task
            if sys.version_info >= (3, 12):
                arguments["eager_start"] = True
    return make, arguments


def _task_in_context(
    coroutine: Coroutine[Any, Any, None],
    *,
    loop: asyncio.AbstractEventLoop,
    name: str,
    context: Context,
) -> asyncio.Task[None]:
    # Python 3.10 makes every task in the context that it runs in.
    return context.run(functools.partial(loop.create_task, coroutine, name=name))


def _running_here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
