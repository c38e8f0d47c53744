"""A server in a process of its own, whose memory a test looks at: a line in, its counters out."""

import json
import sys

import callmethod
from testing_pb2 import Numbers


def main() -> None:
    """Serve until the end of standard input."""
    server = callmethod.Server("127.0.0.1:0", protocols=[callmethod.Indexed()])
    server.add_service(Numbers())
    with server:
        print(server.address, flush=True)
        for _ in sys.stdin:
            print(json.dumps(server.stats()), flush=True)


if __name__ == "__main__":
    main()
