"""Many connections at once. Its orders: `connect N`, `call`, `close`, `churn N`.

Each is answered by one line of JSON: seconds, and how many connections failed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import resource
import select
import socket
import sys
import time

from harness import wire

CALL = wire.BAIDU.call(1, b"")
SECONDS = 20.0
AT_ONCE = 50
"""Connections of `churn` that are open at a time."""


class Crowd:
    """Connections to one server."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.target = host, int(port)
        self.socks: list[socket.socket] = []

    def connect(self, count: int) -> dict[str, float]:
        """Begin to connect with all of them, then wait for all."""
        begun = time.perf_counter()
        poll, waiting = select.epoll(), {}
        failed = 0
        for _ in range(count):
            sock = socket.socket()
            sock.settimeout(0)
            if sock.connect_ex(self.target) in {0, errno.EINPROGRESS}:
                waiting[sock.fileno()] = sock
                poll.register(sock, select.EPOLLOUT)
            else:
                failed += 1
        while waiting and time.perf_counter() < begun + SECONDS:
            for fd, _ in poll.poll(0.1):
                sock = waiting.pop(fd)
                poll.unregister(sock)
                failed += sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0
                self.socks.append(sock)
        return told(begun, failed + len(waiting))

    def call(self) -> dict[str, float]:
        """Make a call on each, then wait for all answers."""
        begun, failed = time.perf_counter(), 0
        for sock in self.socks:
            with contextlib.suppress(OSError):
                sock.send(CALL)
        for sock in self.socks:
            sock.settimeout(SECONDS)
            try:
                failed += wire.read(sock).code != 0
            except OSError:
                failed += 1
        return told(begun, failed)

    def close(self) -> dict[str, float]:
        begun = time.perf_counter()
        for sock in self.socks:
            sock.close()
        self.socks.clear()
        return told(begun, 0)

    def churn(self, count: int) -> dict[str, float]:
        """Connect, call and close, some at a time."""
        begun, failed = time.perf_counter(), 0
        for _ in range(count // AT_ONCE):
            failed += int(self.connect(AT_ONCE)["failed"] + self.call()["failed"])
            self.close()
        return told(begun, failed)


def told(begun: float, failed: int) -> dict[str, float]:
    return {"seconds": time.perf_counter() - begun, "failed": failed}


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        order, *arguments = line.split()
        print(json.dumps(getattr(crowd, order)(*map(int, arguments))), flush=True)


if __name__ == "__main__":
    main()
