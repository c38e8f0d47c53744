"""Inflating is bounded: what a small frame swells to costs the one call, and little memory."""

import random
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from callmethod import BaiduStd, Code, Controller, Hulu, RpcError, Sofa
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub

SCRIPT = Path(__file__).with_name("inflater.py")
KINDS = {"snappy": 1, "gzip": 2, "zlib": 3}
# What the bombs swell to; snappy needs a frame of 3/64 of it, and 4 MiB is the limit of a frame.
SIZES = {"snappy": 80 << 20, "gzip": 256 << 20, "zlib": 256 << 20}
ALLOWED = 48 << 20


@pytest.fixture
def prpc(load_file):
    return load_file("calls/prpc.py")


@pytest.fixture(scope="module")
def bombs(load_file):
    prpc = load_file("calls/prpc.py")
    return {kind: prpc.zeros_field(number, SIZES[kind]) for kind, number in KINDS.items()}


@pytest.fixture
def ask(child_env):
    """``ask(line)``: what the other process says to it; `ask.address` is its server's."""
    with subprocess.Popen(
        [sys.executable, str(SCRIPT)],
        env=child_env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def say(line):
            print(line, file=process.stdin, flush=True)
            return process.stdout.readline().strip()

        try:
            say.address = process.stdout.readline().strip()
            yield say
        finally:
            process.kill()


linux = pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads the memory of a process in /proc"
)


@linux
@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_of_a_request(kind, ask, bombs, prpc, raw_socket):
    good = prpc.request("blob", Blob(data=b"x").SerializeToString())
    sock = raw_socket(ask.address)
    sock.sendall(good)
    assert prpc.fields(prpc.read(sock)[0][2]).get(1, 0) == 0
    before = int(ask("memory"))
    for _ in range(3):
        sock.sendall(prpc.request("blob", bombs[kind], compress=KINDS[kind], call_id=9))
        meta, _ = prpc.read(sock)
        assert meta[4] == 9
        assert prpc.fields(meta[2])[1] == 1003
        assert prpc.fields(meta[2])[2], "and says why"
    sock.sendall(good)
    assert prpc.fields(prpc.read(sock)[0][2]).get(1, 0) == 0, "the connection goes on"
    assert int(ask("memory")) - before < ALLOWED


@linux
@pytest.mark.parametrize("kind", KINDS)
def test_a_bomb_of_a_response(kind, ask, bombs, prpc):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = "{}:{}".format(*listening.getsockname())
        listening.settimeout(10)

        def serve(data, number):
            sock, _ = listening.accept()
            with sock:
                meta, _ = prpc.read(sock)
                sock.sendall(prpc.response(meta[4], data, compress=number))
                sock.recv(1)  # until the client is done

        def called_with(data, number):
            server = threading.Thread(target=serve, args=(data, number))
            server.start()
            said = ask(address)
            server.join(10)
            return said

        assert called_with(Blob(data=b"x").SerializeToString(), 0) == "OK"
        before = int(ask("memory"))
        for _ in range(3):
            assert called_with(bombs[kind], KINDS[kind]) == "INTERNAL"
        assert int(ask("memory")) - before < ALLOWED


def test_a_snappy_length_that_is_a_lie_reserves_nothing(ask, prpc, raw_socket):
    sock = raw_socket(ask.address)
    for size in (2**32 - 1, 2**40, 100):
        lie = prpc.varint(size) + b"\x00\x00"
        sock.sendall(prpc.request("blob", lie, compress=prpc.SNAPPY))
        meta, _ = prpc.read(sock)
        assert prpc.fields(meta[2])[1] == 1003


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "garbage"])
def test_what_does_not_inflate_is_refused(kind, damage, pair, answers, prpc, raw_socket):
    server, _ = pair(answers)
    plain = Number(value=1, note="n" * 300).SerializeToString()
    if kind == "snappy":
        packed = prpc.varint(len(plain)) + b"\xf4" + (len(plain) - 1).to_bytes(2, "little") + plain
    else:
        packed = prpc.zeros_field(KINDS[kind], 300)
    data = {
        "cut": packed[: len(packed) // 2],
        "flipped": packed[:1] + bytes([packed[1] ^ 0xFF]) + packed[2:],
        "empty": b"",
        "garbage": random.Random(1).randbytes(200),
    }[damage]
    sock = raw_socket(server.address)
    sock.sendall(prpc.request("push", data, compress=KINDS[kind]))
    meta, _ = prpc.read(sock)
    assert prpc.fields(meta[2])[1] == 1003
    assert answers.values == []
    assert server.stats()["panics_total"] == 0


def halves(size):
    """Data that each of the three packs, and to much more than 1 in 200."""
    return bytes(random.Random(size).choices(range(8), k=size))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [BaiduStd, Hulu, Sofa], ids=lambda make: make().name)
def test_the_limit_of_a_message_is_that_of_a_frame(kind, make, server_factory, channel_factory):
    limit = 200_000

    class Echo(Numbers):
        def blob(self, rpc_controller, request, done):
            self.size = len(request.data)
            done(Blob())

    service = Echo()
    server = server_factory(service, protocols=[make(max_length=limit)])
    channel = channel_factory(server.address, protocol=make())
    stub = Numbers_Stub(channel)
    head = len(Blob(data=bytes(limit)).SerializeToString()) - limit
    for over, fits in ((-1, True), (0, True), (1, False)):
        blob = Blob(data=halves(limit - head + over))
        assert blob.ByteSize() == limit + over
        if fits:
            stub.blob(Controller(compression=kind), blob)
            assert service.size == len(blob.data)
        else:
            with pytest.raises(RpcError) as caught:
                stub.blob(Controller(compression=kind), blob)
            assert caught.value.code is Code.INVALID_ARGUMENT
            assert str(limit) in caught.value.text
    assert server.stats()["connections_total"] == 1


@pytest.mark.parametrize("kind", ["gzip", "zlib"])
def test_much_from_little_is_no_bomb_while_it_is_small(kind, pair, numbers):
    """The ratio is looked at after 64 KiB."""
    sizes = []

    class Echo(Numbers):
        def blob(self, rpc_controller, request, done):
            sizes.append(len(request.data))
            done(Blob())

    _, channel = pair(Echo())
    for size in (1000, 60_000):
        Numbers_Stub(channel).blob(Controller(compression=kind), Blob(data=bytes(size)))
    assert sizes == [1000, 60_000]
    with pytest.raises(RpcError) as caught:
        Numbers_Stub(channel).blob(Controller(compression=kind), Blob(data=bytes(3_000_000)))
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert sizes == [1000, 60_000]
