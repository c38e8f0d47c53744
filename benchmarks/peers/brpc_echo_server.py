"""Our server with the service that the client of brpc's examples calls."""

from __future__ import annotations

from callmethod_server import freeze
from common import announce, parser

import brpc_echo_pb2
import callmethod


class Echo(brpc_echo_pb2.EchoService):
    """Answers with a new message."""

    def Echo(self, controller, request, done):
        done(brpc_echo_pb2.EchoResponse(message=request.message))


def main():
    options = parser(__doc__).parse_args()
    server = callmethod.Server(f"127.0.0.1:{options.port}", protocols=[callmethod.BaiduStd()])
    server.add_service(Echo())
    server.start()
    freeze()
    announce(int(server.address.rpartition(":")[2]))
    server.serve_forever()


if __name__ == "__main__":
    main()
