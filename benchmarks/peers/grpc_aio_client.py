"""grpcio's asyncio client."""

from __future__ import annotations

import asyncio

import grpc
from clients import Run, parser

import bench_pb2


async def main():
    options = parser(__doc__).parse_args()
    run = Run(options)
    message = bench_pb2.Message
    async with grpc.aio.insecure_channel(options.connect) as channel:
        call = channel.unary_unary(
            "/bench.Echo/echo",
            request_serializer=message.SerializeToString,
            response_deserializer=message.FromString,
        )
        run.check(await call(run.request()))

        async def one_after_the_other():
            while run.on:
                await call(run.request())
                run.calls += 1

        tasks = [asyncio.ensure_future(one_after_the_other()) for _ in range(options.in_flight)]
        await asyncio.sleep(run.warmup)
        run.begin()
        await asyncio.sleep(run.seconds)
        run.end()
        run.print()
        await asyncio.wait_for(asyncio.gather(*tasks), timeout=10)


if __name__ == "__main__":
    asyncio.run(main())
