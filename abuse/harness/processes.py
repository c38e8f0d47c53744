"""The processes of a run, each with a place of its own, and what the kernel knows of them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Self

HERE = Path(__file__).resolve().parent.parent
PROTOS = HERE.parent / "build" / "abuse"
ANSWER_SECONDS = 60
STOP_SECONDS = 5


class FailedError(RuntimeError):
    """A program of the run did not do its part; the text has its last words."""


@dataclass(frozen=True)
class Place:
    """Where a program runs, and how much it has to say.

    The target has a CPU to itself, where there are two. Who attacks and who is honest share the
    other one as if they were on two machines: an attacker gets only what nobody else wants.
    """

    cpus: Sequence[int]
    idle: bool = False

    def take(self) -> None:
        os.sched_setaffinity(0, self.cpus)
        if self.idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def places() -> tuple[Place, Place, Place]:
    """Return those of the target, of honest clients, and of attackers."""
    cpus = sorted(os.sched_getaffinity(0))
    own, others = (cpus[:1], cpus[1:]) if len(cpus) > 1 else (cpus, cpus)
    return Place(own), Place(others), Place(others, idle=True)


class Program:
    """A Python program of ours that answers each line with one of JSON."""

    def __init__(self, name: str, arguments: Sequence[str], place: Place) -> None:
        self.name = name
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        path = f"{HERE}{os.pathsep}{PROTOS}"
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / name), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": path},
            preexec_fn=place.take,  # noqa: PLW1509  (this program has one thread)
        )
        self.pid = self.process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def line(self, seconds: float = ANSWER_SECONDS) -> str:
        """Wait for a line."""
        out = self.process.stdout
        assert out is not None
        if select.select([out], [], [], seconds)[0] and (line := out.readline().decode().strip()):
            return line
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace")[-2000:]
        code = self.process.poll()
        raise FailedError(f"{self.name} said nothing for {seconds:.0f} s (exit {code}): {words}")

    def tell(self, order: str) -> None:
        """Give an order; its answer is to be waited for."""
        assert self.process.stdin is not None
        self.process.stdin.write(order.encode() + b"\n")
        self.process.stdin.flush()

    def heard(self, seconds: float = ANSWER_SECONDS) -> Any:
        """Wait for an answer."""
        return json.loads(self.line(seconds))

    def ask(self, order: str) -> Any:
        """Give an order and wait for its answer."""
        self.tell(order)
        return self.heard()

    def rss(self) -> int:
        """Return the bytes of memory that it holds."""
        return int(self._proc("statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def fds(self) -> int:
        """Return how many files it has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208  (names alone)

    def tasks(self) -> int:
        """Return how many threads the kernel knows."""
        return len(os.listdir(f"/proc/{self.pid}/task"))  # noqa: PTH208

    def cpu_seconds(self) -> float:
        """Return its time on a CPU so far."""
        user, kernel = map(int, self._proc("stat").rpartition(")")[2].split()[11:13])
        return (user + kernel) / os.sysconf("SC_CLK_TCK")

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.pid}/{name}").read_text("ascii", errors="replace")

    def stop(self) -> None:
        """End it, and see to it that it has ended."""
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._errors.close()


class Target(Program):
    """The server that is abused."""

    def __init__(self, place: Place, *arguments: str, **options: object) -> None:
        super().__init__("target.py", ["--options", json.dumps(options), *arguments], place)
        self.address = self.line()

    def state(self) -> dict[str, Any]:
        """Return its counters and gauges."""
        state: dict[str, Any] = self.ask("state")
        state["fds"] = self.fds()
        return state


def wait_until(true: Any, seconds: float) -> bool:
    """Wait until `true()` is; return whether it became so in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
