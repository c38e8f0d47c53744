"""Where things are, and how long is measured."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = ROOT / "benchmarks" / "peers"
PROTOS = ROOT / "build" / "bench"
BRPC = ROOT / "build" / "brpc" / "echo"
RESULTS = ROOT / "benchmarks" / "results"


@dataclass(frozen=True)
class Settings:
    """One run of the benchmarks."""

    quick: bool
    repetitions: int
    seconds: float
    """For one figure; before it a third of that goes by as warm-up."""
    cpus: tuple[int, int]
    """Of the server and of the load."""
    binaries: Path
    """The folder of `load` and `echo`."""
    eager_python: str | None
    """An interpreter from 3.12 on with the same packages, for tasks that start eagerly."""
    only: tuple[str, ...]
    """Groups that are run; empty: all."""
    brpc: Path | None = None
    """The folder of brpc's example, built; None where it was not."""
    python: str = field(default=sys.executable)

    @property
    def warmup(self) -> float:
        return self.seconds / 3

    def wants(self, group: str) -> bool:
        """Say whether a group of measurements is asked for."""
        return not self.only or group in self.only


def two_cpus() -> tuple[int, int]:
    """Choose the CPUs; a machine with one has none for the load."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise SystemExit("two CPUs are needed, one for the server and one for the load")
    return cpus[0], cpus[1]
