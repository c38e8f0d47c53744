"""The server that is abused: callmethod as users get it, with handlers of a few lines.

It says where it listens in its first line. Afterwards each line of its input is an order, answered
by one line of JSON. It ends with its input.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import json
import logging
import sys
import threading
import time

from harness.memory import collect

import abuse_pb2
import callmethod


class Target(abuse_pb2.Target):
    """Plain handlers."""

    def __init__(self, work_seconds: float) -> None:
        self.loops = loops_in(work_seconds)
        self.begun = self.late = 0
        self.computed = 0.0
        self.open: set[object] = set()

    def echo(self, controller, request, done):
        done(abuse_pb2.Note(data=request.data))

    def large(self, controller, request, done):
        done(abuse_pb2.Note(data=bytes(request.size)))

    def work(self, controller, request, done):
        self.compute(controller)
        done(abuse_pb2.Note(data=request.data))

    def never(self, controller, request, done):
        self.open.add(done)
        controller.NotifyOnCancel(functools.partial(self.open.discard, done))

    def compute(self, controller):
        self.begun += 1
        begun = time.thread_time()
        for _ in range(self.loops):
            pass
        self.computed += time.thread_time() - begun
        self.late += controller.time_remaining() == 0


class AsyncTarget(Target):
    """The work as a coroutine, which holds its event loop as long."""

    async def work(self, controller, request, done):
        self.compute(controller)
        await asyncio.sleep(0)
        return abuse_pb2.Note(data=request.data)


def loops_in(seconds: float) -> int:
    """Count the turns of an empty loop in so many seconds, when nobody disturbs it."""
    best = 0.0
    for _ in range(20):
        begun = time.perf_counter()
        for _ in range(20_000):
            pass
        best = max(best, 20_000 / (time.perf_counter() - begun))
    return int(seconds * best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--options", default="{}", help="of callmethod.ServerOptions, as JSON")
    parser.add_argument("--work", type=float, default=0.0002, help="seconds that `work` computes")
    parser.add_argument("--handlers", choices=["sync", "async"], default="sync")
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    parser.add_argument("--max-workers", type=int)
    given = parser.parse_args()
    # What is logged goes nowhere; that it is made is part of the price.
    logging.getLogger("callmethod").addHandler(logging.NullHandler())
    logging.getLogger("callmethod").propagate = False
    service = (AsyncTarget if given.handlers == "async" else Target)(given.work)
    server = callmethod.Server(
        "127.0.0.1:0",
        protocols=[
            callmethod.BaiduStd(),
            callmethod.Hulu(),
            callmethod.Sofa(),
            callmethod.Indexed(id_width=4, reply="by_id"),
        ],
        max_workers=given.max_workers,
        options=callmethod.ServerOptions(**json.loads(given.options)),
        tls=callmethod.ServerTls(*given.tls) if given.tls else None,
    )
    server.add_service(service)
    server.start()
    print(server.address, flush=True)
    for line in sys.stdin:
        print(json.dumps(obeyed(line.strip(), server, service)), flush=True)
    server.stop(0.5)


def obeyed(order: str, server: callmethod.Server, service: Target) -> dict[str, object]:
    if order == "collect":
        return collect()
    if order == "reload_tls":
        server.reload_tls()
        return {}
    return {
        "stats": server.stats(),
        "threads": threading.active_count(),
        "open": len(service.open),
        "begun": service.begun,
        "late": service.late,
        "computed": service.computed,
    }


if __name__ == "__main__":
    main()
