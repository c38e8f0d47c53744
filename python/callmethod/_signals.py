"""Serving until a signal comes."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


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
