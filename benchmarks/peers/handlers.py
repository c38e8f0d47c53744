"""The user's code, one and the same for every server that calls handlers as protobuf has them."""

from __future__ import annotations

import asyncio
import functools
import time

import bench_pb2


class Echo(bench_pb2.Echo):
    """Answers with a new message."""

    def __init__(self, nap: float = 1.0, compute: float = 1.0) -> None:
        self._nap, self._compute = nap, compute

    def echo(self, controller, request, done):
        done(bench_pb2.Message(payload=request.payload))

    def nap(self, controller, request, done):
        time.sleep(self._nap)
        done(bench_pb2.Message(payload=request.payload))

    def compute(self, controller, request, done):
        hold_the_lock(self._compute)
        done(bench_pb2.Message(payload=request.payload))


class AsyncEcho(bench_pb2.Echo):
    """The same as coroutines."""

    def __init__(self, nap: float = 1.0, compute: float = 1.0) -> None:
        self._nap, self._compute = nap, compute

    async def echo(self, controller, request, done):
        return bench_pb2.Message(payload=request.payload)

    async def nap(self, controller, request, done):
        await asyncio.sleep(self._nap)
        return bench_pb2.Message(payload=request.payload)

    async def compute(self, controller, request, done):
        hold_the_lock(self._compute)
        return bench_pb2.Message(payload=request.payload)


def hold_the_lock(seconds: float) -> None:
    """Compute for about so long, in one call into C that never lets go of the lock."""
    sum(range(int(seconds * _numbers_a_second())))


@functools.cache
def _numbers_a_second() -> float:
    # The best of some, since a machine that is busy now may not be later.
    best = 0.0
    for _ in range(5):
        begun = time.perf_counter()
        sum(range(1_000_000))
        best = max(best, 1_000_000 / (time.perf_counter() - begun))
    return best
