"""The thread that hands log lines to `logging`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod import _core

logger = logging.getLogger("callmethod")


def drain(process: _core.Process) -> None:
    """Log what the core has to say until it is closed."""
    while (records := process.next_records()) is not None:
        # Popped, since an exception held here would outlive its line by one wait.
        records.reverse()
        while records:
            write(*records.pop())


def write(level: int, text: str, exception: BaseException | None) -> None:
    """Log one line; a log handler that raises is reported and stops nothing."""
    try:
        logger.log(level, "%s", text, exc_info=exception)
    except Exception as error:  # noqa: BLE001  (code of the user's)
        report(error)


def run_callback(callback: Callable[..., object], args: tuple[Any, ...]) -> None:
    """Call `callback(*args)`; what it raises is logged and reported, and harms no other one."""
    try:
        callback(*args)
    except BaseException as error:  # noqa: BLE001  (nobody else could take it)
        callback_failed(error)


def callback_failed(error: BaseException) -> None:
    """Log and report what a callback raised."""
    write(logging.ERROR, "exception in a callback", error)
    report(error)


def report(error: BaseException) -> None:
    """Hand an exception to `sys.unraisablehook`."""
    # Only the interpreter can make what the hook takes, and does so for a failing finalizer.
    _Unraisable(error)


class _Unraisable:
    """Raises in its finalizer."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __del__(self) -> None:
        raise self._error
