"""thriftpy2: framed transport, binary protocol in C, a thread for each connection."""

from __future__ import annotations

from pathlib import Path

import thriftpy2
from common import announce, parser
from thriftpy2.protocol import TCyBinaryProtocolFactory
from thriftpy2.server import TThreadedServer
from thriftpy2.thrift import TProcessor
from thriftpy2.transport import TCyFramedTransportFactory, TServerSocket

bench_thrift = thriftpy2.load(str(Path(__file__).with_name("bench.thrift")), "bench_thrift")

BACKLOG = 4096


class Echo:
    def echo(self, request):
        return bench_thrift.Message(payload=request.payload)


class Socket(TServerSocket):
    def listen(self):
        super().listen()
        announce(self.sock.getsockname()[1])


def main():
    options = parser(__doc__).parse_args()
    socket = Socket("127.0.0.1", options.port, backlog=BACKLOG, client_timeout=None)
    server = TThreadedServer(
        TProcessor(bench_thrift.Echo, Echo()),
        socket,
        iprot_factory=TCyBinaryProtocolFactory(),
        itrans_factory=TCyFramedTransportFactory(),
    )
    server.daemon = True
    server.serve()


if __name__ == "__main__":
    main()
