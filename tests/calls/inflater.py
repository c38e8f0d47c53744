"""A server and a client in a process of its own, whose memory a test looks at.

Lines in: `memory` prints the most that was ever resident, in bytes; an address is called, and the
code of the end printed.
"""

import sys
from pathlib import Path

import callmethod
from testing_pb2 import Blob, Numbers, Numbers_Stub


class Takes(Numbers):
    """Takes blobs."""

    def blob(self, rpc_controller, request, done):
        done(request)


def most_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    [peak] = [line for line in lines if line.startswith("VmHWM:")]
    return int(peak.split()[1]) * 1024


def main():
    """Serve until the end of standard input."""
    server = callmethod.Server()
    server.add_service(Takes())
    with server:
        print(server.address, flush=True)
        for line in map(str.strip, sys.stdin):
            if line == "memory":
                print(most_memory(), flush=True)
                continue
            with callmethod.Channel(line) as channel:
                try:
                    Numbers_Stub(channel).blob(None, Blob(data=b"x"))
                except callmethod.RpcError as error:
                    print(error.code.name, flush=True)
                else:
                    print("OK", flush=True)


if __name__ == "__main__":
    main()
