"""A place for a worker, and how long it stays empty when workers fail there."""

from __future__ import annotations

import dataclasses
import random
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callmethod._child import Child

BACKOFF_MIN_SECONDS = 0.1
"""Pause before a worker is replaced that has failed once."""
BACKOFF_MAX_SECONDS = 10.0
"""Pause before a worker is replaced that fails again and again."""
STABLE_SECONDS = 10.0
"""A worker that has accepted for so long did not fail, however it ends."""
MOST_DOUBLINGS = 16


@dataclasses.dataclass
class Place:
    """A supervisor has as many as there are to be workers.

    Attributes:
        child: who works here.
        heir: who is to work here as soon as it accepts: a rolling restart.
        failures: workers that failed here, one after the other.
        not_before: when the next one may be started, by the monotonic clock.
    """

    child: Child | None = None
    heir: Child | None = None
    failures: int = 0
    not_before: float = 0.0

    def fail(self) -> None:
        """Have the next worker wait, the longer the more have failed."""
        pause = min(BACKOFF_MAX_SECONDS, BACKOFF_MIN_SECONDS * 2.0**self.failures)
        self.failures = min(self.failures + 1, MOST_DOUBLINGS)
        # Places that fail together are not to start together.
        self.not_before = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311

    def lose(self, seconds: float) -> None:
        """Note that a worker has ended that had accepted for so many seconds."""
        if seconds < STABLE_SECONDS:
            self.fail()
        else:
            self.failures = 0

    @property
    def had_its_start(self) -> bool:
        """Whether its first worker has come up, or has failed to."""
        return self.failures > 0 or (self.child is not None and self.child.ready)
