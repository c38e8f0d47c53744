"""Four times more calls than the server can do, for a minute, whatever becomes of them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from harness.others import Others
from harness.processes import HERE, PROTOS, FailedError, Place, Target

TIMES = 4
PEAK_SECONDS = 4.0
GOODPUT = 0.9
REFUSED_MS = 10.0
DEAD = 0.01
TRIES = 2
DISTURBED = 0.05
"""Part of the CPUs from which on other programs disturb: they take it in long pieces."""


@dataclass(frozen=True)
class Case:
    """What is overloaded, and for how long."""

    name: str
    deadline: float
    seconds: float
    handlers: str = "sync"


CASES = (
    Case("plain handlers, deadline 0.1 s", 0.1, 60.0),
    Case("plain handlers, deadline 1 s", 1.0, 20.0),
    Case("coroutines, deadline 0.1 s", 0.1, 20.0, handlers="async"),
)


@dataclass(frozen=True)
class Overload:
    """What came of it."""

    case: Case
    peak: float
    slower: float
    """How many times as long a handler took on the CPU as it did at the peak."""
    load: dict[str, Any]
    begun: int
    late: int
    others: float
    """Part of the CPUs that other programs took."""
    tries: int = 1

    @property
    def goodput(self) -> float:
        """Answers in time, as a part of what the peak would be on the CPU as it was meanwhile."""
        return float(self.load["in_time_per_s"] * self.slower / self.peak)

    @property
    def dead(self) -> float:
        """The part of all handlers that ran whose caller had given up before they ended."""
        return self.late / max(self.begun, 1)

    def faults(self) -> list[str]:
        found = []
        if self.goodput < GOODPUT:
            found.append(f"goodput {self.goodput:.0%} of the peak")
        if self.load["refused_p99_ms"] > REFUSED_MS:
            found.append(f"refused after {self.load['refused_p99_ms']:.0f} ms")
        if self.dead >= DEAD:
            found.append(f"{self.dead:.1%} of the work was for nobody")
        if self.load["other"] or self.load["unanswered"]:
            found.append(f"other ends: {self.load['other']}, none: {self.load['unanswered']}")
        return found


def overload(case: Case, target_place: Place, caller_place: Place) -> Overload:
    """Overload a server; one that does not do well beside other programs has another chance."""
    tries = 0
    while True:
        tries += 1
        found = overload_once(case, target_place, caller_place)
        if not found.faults() or found.others < DISTURBED or tries == TRIES:
            return dataclasses.replace(found, tries=tries)


def overload_once(case: Case, target_place: Place, caller_place: Place) -> Overload:
    """Find the peak, then ask for more; the peak is looked at again afterwards."""
    with Target(target_place, f"--handlers={case.handlers}") as target:

        def loaded(*words: str) -> Part:
            before = target.state()
            came = load(target, caller_place, *words)
            after = target.state()
            return Part(
                came, *(after[name] - before[name] for name in ("begun", "late", "computed"))
            )

        loaded("--seconds=1")
        before = loaded(f"--seconds={PEAK_SECONDS}")
        rate = TIMES * before.load["in_time_per_s"]
        cpu, others = target.cpu_seconds(), Others()
        during = loaded(
            f"--rate={rate}", f"--deadline={case.deadline}", f"--seconds={case.seconds}"
        )
        share = others.share(target.cpu_seconds() - cpu + during.load["cpu_s"])
        after = loaded(f"--seconds={PEAK_SECONDS}")
    peaks = (before, after)
    of_one = sum(part.computed for part in peaks) / sum(part.begun for part in peaks)
    return Overload(
        case,
        sum(part.load["in_time_per_s"] for part in peaks) / len(peaks),
        during.computed / during.begun / of_one,
        during.load,
        during.begun,
        during.late,
        share,
    )


@dataclass(frozen=True)
class Part:
    """A load, the handlers that ran for it, those of them whose caller had given up, their CPU."""

    load: dict[str, Any]
    begun: int
    late: int
    computed: float


def load(target: Target, place: Place, *words: str) -> dict[str, Any]:
    """Have calls made, and return what is known of them."""
    done = subprocess.run(
        [sys.executable, str(HERE / "caller.py"), target.address, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={"PYTHONPATH": f"{HERE}:{PROTOS}"},
        preexec_fn=place.take,
    )
    if done.returncode != 0:
        raise FailedError(f"caller.py: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
