"""The opponent of our blocking calls: a bare socket that parses and serializes, and no more."""

from __future__ import annotations

import gc
import itertools
import socket
import struct
import time

from clients import Run, host_and_port, parser, print_latencies

import bench_pb2

CALL = struct.Struct("<IIH").pack
ANSWER = struct.Struct("<II").unpack_from
HEAD = 8
READ = 64 * 1024


def call(sock, call_id, index, request):
    """Make one call."""
    body = request.SerializeToString()
    sock.sendall(CALL(len(body) + 6, call_id, index) + body)
    data = sock.recv(READ)
    while len(data) < HEAD or len(data) < 4 + ANSWER(data)[0]:
        data += sock.recv(READ)
    length, came = ANSWER(data)
    if came != call_id or len(data) != length + 4:
        raise ValueError(f"an answer to {came}, not to {call_id}")
    return bench_pb2.Message.FromString(data[HEAD:])


def main():
    options = parser(__doc__).parse_args()
    run = Run(options)
    sock = socket.create_connection(host_and_port(options.connect), timeout=10)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ids = itertools.count(1)
    run.check(call(sock, next(ids), 0, run.request()))
    gc.collect()
    gc.freeze()
    nanos = []
    begun = now = time.perf_counter_ns()
    warm = begun + int(run.warmup * 1e9)
    end = warm + int(run.seconds * 1e9)
    while now < end:
        call(sock, next(ids), 0, run.request())
        then, now = now, time.perf_counter_ns()
        if then >= warm:
            nanos.append(now - then)
    print_latencies(nanos, sum(nanos) / 1e9)


if __name__ == "__main__":
    main()
