"""A thread for each connection, by hand: what serves handlers that wait without any scheduling.

Frames as in uvloop_server.py. A thread reads a frame, runs its handler, and writes the answer.
"""

from __future__ import annotations

import gc
import socket
import struct
import threading

from common import announce, parser
from handlers import Echo

import bench_pb2

CALL = struct.Struct("<IIH").unpack_from
ANSWER = struct.Struct("<II").pack
HEAD = 10
READ = 64 * 1024
BACKLOG = 4096


def serve(sock, methods):
    """Run the calls of one connection until it ends."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = bytearray()
    with sock:
        while piece := sock.recv(READ):
            data += piece
            at = 0
            while len(data) - at >= HEAD:
                length, call_id, index = CALL(data, at)
                end = at + 4 + length
                if len(data) < end:
                    break
                from_string, handler, serialize = methods[index]

                def done(response, call_id=call_id, serialize=serialize):
                    body = serialize(response)
                    sock.sendall(ANSWER(len(body) + 4, call_id) + body)

                handler(sock, from_string(bytes(data[at + HEAD : end])), done)
                at = end
            del data[:at]


def main():
    options = parser(__doc__).parse_args()
    echo = Echo(options.nap, options.compute)
    message = bench_pb2.Message
    methods = [
        (message.FromString, getattr(echo, method.name), message.SerializeToString)
        for method in echo.GetDescriptor().methods
    ]
    with socket.create_server(("127.0.0.1", options.port), backlog=BACKLOG) as listener:
        announce(listener.getsockname()[1])
        # What lives now lives on; the collector need not look at it again.
        gc.collect()
        gc.freeze()
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock, methods), daemon=True).start()


if __name__ == "__main__":
    main()
