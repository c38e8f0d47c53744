"""Processes on chosen CPUs, and what the kernel knows about them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from runner.settings import PROTOS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

START_SECONDS = 30
STOP_SECONDS = 5


class PeerError(RuntimeError):
    """A program did not do its part; the text has its last words."""


@contextlib.contextmanager
def running_on(cpus: Sequence[int]) -> Iterator[None]:
    """Have children that are started here run on these CPUs, from their first instruction on."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Make the environment of a peer."""
    return {**os.environ, "PYTHONPATH": str(PROTOS), **(more or {})}


class Process:
    """A server that runs until it is stopped."""

    def __init__(
        self,
        command: Sequence[str],
        cpus: Sequence[int],
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = list(command)
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed by stop)
        with running_on(cpus):
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment(env),
                cwd=cwd,
            )

    def address(self) -> str:
        """Wait for the line that says where it listens."""
        out = self._process.stdout
        if out is None:  # pragma: no cover  (it is a pipe)
            raise PeerError("no output")
        if select.select([out], [], [], START_SECONDS)[0]:
            line = out.readline().decode().strip()
            if line:
                return line
        raise PeerError(f"{' '.join(self.command)} did not start: {self.last_words()}")

    def last_words(self) -> str:
        """Return the end of what it complained about."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-2000:]

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def cpu_seconds(self) -> float:
        """Return its time on a CPU so far, kernel included.

        The threads know theirs to the nanosecond, the process knows its own in hundredths of a
        second, but with the threads that have ended, as those of a connection do in some servers.
        """
        process = Path(f"/proc/{self._process.pid}")
        nanos = 0
        for task in (process / "task").iterdir():
            with contextlib.suppress(OSError):
                nanos += int((task / "schedstat").read_text("ascii").split()[0])
        after_name = (process / "stat").read_text("ascii", errors="replace").rpartition(")")[2]
        user, kernel = map(int, after_name.split()[11:13])
        return max(nanos / 1e9, (user + kernel) / os.sysconf("SC_CLK_TCK"))

    def memory(self, name: str) -> int:
        """Return a value of /proc/PID/status in KiB: VmRSS now, VmHWM at most."""
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii", errors="replace")
        for line in status.splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1])
        raise PeerError(f"no {name} in /proc")

    def stop(self) -> None:
        """End it, and see to it that it has ended."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()


def run(
    command: Sequence[str],
    cpus: Sequence[int],
    timeout: float,
    *,
    cwd: Path | None = None,
    with_errors: bool = False,
) -> str:
    """Run a program to its end and return what it printed, to stderr too where it is wanted."""
    with running_on(cpus):
        process = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            cwd=cwd,
        )
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise PeerError(f"{' '.join(command)}: not done after {timeout:.0f} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode != 0:
        raise PeerError(f"{' '.join(command)}: exit {process.returncode}: {errors[-2000:]}")
    return out + errors if with_errors else out


def free_port() -> int:
    """Find a port that nobody has."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_for_port(port: int) -> None:
    """Wait until somebody listens, for servers that do not say so."""
    end = time.monotonic() + START_SECONDS
    want = f":{port:04X}"
    while time.monotonic() < end:
        for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]:
            words = line.split()
            if words[1].endswith(want) and words[3] == "0A":
                return
        time.sleep(0.05)
    raise PeerError(f"nobody listens at port {port}")
