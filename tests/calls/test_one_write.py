"""What is said to one connection at a time leaves in one write."""

import socket
import struct
import sys
import threading

import pytest

from callmethod import BaiduStd, ServerOptions
from testing_pb2 import Numbers

CALLS = 60
DATA_SEGS_IN = struct.Struct("=152xI")  # tcpi_data_segs_in of linux/tcp.h


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel is asked how many segments came")
def test_the_refusals_of_one_read(server_factory, raw_socket, load_file):
    # Nobody but the I/O thread is there to say them: the only worker is at the call that runs.
    wire = load_file("calls/wire.py")
    gate, begun = threading.Event(), threading.Event()

    class Held(Numbers):
        def push(self, rpc_controller, request, done):
            begun.set()
            gate.wait(20)
            done(request)

    options = ServerOptions(max_concurrency=1)
    server = server_factory(Held(), protocols=[BaiduStd()], options=options, max_workers=1)
    sock = raw_socket(server.address)

    def call(cid):
        meta = wire.PRPC.named(wire.NUMBERS, wire.PUSH) + wire.field(4, cid)
        return wire.PRPC.frame(meta, wire.number(cid))

    sock.sendall(call(1))
    assert begun.wait(10)
    sock.sendall(b"".join(call(cid) for cid in range(2, CALLS + 2)))
    answers = [wire.read_answer(sock) for _ in range(CALLS)]
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, DATA_SEGS_IN.size)
    gate.set()
    assert {answer.code for answer in answers} == {2004}  # ELIMIT
    (segments,) = DATA_SEGS_IN.unpack(info)
    assert 0 < segments < CALLS // 10
    assert wire.read_answer(sock).id == 1
