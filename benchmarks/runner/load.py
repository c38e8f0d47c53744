"""Puts load on one server and returns one sample."""

from __future__ import annotations

import json
import re
import shutil
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner.processes import PeerError, Process, run
from runner.settings import PEERS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.contestants import Contestant
    from runner.settings import Settings

Sample = dict[str, float]
"""calls_per_s; as far as they are known p50_us, p99_us, and cpu_us, the server's CPU for a call."""

MEBIBYTE = 1024 * 1024
SLACK_SECONDS = 30
GRPC_PREFIX = 5


@dataclass(frozen=True)
class Cell:
    """Connections, calls in flight on each, and bytes of the payload."""

    connections: int
    in_flight: int
    size: int = 16
    index: int = 0
    """The method: 0 echo, 1 nap, 2 compute."""

    @property
    def label(self) -> str:
        sizes = {16: "", 1024: ", 1 KiB", MEBIBYTE: ", 1 MiB"}
        return f"{self.connections} x {self.in_flight}{sizes.get(self.size, f', {self.size} B')}"


def framed(
    settings: Settings, address: str, protocol: str, cell: Cell, cpu: Sequence[int]
) -> dict[str, Any]:
    """Run the load generator; it fails when an answer was wrong."""
    options = {
        "--connect": address,
        "--protocol": protocol,
        "--connections": cell.connections,
        "--in-flight": cell.in_flight,
        "--size": cell.size,
        "--index": cell.index,
        "--method": ("echo", "nap", "compute")[cell.index],
        "--seconds": settings.seconds,
        "--warmup": settings.warmup,
    }
    words = [str(word) for pair in options.items() for word in pair]
    timeout = settings.seconds + settings.warmup + SLACK_SECONDS
    result: dict[str, Any] = json.loads(
        run([str(settings.binaries / "load"), *words], cpu, timeout)
    )
    return result


def grpc(settings: Settings, address: str, cell: Cell, cpu: Sequence[int]) -> dict[str, Any]:
    """Run h2load, or our own slow stand-in where it is not installed."""
    if shutil.which("h2load") is None:
        return grpc_from_python(settings, address, cell, cpu)
    message = length_prefixed(cell.size)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(message)
        words = [
            "h2load",
            f"--duration={round(settings.seconds * 1000)}ms",
            f"--warm-up-time={round(settings.warmup * 1000)}ms",
            f"--clients={cell.connections}",
            f"--max-concurrent-streams={cell.in_flight}",
            # 16 MiB of window, so that a message does not wait for it.
            "--window-bits=24",
            "--connection-window-bits=24",
            f"--data={body}",
            f"--log-file={log}",
            "--header=content-type: application/grpc",
            "--header=te: trailers",
            f"http://{address}/bench.Echo/echo",
        ]
        timeout = settings.seconds + settings.warmup + SLACK_SECONDS
        text = run(words, cpu, timeout)
        # Start, status, microseconds.
        times = sorted(float(line.split()[2]) for line in log.read_text("ascii").splitlines())
    return {**read_h2load(text, settings.seconds, len(message)), **quantiles(times)}


def length_prefixed(size: int) -> bytes:
    """Make gRPC's frame around a message with so many bytes as field 1."""
    varint, rest = b"", size
    while rest >= 0x80:
        varint += bytes([rest & 0x7F | 0x80])
        rest >>= 7
    message = b"\x0a" + varint + bytes([rest]) + b"x" * size
    return b"\0" + struct.pack(">I", len(message)) + message


def read_h2load(text: str, seconds: float, length: int) -> dict[str, Any]:
    """Read its report, and hold the bytes that came against the calls that it counted."""
    requests = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", text)
    data = re.search(r"\((\d+)\) data", text)
    if requests is None or data is None:
        raise PeerError(f"h2load said: {text[-1000:]}")
    calls, *bad = map(int, requests.groups())
    answers, rest = divmod(int(data[1]), length)
    if any(bad) or answers < calls:
        raise PeerError(f"h2load: {calls} calls, {bad} bad, {answers} answers and {rest} bytes")
    return {"calls_per_s": calls / seconds, "all_calls": answers}


def quantiles(times: Sequence[float]) -> dict[str, float]:
    """Return p50 and p99 of sorted times."""
    if not times:
        return {}
    return {"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}


def grpc_from_python(
    settings: Settings, address: str, cell: Cell, cpu: Sequence[int]
) -> dict[str, Any]:
    """Make the calls with grpc.aio on one connection, which is slower than what it measures."""
    return client(
        settings,
        ["grpc_aio_client.py", "--connect", address],
        cell.size,
        cell.connections * cell.in_flight,
        cpu,
    )


def client(
    settings: Settings, words: Sequence[str], size: int, in_flight: int, cpu: Sequence[int]
) -> dict[str, Any]:
    """Run a client of peers/."""
    program, *options = words
    command = [
        settings.python,
        str(PEERS / program),
        *options,
        f"--size={size}",
        f"--in-flight={in_flight}",
        f"--seconds={settings.seconds}",
        f"--warmup={settings.warmup}",
    ]
    timeout = settings.seconds + settings.warmup + SLACK_SECONDS
    result: dict[str, Any] = json.loads(run(command, cpu, timeout))
    return result


def in_process(
    settings: Settings, contestant: Contestant, cell: Cell, cpu: Sequence[int]
) -> Sample:
    """Run the loop without a network."""
    command = [
        *contestant.command(settings),
        f"--size={cell.size}",
        f"--seconds={settings.seconds}",
    ]
    result = json.loads(run(command, cpu, settings.seconds + SLACK_SECONDS))
    return {"calls_per_s": result["calls_per_s"], "cpu_us": 1e6 / result["calls_per_s"]}


def sample(
    settings: Settings,
    contestant: Contestant,
    server: Process,
    address: str,
    cell: Cell,
    cpu: Sequence[int],
) -> Sample:
    """Measure a server that runs."""
    before = server.cpu_seconds()
    if contestant.protocol == "grpc":
        result = grpc(settings, address, cell, cpu)
    else:
        result = framed(settings, address, contestant.protocol, cell, cpu)
    cpu_seconds = server.cpu_seconds() - before
    if not server.alive:
        raise PeerError(f"{contestant.name} died: {server.last_words()}")
    wanted = ("calls_per_s", "p50_us", "p99_us")
    taken = {name: float(result[name]) for name in wanted if name in result}
    if "load_cpu_s" in result and result["load_cpu_s"] is not None:
        taken["load_busy"] = result["load_cpu_s"] / result["seconds"]
    all_calls = result.get("all_calls")
    if all_calls:
        taken["cpu_us"] = cpu_seconds / all_calls * 1e6
    return taken
