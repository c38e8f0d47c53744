"""A worker process, as its supervisor sees it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from callmethod._orders import CLOSE, CLOSED, DRAIN, NOW, PATIENCE_SECONDS, QUIET, Report, Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod._factory import Name

NOW_SECONDS = 3.0
"""Time for a worker to end that is told not to wait for anything."""
BOOT = """\
import sys
sys.path[:] = sys.argv[2:]
from callmethod._worker import main
main(sys.argv[1])
"""
"""What the interpreter of a worker runs. The path is set before anything is imported, so that the
modules of a worker are those of the program, whatever lies in the current folder."""
FLAGS = "_args_from_interpreter_flags"
"""A function of `subprocess` that `multiprocessing` uses, too: -O, -W, -X and the like."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """How workers are started. Times are seconds.

    Attributes:
        factory: what makes their services.
        grace: for calls under way when they are told to drain.
        start_timeout: from the start of a worker until it accepts.
        tls: fields of the `ServerTls` by which they speak TLS.
    """

    factory: Name
    grace: float
    start_timeout: float
    tls: dict[str, str | bool] | None


class Child:
    """A worker process, from its start to its end."""

    def __init__(self, plan: Plan, listener: int, generation: int) -> None:
        """Start one.

        Raises:
            OSError: the system has no room for another process.
        """
        self._plan = plan
        self.generation = generation
        """Number of the restart to which it belongs."""
        self.report: Report | None = None
        """What it said of its start."""
        self.closed = False
        """Whether it has let go of the socket that it accepted from."""
        self.overdue = ""
        """Why it was killed by us, if it was."""
        self.control, theirs = socket.socketpair()
        self.control.settimeout(0)
        task = Task(
            plan.factory,
            listener,
            theirs.fileno(),
            os.getpid(),
            plan.grace,
            list(sys.argv),
            plan.tls,
        )
        flags: Callable[[], list[str]] = getattr(subprocess, FLAGS, list)
        with theirs:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, QUIET)
            try:
                self._process = subprocess.Popen(  # noqa: S603  (the program's own interpreter)
                    [sys.executable, *flags(), "-c", BOOT, task.to_text(), *map(str, sys.path)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(listener, theirs.fileno()),
                )
            except BaseException:
                self.control.close()
                raise
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self.pid = self._process.pid
        self._since = time.monotonic()
        self._ends_by: float | None = self._since + plan.start_timeout
        self._late = f"it did not accept within {plan.start_timeout} s"
        self._heard = b""
        self._told = False

    @property
    def ready(self) -> bool:
        """Whether it accepts, or did."""
        return self.report is not None and not self.report.reason

    @property
    def age(self) -> float:
        """Seconds since it accepted, or since its start if it does not."""
        return time.monotonic() - self._since

    def hear(self) -> bool:
        """Take in what it says; return whether there may be more to come."""
        try:
            data = self.control.recv(64 * 1024)
        except BlockingIOError:
            return True
        except OSError:
            return False
        *lines, self._heard = (self._heard + data).split(b"\n")
        for line in lines:
            if line == CLOSED:
                self.closed = True
            else:
                self._take(Report.from_line(line))
        return bool(data)

    def _take(self, report: Report) -> None:
        self.report = report
        if not self.ready:
            self._end_within(PATIENCE_SECONDS, "it failed to start and did not end")
            return
        self._since = time.monotonic()
        if not self._told:
            self._ends_by = None

    def why_it_failed(self, fate: str) -> Report:
        """Return what it said of its start, or what can be said of one that ended so."""
        if self.report is not None:
            return self.report
        return Report(f"the worker ended before it accepted: {self.overdue or fate}")

    def close_port(self) -> None:
        """Tell it to accept nothing more; it says when that is so."""
        if self.ready:
            self._order(CLOSE)
        else:
            self.drain()

    def drain(self) -> None:
        """Tell it to end when its calls have."""
        self._told = True
        if not self.ready:
            # It has not taken its signal handler yet, so that this ends it; if it has, it drains.
            self._process.terminate()
        self._order(DRAIN)
        grace = self._plan.grace
        self._end_within(
            grace + PATIENCE_SECONDS, f"it did not end within {grace} s and {PATIENCE_SECONDS} s"
        )

    def cut(self) -> None:
        """Tell it to end without waiting for anything."""
        self._told = True
        self._order(NOW)
        self._end_within(NOW_SECONDS, f"it did not end within {NOW_SECONDS} s")

    def _order(self, order: bytes) -> None:
        # A worker that has died, or does not listen, is noticed elsewhere.
        with contextlib.suppress(OSError):
            self.control.send(order)

    def _end_within(self, seconds: float, late: str) -> None:
        self._ends_by, self._late = time.monotonic() + seconds, late

    def keep_time(self) -> None:
        """Kill it if it should have ended."""
        if self._ends_by is not None and time.monotonic() >= self._ends_by:
            self._ends_by, self.overdue = None, self._late
            self.kill()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def fate(self) -> str | None:
        """Return how it ended, None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def bury(self) -> None:
        """Let go of a process that has ended, or is to end at once."""
        self.kill()
        self._process.wait()
        self.control.close()
