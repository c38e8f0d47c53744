"""The deadline of the call that is being handled: calls made meanwhile inherit it."""

from __future__ import annotations

import contextvars
import time

deadline: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    "callmethod deadline", default=None
)
"""When the call that is being handled ends, by `time.monotonic`; set by the core."""


def bounded(timeout: float | None) -> float | None:
    """Return what is left of the inherited deadline if that is less than `timeout`."""
    ends = deadline.get()
    if ends is None:
        return timeout
    left = max(0.0, ends - time.monotonic())
    return left if timeout is None else min(timeout, left)
