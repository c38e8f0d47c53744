"""An echo service in two processes on one port.

    python examples/workers/server.py [host:port]

The service's class is the factory: each worker loads this file and makes an object of its own. The
guard at the end is needed for that.
"""

import os
import sys

import callmethod
from echo_pb2 import EchoResponse, EchoService


class Echo(EchoService):
    """Answers with the number of its process."""

    def Echo(self, rpc_controller, request, done):
        """Answer, and say who does."""
        done(EchoResponse(message=f"{request.message} from {os.getpid()}"))


def say(address):
    """All workers accept."""
    print(address, flush=True)


if __name__ == "__main__":
    where = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000"
    callmethod.serve(Echo, where, workers=2, on_ready=say)
