"""grpcio, its asyncio server."""

from __future__ import annotations

import asyncio

import grpc
from common import announce, parser
from grpcio_server import OPTIONS, handlers

import bench_pb2


async def echo(request, context):
    return bench_pb2.Message(payload=request.payload)


async def serve(options):
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers((handlers(echo),))
    port = server.add_insecure_port(f"127.0.0.1:{options.port}")
    await server.start()
    announce(port)
    await server.wait_for_termination()


def main():
    asyncio.run(serve(parser(__doc__).parse_args()))


if __name__ == "__main__":
    main()
