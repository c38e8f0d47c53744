"""How much of the CPUs went to programs that are none of ours, while something was measured."""

from __future__ import annotations

import os
import time
from pathlib import Path

BUSY = (0, 1, 2, 5, 6, 7)
"""Of a line of /proc/stat: user, nice, system, irq, softirq, steal."""


class Others:
    """Begins to look when it is made."""

    def __init__(self) -> None:
        self.cpus = sorted(os.sched_getaffinity(0))
        self.began, self.busy = time.monotonic(), self._busy_seconds()

    def share(self, ours: float) -> float:
        """Return their part of the CPUs since then, of which ours took so many seconds."""
        passed = (time.monotonic() - self.began) * len(self.cpus)
        return max(self._busy_seconds() - self.busy - ours, 0.0) / passed

    def _busy_seconds(self) -> float:
        wanted = {f"cpu{cpu}" for cpu in self.cpus}
        jiffies = 0
        for line in Path("/proc/stat").read_text("ascii").splitlines():
            name, *numbers = line.split()
            if name in wanted:
                jiffies += sum(int(numbers[place]) for place in BUSY)
        return jiffies / os.sysconf("SC_CLK_TCK")
