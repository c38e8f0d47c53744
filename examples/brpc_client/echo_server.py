"""An echo server for brpc's clients: what brpc's own example echo_c++ serves, in Python.

Usage: python echo_server.py [host:port]

It speaks baidu_std, hulu_pbrpc, sofa_pbrpc and the indexed protocol on its one port.
"""

import sys
import time

import callmethod
from echo_pb2 import EchoResponse, EchoService


class Echo(EchoService):
    """Sends back what it gets. Shout is left out: callers of it are told so."""

    def Echo(self, rpc_controller, request, done):
        """Answer with the message, the attachment and the metadata of the request."""
        if not request.message:
            # The number is what goes over the wire. It is none of brpc's own, so that callers see
            # it with the code UNKNOWN.
            raise callmethod.RpcError(callmethod.Code.UNKNOWN, "nothing to echo", native_code=4711)
        time.sleep(request.pause_ms / 1000)
        rpc_controller.response_attachment = rpc_controller.request_attachment
        rpc_controller.response_metadata = rpc_controller.metadata
        rpc_controller.response_compression = "snappy"
        done(EchoResponse(message=request.message))


def main():
    """Serve until told to stop."""
    server = callmethod.Server(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000")
    server.add_service(Echo())
    server.start()
    print(server.address, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
