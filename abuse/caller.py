"""Load over baidu_std: so many calls at once, or so many a second whatever becomes of them.

The second kind is what overload is made of. Who waits for an answer before the next call slows down
with the server and never asks for more than it can do.
"""

from __future__ import annotations

import argparse
import json
import select
import time
from typing import TYPE_CHECKING

from harness import wire
from harness.numbers import quantile

if TYPE_CHECKING:
    from collections.abc import Iterator

FIRST_ID = 2**21
"""From here on ids take four bytes, up to 2**28: all frames have one size."""
ELIMIT, ERPCTIMEDOUT = 2004, 1008
TURN_SECONDS = 0.001
BUFFER = 1 << 18
PATIENCE = 3.0
"""Seconds for what is still under way at the end."""


class Line:
    """One connection."""

    def __init__(self, address: str) -> None:
        self.socket = wire.connect(address)
        self.socket.settimeout(0)
        self.out = bytearray()
        self.rest = b""

    def flush(self) -> None:
        while self.out:
            try:
                del self.out[: self.socket.send(self.out)]
            except BlockingIOError:
                return

    def answers(self) -> Iterator[wire.Answer]:
        try:
            chunk = self.socket.recv(BUFFER)
        except BlockingIOError:
            return
        if not chunk:
            raise ConnectionError("the server closed a connection")
        data, at = self.rest + chunk, 0
        while True:
            answer, at = wire.BAIDU.cut(data, at)
            if answer is None:
                break
            yield answer
        self.rest = data[at:]


class Load:
    """Calls that are made, and how each of them ended."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.lines = [Line(given.address) for _ in range(given.connections)]
        self.poll = select.epoll()
        self.by_fd = {line.socket.fileno(): line for line in self.lines}
        for fd in self.by_fd:
            self.poll.register(fd, select.EPOLLIN)
        body = wire.field(1, b"x" * 16)
        self.deadline_ms = 0 if given.deadline is None else round(given.deadline * 1e3)
        frame = wire.BAIDU.call(FIRST_ID, body, given.method, timeout_ms=self.deadline_ms)
        cut = len(frame) - len(body) - 4
        self.before, self.after = frame[:cut], frame[cut + 4 :]
        self.sent_at: list[float] = []
        self.ended = 0
        self.seconds: dict[int, list[float]] = {}
        self.longest_turn = 0.0

    def call(self) -> Line:
        number = len(self.sent_at)
        cid = FIRST_ID + number
        line = self.lines[number % len(self.lines)]
        line.out += self.before
        line.out += bytes((cid & 127 | 128, cid >> 7 & 127 | 128, cid >> 14 & 127 | 128, cid >> 21))
        line.out += self.after
        self.sent_at.append(time.perf_counter())
        return line

    def run(self) -> dict[str, object]:
        given = self.given
        begun = time.perf_counter()
        end = begun + given.seconds
        if given.rate is None:
            self.flush(self.call() for _ in range(given.in_flight))
        while (now := time.perf_counter()) < end:
            if given.rate is not None:
                due = min(int((now - begun) * given.rate) - len(self.sent_at), 1000)
                self.flush(self.call() for _ in range(due))
            ended = self.listen(TURN_SECONDS)
            if given.rate is None:
                self.flush(self.call() for _ in range(ended))
            self.longest_turn = max(self.longest_turn, time.perf_counter() - now)
        sent_for = time.perf_counter() - begun
        end = time.perf_counter() + PATIENCE
        while self.ended < len(self.sent_at) and time.perf_counter() < end:
            self.listen(0.1)
        return self.told(sent_for)

    def flush(self, lines: Iterator[Line]) -> None:
        for line in set(lines):
            line.flush()

    def listen(self, seconds: float) -> int:
        before = self.ended
        for fd, _ in self.poll.poll(seconds):
            line = self.by_fd[fd]
            for answer in line.answers():
                took = time.perf_counter() - self.sent_at[answer.id - FIRST_ID]
                self.seconds.setdefault(answer.code, []).append(took)
                self.ended += 1
            line.flush()
        return self.ended - before

    def told(self, seconds: float) -> dict[str, object]:
        well = self.seconds.get(0, [])
        in_time = [took for took in well if not self.deadline_ms or took * 1e3 <= self.deadline_ms]
        refused = self.seconds.get(ELIMIT, [])
        return {
            "seconds": seconds,
            "sent": len(self.sent_at),
            "answered": len(well),
            "in_time": len(in_time),
            "in_time_per_s": len(in_time) / seconds,
            "answered_p50_ms": quantile(well, 0.5) * 1e3,
            "answered_p99_ms": quantile(well, 0.99) * 1e3,
            "refused": len(refused),
            "refused_p50_ms": quantile(refused, 0.5) * 1e3,
            "refused_p99_ms": quantile(refused, 0.99) * 1e3,
            "refused_max_ms": max(refused, default=0.0) * 1e3,
            "expired": len(self.seconds.get(ERPCTIMEDOUT, [])),
            "other": {
                code: len(all_of)
                for code, all_of in self.seconds.items()
                if code not in {0, ELIMIT, ERPCTIMEDOUT}
            },
            "unanswered": len(self.sent_at) - self.ended,
            "cpu_s": time.process_time(),
            "longest_turn_ms": self.longest_turn * 1e3,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address")
    parser.add_argument("--method", default=wire.WORK)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, help="calls a second")
    parser.add_argument("--in-flight", type=int, default=64, help="calls at once, without --rate")
    parser.add_argument("--deadline", type=float, help="seconds that each call has")
    print(json.dumps(Load(parser.parse_args()).run()), flush=True)


if __name__ == "__main__":
    main()
