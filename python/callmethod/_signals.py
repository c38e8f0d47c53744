"""Signals as something to be waited for."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from typing_extensions import Self


class Signals:
    """Takes signals between `with` and its end; what was there before is put back then."""

    def __init__(self, numbers: Sequence[int]) -> None:
        """Name the signals that are to be taken."""
        self._numbers = numbers
        self._before: list[Any] = []
        self._wakeup = -1
        self._ours, self._theirs = socket.socketpair()
        self._ours.settimeout(0)
        self._theirs.settimeout(0)

    def fileno(self) -> int:
        """Return what is readable when a signal has come."""
        return self._ours.fileno()

    def take(self) -> list[int]:
        """Return the signals that have come since the last time."""
        try:
            data = self._ours.recv(4096)
        except BlockingIOError:
            return []
        # Others may be handled by the program itself.
        return [number for number in data if number in self._numbers]

    def __enter__(self) -> Self:
        """Take the signals."""
        self._before = [signal.signal(number, _heard) for number in self._numbers]
        self._wakeup = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        """Put everything back."""
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in zip(self._numbers, self._before, strict=True):
            # None stands for a handler that Python did not install and cannot put back.
            with contextlib.suppress(TypeError):
                signal.signal(number, handler)
        self._ours.close()
        self._theirs.close()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: that the signal has come is written into the socket."""


def until_signal(
    wait: Callable[[], object], *, stop: Callable[[], object], stop_now: Callable[[], object]
) -> None:
    """Wait with SIGINT and SIGTERM in hand: the first one calls `stop`, later ones `stop_now`.

    The signals' own handlers are put back in the end.
    """
    stopping = False

    def on_signal(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        if stopping:
            stop_now()
            return
        stopping = True
        threading.Thread(target=stop, name="callmethod-stop").start()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        wait()
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
