"""What the servers and channels of one process share, and its life: threads, forks, exit.

Nothing is started at import. The first server or channel starts the I/O thread and the thread that
logs; the last one to end ends them.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from callmethod import _core, _mailbox
from callmethod._log import callback_failed, drain, report, run_callback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

EXIT_SECONDS = 1.0
"""Time for what was sent to leave when the interpreter exits."""
GATE_SECONDS = 0.01
"""Time for threads to come out of the core before the interpreter exits."""
JOIN_SECONDS = 0.5
"""Time for threads that were told to end."""


class Member(Protocol):
    """A server or a channel."""

    def at_exit(self) -> Callable[[], object]:
        """Begin to let go; return what waits for the end of that, for a second at most."""
        ...


def default_workers() -> int:
    """Return how many handlers run at once unless the user says otherwise."""
    return min(32, (os.cpu_count() or 1) + 4)


def start_threads(name: str, target: Callable[..., object], *args: Any, count: int = 1) -> Threads:
    """Start daemon threads; those that hang in a user's code must not keep the process."""
    names = [name] if count == 1 else [f"{name}-{number}" for number in range(count)]
    threads = [
        threading.Thread(target=_named, args=(n, target, *args), name=n, daemon=True) for n in names
    ]
    for thread in threads:
        thread.start()
    return Threads(threads)


def _named(name: str, target: Callable[..., object], *args: Any) -> None:
    # So that top, ps and perf show it too; Python does that itself from 3.14 on.
    comm = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
    with contextlib.suppress(OSError):
        comm.write_text(name[:15])
    target(*args)


class Threads:
    """Threads that were started together."""

    def __init__(self, threads: Iterable[threading.Thread]) -> None:
        """Hold `threads`."""
        self._threads = list(threads)

    def join(self, seconds: float = JOIN_SECONDS) -> None:
        """Wait for their end, all together at most `seconds`; never for the current thread."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, end - time.monotonic()))


class Shared:
    """The I/O thread, the log, the callbacks, and the workers of channels that serve."""

    def __init__(self) -> None:
        """Start what everybody needs."""
        self.core = _core.Process()
        self.members: set[Member] = set()
        # Re-entrant, since a finalizer may run wherever something is made, and may post.
        self._lock = threading.RLock()
        self.closed = False
        """Whether all threads were told to end."""
        self._threads = [
            start_threads("callmethod-log", drain, self.core),
            start_threads("callmethod-callbacks", _run_callbacks, self.core),
        ]
        self._workers: _core.Workers | None = None

    def post(self, callable_: Callable[..., object], *args: object) -> None:
        """Have `callable_(*args)` called on the callbacks' thread, or on one of its own."""
        with self._lock:
            if not self.closed:
                self.core.post(callable_, args)
                return
        # A process that exits has no thread to tell anybody on, and starts none.
        if not _exiting:
            start_threads("callmethod-callback", run_callback, callable_, args)

    def rescue(self) -> None:
        """Have run what was told after the thread of callbacks had ended."""
        with self._lock:
            if not self.closed:
                return
        for callback, args in self.core.take_callbacks():
            self.post(callback, *args)

    def workers(self) -> _core.Workers:
        """Return the workers of all channels that serve."""
        with self._lock:
            if self._workers is None:
                self._workers = _core.Workers(self.core)
                self._threads.append(
                    start_threads("callmethod-channel", self._workers.run, count=default_workers())
                )
            return self._workers

    def close(self) -> None:
        """End all threads."""
        with self._lock:
            self.closed = True
        if self._workers is not None:
            self._workers.stop()
        self.core.close()
        _mailbox.leave_all()
        for threads in self._threads:
            threads.join()


def _run_callbacks(process: _core.Process) -> None:
    while process.run_callbacks(run_callback, callback_failed):
        pass


_lock = threading.RLock()
_shared: Shared | None = None
_started = False
_exiting = False
_left_behind: list[Shared] = []
generation: int = 0
"""How many forks lie between the first process and this one."""


def join(member: Member) -> Shared:
    """Return what is shared, for as long as `member` has not left."""
    global _shared, _started
    with _lock:
        if _shared is None:
            _shared = Shared()
            _started = True
        _shared.members.add(member)
        return _shared


def current() -> Shared:
    """Return what is shared, for what a running server or channel makes."""
    if _shared is None:
        raise RuntimeError("no server and no channel runs")
    return _shared


def leave(shared: Shared, member: Member) -> None:
    """Let go of what is shared; the last one ends it."""
    global _shared
    with _lock:
        shared.members.discard(member)
        # At exit all is ended by the thread that exits, which may wait for somebody else's end.
        if shared.members or shared is not _shared or _exiting:
            return
        _shared = None
    shared.close()


def check(made_in: int, what: str) -> None:
    """Raise RuntimeError for something that was made before a fork."""
    if made_in != generation:
        raise RuntimeError(
            f"this {what} was made before fork and belongs to the parent process; make a new one"
        )


def _after_fork_in_child() -> None:
    global _lock, _shared, generation
    generation += 1
    _lock = threading.RLock()
    if _shared is not None:
        # Its threads are not here, its sockets are the parent's: it is never touched again.
        _left_behind.append(_shared)
        _shared = None


def _at_exit() -> None:
    global _exiting
    with _lock:
        _exiting = True
        shared = _shared
    if shared is not None:
        _let_go(shared)
    # What is in the core now has a moment to leave it; what comes later stays outside.
    _core.close_gate()
    if _started:
        time.sleep(GATE_SECONDS)


def _let_go(shared: Shared) -> None:
    waits: list[Callable[[], object]] = []
    for member in list(shared.members):
        try:
            waits.append(member.at_exit())
        except Exception as error:  # noqa: BLE001  (the others are to be let go all the same)
            report(error)
    # Begun together, so that all have their time together.
    for wait in waits:
        wait()
    shared.close()


os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
