"""The thread that hands log lines to `logging`."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from callmethod import _core

logger = logging.getLogger("callmethod")


def drain(process: _core.Process) -> None:
    """Log what the core has to say until it is closed."""
    while (records := process.next_records()) is not None:
        # Popped, since an exception held here would outlive its line by one wait.
        records.reverse()
        while records:
            _write(*records.pop())


def _write(level: int, text: str, exception: BaseException | None) -> None:
    try:
        logger.log(level, "%s", text, exc_info=exception)
    except Exception:  # noqa: BLE001  (a user's log handler must not stop the log)
        report("exception in a log handler")


def report(what: str) -> None:
    """Hand the exception being handled to `sys.unraisablehook`."""
    error = sys.exc_info()[1]
    if error is not None:
        sys.unraisablehook(Unraisable(error, what))


class Unraisable:
    """What `sys.unraisablehook` takes, with the fields of `sys.UnraisableHookArgs`."""

    exc_type: type[BaseException]
    exc_value: BaseException | None
    exc_traceback: TracebackType | None
    err_msg: str | None
    object: Any

    def __init__(self, error: BaseException, what: str) -> None:
        """Describe an exception that has nowhere to go."""
        self.exc_type = type(error)
        self.exc_value = error
        self.exc_traceback = error.__traceback__
        self.err_msg = f"callmethod: {what}"
        self.object = None
