"""What a worker process runs: it makes its server, says that it accepts, and obeys."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

from callmethod import _factory, aio
from callmethod._factory import find, server_of
from callmethod._orders import CLOSE, CLOSED, DRAIN, NOW, PATIENCE_SECONDS, QUIET, Report, Task
from callmethod._process import start_threads
from callmethod.server import close, cut, listen_at, on_stop

if TYPE_CHECKING:
    from types import FrameType

    from callmethod.server import Server

PARENT_SECONDS = 0.5
"""How often a worker looks whether its supervisor still lives."""
SETTLE_SECONDS = 0.1
"""Time for connections that were accepted last to say something, before they are told to go: until
then it is not known who understands that."""

logger = logging.getLogger("callmethod")


class Control:
    """A worker's end of the line to its supervisor."""

    def __init__(self, task: Task) -> None:
        """Listen to the supervisor from now on, also while the user's modules are imported."""
        self._task = task
        self._socket = socket.socket(fileno=task.control)
        self._socket.set_inheritable(False)
        self._socket.settimeout(PARENT_SECONDS)
        # Re-entrant: a signal handler may come on the thread that holds it.
        self._lock = threading.RLock()
        self._server: Server | None = None
        self._to_drain = False
        self._drains = False
        self.ready = False
        """Whether the supervisor was told that this worker accepts."""
        start_threads("callmethod-control", self._listen)

    def say_ready(self) -> None:
        """Tell the supervisor that this worker accepts."""
        self.ready = True
        self._say(Report().to_line())

    def say_failed(self, error: BaseException) -> None:
        """Tell the supervisor why this worker will never accept."""
        self._say(Report.of(error).to_line())

    def _say(self, line: bytes) -> None:
        # If it is gone, the thread notices.
        with contextlib.suppress(OSError):
            self._socket.sendall(line + b"\n")

    def obey(self, server: Server) -> None:
        """Stop `server` when that is asked for, or was already."""
        self._server = server
        if self._to_drain:
            self.drain()

    def drain(self) -> None:
        """Stop with the grace; only the first time counts."""
        with self._lock:
            self._to_drain = True
            server = self._server
            if server is None or self._drains:
                return
            self._drains = True
        threading.Thread(target=self._stop, args=(server,), name="callmethod-stop").start()

    def _stop(self, server: Server) -> None:
        close(server)
        time.sleep(SETTLE_SECONDS)
        server.stop(self._task.grace)

    def _listen(self) -> None:
        # A child of the supervisor may hold the other end open after its death, hence both tests.
        while os.getppid() == self._task.supervisor:
            try:
                order = self._socket.recv(1)
            except TimeoutError:
                continue
            except OSError:
                break
            if order == CLOSE:
                self._close()
            elif order == DRAIN:
                self.drain()
            elif order == NOW:
                self._cut()
            else:
                break
        self._be_orphaned()

    def _close(self) -> None:
        if self._server is not None:
            close(self._server)
        self._say(CLOSED)

    def _cut(self) -> None:
        self.drain()
        server = self._server
        if server is None:
            os._exit(1)
        cut(server)

    def _be_orphaned(self) -> None:
        if self._server is not None:
            logger.warning("worker drains pid=%d reason='its supervisor is gone'", os.getpid())
            self.drain()
            time.sleep(self._task.grace + PATIENCE_SECONDS)
        # Nobody is left who would kill a worker that does not end.
        os._exit(1)


def main(text: str) -> None:
    """Do the task that is written in `text`; the process ends with it."""
    _factory.in_worker = True
    task = Task.from_text(text)
    for number in QUIET:
        # Not SIG_IGN, which the user's own child processes would inherit.
        signal.signal(number, _let_pass)
    # The supervisor starts a worker with these blocked, so that none of them comes too early.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, QUIET)
    control = Control(task)
    sys.argv[:] = task.argv
    try:
        listener = socket.socket(fileno=task.listener)
        listener.set_inheritable(False)
        made = find(task.factory)()
        if inspect.isawaitable(made) or isinstance(made, aio.Server):
            asyncio.run(_serve_on_loop(made, task, control, listener))
        else:
            _serve(made, task, control, listener)
    except BaseException as error:
        if control.ready:
            raise
        control.say_failed(error)
        sys.exit(1)


def _let_pass(_number: int, _frame: FrameType | None) -> None:
    """Leave a signal to the supervisor."""


def _serve(made: Any, task: Task, control: Control, listener: socket.socket) -> None:
    server = server_of(made, task.factory, task.server_tls())

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        control.drain()

    signal.signal(signal.SIGTERM, on_signal)
    _start(server, control, listener)
    server.wait()


async def _serve_on_loop(made: Any, task: Task, control: Control, listener: socket.socket) -> None:
    server = server_of(
        await made if inspect.isawaitable(made) else made, task.factory, task.server_tls()
    )
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, control.drain)
    _start(server, control, listener)
    on_stop(server, lambda: loop.call_soon_threadsafe(stopped.set))
    await stopped.wait()


def _start(server: Server, control: Control, listener: socket.socket) -> None:
    listen_at(server, listener)
    server.start()
    # The server has one of its own, and is to be the only one here that holds the port.
    listener.close()
    control.obey(server)
    control.say_ready()
