"""An honest client: a call every two milliseconds, and how long each one took.

Each line of its input is a number of seconds; it is answered by one line of JSON about the calls of
so many seconds. It ends with its input.

A call counts from the moment it was to be made. One that is late because the call before it took so
long counts from then as well: whoever calls at a fixed rate would have waited. One that is late
because this program was not woken in time is this machine's fault, and counts from when it was.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
from typing import TYPE_CHECKING

from harness import wire
from harness.numbers import quantile

if TYPE_CHECKING:
    import socket

PERIOD = 0.002
PAUSE = 0.02
"""Woken later than this, the machine stood still; such a window is not worth much."""
PATIENCE = 5.0


class Client:
    """One connection, one call at a time."""

    def __init__(self, address: str, ca: str | None = None) -> None:
        self.address = address
        self.tls = None if ca is None else ssl.create_default_context(cafile=ca)
        self.body = wire.field(1, b"x" * 16)
        self.socket = self.connect()
        self.made = 0

    def connect(self) -> socket.socket:
        sock = wire.connect(self.address, PATIENCE)
        if self.tls is None:
            return sock
        return self.tls.wrap_socket(sock, server_hostname="localhost")

    def call(self) -> bool:
        """Make a call; return whether it was answered well."""
        self.made += 1
        try:
            self.socket.sendall(wire.BAIDU.call(self.made, self.body))
            answer = wire.read(self.socket)
        except OSError:
            self.socket.close()
            self.socket = self.connect()
            return False
        return answer == wire.Answer(self.made, 0, self.body)

    def window(self, seconds: float) -> dict[str, float]:
        took: list[float] = []
        errors, lag = 0, 0.0
        begun = time.perf_counter()
        due, end = begun, begun + seconds
        while due < end and time.perf_counter() < begun + 2 * seconds:
            since = due
            if (now := time.perf_counter()) < due:
                time.sleep(due - now)
                since = time.perf_counter()
                lag = max(lag, since - due)
            errors += not self.call()
            took.append(time.perf_counter() - since)
            due += PERIOD
            if lag > PAUSE:
                # What was missed meanwhile was never to be made.
                due = max(due, time.perf_counter())
        return {
            "calls": len(took),
            "errors": errors,
            "p50_ms": quantile(took, 0.5) * 1e3,
            "p99_ms": quantile(took, 0.99) * 1e3,
            "max_ms": max(took) * 1e3,
            "paused": lag > PAUSE,
        }


def main() -> None:
    client = Client(sys.argv[1], *sys.argv[2:])
    client.call()
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(client.window(float(line))), flush=True)


if __name__ == "__main__":
    main()
