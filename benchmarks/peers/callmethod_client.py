"""Our channel, by each of its three faces."""

from __future__ import annotations

import asyncio
import gc
import time

import uvloop
from clients import Run, parser, print_latencies

import bench_pb2
import callmethod

PROTOCOLS = {
    "indexed": callmethod.Indexed(id_width=4, reply="by_id"),
    "baidu_std": callmethod.BaiduStd(),
}


def callback(options, protocol):
    """Make the next call from the callback of the last one."""
    run = Run(options)
    with callmethod.Channel(options.connect, protocol=protocol) as channel:
        stub = bench_pb2.Echo_Stub(channel)
        run.check(stub.echo(None, run.request()))
        gc.collect()
        gc.freeze()

        def done(response):
            if response is None:
                raise ValueError("a call failed")
            run.calls += 1
            if run.on:
                stub.echo(None, run.request(), done)

        for _ in range(options.in_flight):
            stub.echo(None, run.request(), done)
        time.sleep(run.warmup)
        run.begin()
        time.sleep(run.seconds)
        run.end()
    run.print()


async def on_loop(options, protocol):
    """Make calls one after the other in so many tasks."""
    run = Run(options)
    async with callmethod.aio.Channel(options.connect, protocol=protocol) as channel:
        stub = bench_pb2.Echo_Stub(channel)
        run.check(await stub.echo(None, run.request()))
        gc.collect()
        gc.freeze()

        async def one_after_the_other():
            while run.on:
                await stub.echo(None, run.request())
                run.calls += 1

        tasks = [asyncio.ensure_future(one_after_the_other()) for _ in range(options.in_flight)]
        await asyncio.sleep(run.warmup)
        run.begin()
        await asyncio.sleep(run.seconds)
        run.end()
        run.print()
        await asyncio.wait_for(asyncio.gather(*tasks), timeout=10)


def aio(options, protocol):
    uvloop.run(on_loop(options, protocol))


def blocking(options, protocol):
    """Make one call at a time."""
    run = Run(options)
    with callmethod.Channel(options.connect, protocol=protocol) as channel:
        stub = bench_pb2.Echo_Stub(channel)
        run.check(stub.echo(None, run.request()))
        gc.collect()
        gc.freeze()
        nanos = []
        begun = now = time.perf_counter_ns()
        warm = begun + int(run.warmup * 1e9)
        end = warm + int(run.seconds * 1e9)
        while now < end:
            stub.echo(None, run.request())
            then, now = now, time.perf_counter_ns()
            if then >= warm:
                nanos.append(now - then)
    print_latencies(nanos, sum(nanos) / 1e9)


FACES = {"callback": callback, "aio": aio, "blocking": blocking}


def main():
    made = parser(__doc__)
    made.add_argument("--face", choices=sorted(FACES), default="callback")
    made.add_argument("--protocol", choices=sorted(PROTOCOLS), default="indexed")
    options = made.parse_args()
    FACES[options.face](options, PROTOCOLS[options.protocol])


if __name__ == "__main__":
    main()
