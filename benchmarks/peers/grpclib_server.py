"""grpclib on uvloop: gRPC in Python, on hyper-h2."""

from __future__ import annotations

import uvloop
from common import announce, parser
from grpclib.const import Cardinality, Handler
from grpclib.server import Server

import bench_pb2


class Echo:
    async def echo(self, stream):
        request = await stream.recv_message()
        await stream.send_message(bench_pb2.Message(payload=request.payload))

    def __mapping__(self):
        message = bench_pb2.Message
        handler = Handler(self.echo, Cardinality.UNARY_UNARY, message, message)
        return {"/bench.Echo/echo": handler}


async def serve(options):
    server = Server([Echo()])
    await server.start("127.0.0.1", options.port)
    announce(server._server.sockets[0].getsockname()[1])  # noqa: SLF001  (it has no other way)
    await server.wait_closed()


def main():
    uvloop.run(serve(parser(__doc__).parse_args()))


if __name__ == "__main__":
    main()
