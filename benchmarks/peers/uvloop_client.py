"""The opponent of our channels: a client by hand, on uvloop, with callbacks or with futures.

One connection. Calls made in one turn of the loop leave in one write, and all answers of a read
are parsed in one loop.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import struct

import uvloop
from clients import Run, host_and_port, parser

import bench_pb2

CALL = struct.Struct("<IIH").pack
ANSWER = struct.Struct("<II").unpack_from
HEAD = 8
IDS = 2**32


class Client(asyncio.Protocol):
    """Calls, and what waits for their answers."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.waiting = {}
        self.ids = itertools.cycle(range(IDS))
        self.calls = []
        self.rest = b""
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport

    def call(self, index, request, ended):
        body = request.SerializeToString()
        call_id = next(self.ids)
        self.waiting[call_id] = ended
        calls = self.calls
        if not calls:
            self.loop.call_soon(self.flush)
        calls.append(CALL(len(body) + 6, call_id, index))
        calls.append(body)

    def call_awaited(self, index, request):
        future = self.loop.create_future()
        self.call(index, request, future.set_result)
        return future

    def flush(self):
        calls, self.calls = self.calls, []
        self.transport.write(b"".join(calls))

    def data_received(self, data):
        if self.rest:
            data = self.rest + data
        from_string, waiting = bench_pb2.Message.FromString, self.waiting
        at, size = 0, len(data)
        while size - at >= HEAD:
            length, call_id = ANSWER(data, at)
            end = at + 4 + length
            if end > size:
                break
            waiting.pop(call_id)(from_string(data[at + HEAD : end]))
            at = end
        self.rest = data[at:]


def call_back(client, run, in_flight):
    """Make the next call from the callback of the last one."""

    def ended(response):
        run.calls += 1
        if run.on:
            client.call(0, run.request(), ended)

    for _ in range(in_flight):
        client.call(0, run.request(), ended)


def await_futures(client, run, in_flight):
    """Make calls one after the other in so many tasks."""

    async def one_after_the_other():
        while run.on:
            await client.call_awaited(0, run.request())
            run.calls += 1

    return [asyncio.ensure_future(one_after_the_other()) for _ in range(in_flight)]


FACES = {"callback": call_back, "future": await_futures}


async def main():
    made = parser(__doc__)
    made.add_argument("--face", choices=sorted(FACES), default="callback")
    options = made.parse_args()
    run = Run(options)
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_connection(Client, *host_and_port(options.connect))
    run.check(await client.call_awaited(0, run.request()))
    gc.collect()
    gc.freeze()
    _kept = FACES[options.face](client, run, options.in_flight)
    await asyncio.sleep(run.warmup)
    run.begin()
    await asyncio.sleep(run.seconds)
    run.end()
    run.print()
    transport.close()


if __name__ == "__main__":
    uvloop.run(main())
