"""Options that are not a protocol's."""

from __future__ import annotations

import dataclasses
import math

__all__ = ["ChannelOptions"]


@dataclasses.dataclass(frozen=True)
class ChannelOptions:
    """How a channel behaves. All times are seconds.

    Attributes:
        timeout: for calls whose controller names none; None for no limit.
        wait_for_ready: whether a call waits while the other end is away.
        backoff_min: shortest pause between two attempts to connect.
        backoff_max: longest pause between two attempts to connect.
        connect_timeout: for one attempt to connect.

    Raises:
        ValueError: a time that is none.
    """

    timeout: float | None = 5.0
    wait_for_ready: bool = True
    backoff_min: float = 0.05
    backoff_max: float = 1.0
    connect_timeout: float = 5.0

    def __post_init__(self) -> None:
        """Check the times."""
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        for name in ("backoff_min", "backoff_max", "connect_timeout"):
            check_seconds(name, getattr(self, name))
            if getattr(self, name) == 0:
                raise ValueError(f"{name} must be more than 0 s")
        if self.backoff_max < self.backoff_min:
            raise ValueError(
                f"backoff_max ({self.backoff_max} s) is below backoff_min ({self.backoff_min} s)"
            )


def check_seconds(name: str, seconds: object) -> None:
    """Raise ValueError unless `seconds` is a finite number that is not negative."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{name} must be seconds from 0 on, not {seconds!r}")
