"""The deadline of the call that is being handled: calls made meanwhile inherit it."""

from __future__ import annotations

import contextvars
import time

_deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    "callmethod deadline", default=None
)


def inherit(seconds: float) -> None:
    """Let calls of the current context end within `seconds` from now."""
    _deadline.set(time.monotonic() + seconds)


def bounded(timeout: float | None) -> float | None:
    """Return what is left of the inherited deadline if that is less than `timeout`."""
    deadline = _deadline.get()
    if deadline is None:
        return timeout
    left = max(0.0, deadline - time.monotonic())
    return left if timeout is None else min(timeout, left)
