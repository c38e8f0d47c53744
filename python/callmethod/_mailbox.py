"""How ends of calls reach an event loop: a mailbox for each loop, and a socket that wakes it.

Nobody who ends a call needs the GIL to wake the loop, and all ends that wait are settled in one
turn of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import weakref

from callmethod import _core
from callmethod._log import run_callback
from callmethod._readers import Readers, duplicate


class Mailbox:
    """The mailbox of one event loop."""

    def __init__(self, process: _core.Process) -> None:
        """Have the loop that runs here listen."""
        here, bell = socket.socketpair()
        here.settimeout(0)
        bell.settimeout(0)
        self.left = False
        self.core = _core.Mailbox(process, bell.detach(), sweep)
        self._readers = Readers(
            here.detach(),
            self._settle,
            duplicate(process.poller()),
            self._look,
            lambda: self.leave(asyncio.get_running_loop()),
        )

    def _look(self) -> bool:
        read = self.core.look()
        self._settle()
        return read

    def _settle(self) -> None:
        for settle, args in self.core.take():
            run_callback(settle, args)

    def leave(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop listen no more; on its own thread, or when it is closed.

        What comes for it from now on is told on the thread of callbacks: the future of a closed
        loop can be left alone, but the call's controller is to learn of the end.
        """
        self.left = True
        with _lock:
            if _mailboxes.get(loop) is self:
                del _mailboxes[loop]
        if self._readers.leave(loop) and not loop.is_closed():
            self._settle()
        self.core.pass_on()


class _Here(threading.local):
    """The loop that last called on this thread, and its mailbox."""

    known: tuple[weakref.ref[asyncio.AbstractEventLoop], Mailbox] | None = None


_here = _Here()
_lock = threading.RLock()
_mailboxes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Mailbox] = (
    weakref.WeakKeyDictionary()
)


def mailbox_of(loop: asyncio.AbstractEventLoop, process: _core.Process) -> _core.Mailbox:
    """Return the mailbox of the loop that runs here, made at the first need."""
    known = _here.known
    if known is not None and known[0]() is loop and not known[1].left:
        return known[1].core
    mailbox = _mailboxes.get(loop)
    if mailbox is None:
        mailbox = Mailbox(process)
        sweep()
        with _lock:
            _mailboxes[loop] = mailbox
    _here.known = weakref.ref(loop), mailbox
    return mailbox.core


def sweep() -> None:
    """Let go of loops that were closed without being shut down first."""
    with _lock:
        closed = [(loop, mailbox) for loop, mailbox in _mailboxes.items() if loop.is_closed()]
    for loop, mailbox in closed:
        mailbox.leave(loop)


def leave_all() -> None:
    """Let go of all loops: no channel is left that could call."""
    sweep()
    with _lock:
        left = list(_mailboxes.items())
        _mailboxes.clear()
    for loop, mailbox in left:
        # Already: the next channel has another process behind it.
        mailbox.left = True
        # A loop that was closed meanwhile is swept by the next one's mailbox, or collected.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(mailbox.leave, loop)


def _after_fork_in_child() -> None:
    global _lock
    _lock = threading.RLock()
    # The parent's loops are not run here.
    _mailboxes.clear()
    _here.known = None


os.register_at_fork(after_in_child=_after_fork_in_child)
