"""Nothing is reserved for an announced length: the memory of a server that was promised much.

Both are looked at, the resident set and the private writable memory: a reservation that nobody has
touched yet shows only in the second.
"""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

SCRIPT = Path(__file__).with_name("quiet_server.py")
MESSAGE_LIMIT = 4 * 1024 * 1024
CONNECTIONS = 64  # 256 MiB, if each were believed
ALLOWED = 24 * 1024 * 1024

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the memory of a process in /proc"
)


@pytest.fixture
def server(child_env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env=child_env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def stats(server: subprocess.Popen[str]) -> dict[str, Any]:
    assert server.stdin is not None
    assert server.stdout is not None
    print(file=server.stdin, flush=True)
    return dict(json.loads(server.stdout.readline()))


def memory(pid: int) -> dict[str, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: int(fields[name].split()[0]) * 1024 for name in ("VmRSS", "VmData")}


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (struct.pack("<I", MESSAGE_LIMIT), None),
        (struct.pack("<IH", MESSAGE_LIMIT, 0), None),
        (struct.pack("<IH", 2**32 - 1, 0), "length_above_limit"),
    ],
    ids=["just allowed", "just allowed, with its index", "2^32-1"],
)
def test_an_announced_length_reserves_nothing(
    server: subprocess.Popen[str],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    head: bytes,
    reason: str | None,
) -> None:
    assert server.stdout is not None
    address = server.stdout.readline().strip()
    connections = [raw_socket(address) for _ in range(CONNECTIONS)]
    wait_until(lambda: stats(server)["connections"] == CONNECTIONS)
    before = memory(server.pid)

    for sock in connections:
        sock.sendall(head)
    if reason is None:
        taken = CONNECTIONS * len(head)
        wait_until(lambda: stats(server)["bytes_received_total"] == taken)
        assert stats(server)["connections"] == CONNECTIONS
    else:
        wait_until(lambda: stats(server)["rejected_total"].get(reason) == CONNECTIONS)

    after = memory(server.pid)
    assert {
        name: after[name] - before[name] for name in after if after[name] - before[name] > ALLOWED
    } == {}
