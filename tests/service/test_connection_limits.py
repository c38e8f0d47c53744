"""How many connections a server takes, and how long it waits for what is to come on them."""

import contextlib
import logging
import os
import selectors
import socket
import stat
import struct
import sys
import time
from pathlib import Path

import pytest

import callmethod
from callmethod import BaiduStd, Indexed, ServerOptions
from testing_pb2 import Number, Numbers_Stub

HELLO = Number(value=1)
# A call of Numbers.push with the request HELLO, over baidu_std.
META = b"\x0a\x22\x0a\x1acallmethod.testing.Numbers\x12\x04push\x20\x07"
PRPC = b"PRPC" + struct.pack(">II", len(META) + 2, len(META)) + META + HELLO.SerializeToString()


def ends(sock):
    """Whether the other end closes the connection, having sent nothing."""
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


def listening(address):
    """The socket of this process that listens at `address`, as a copy."""
    port = int(address.rpartition(":")[2])
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not stat.S_ISSOCK(entry.stat().st_mode):
                continue
            sock = socket.socket(fileno=os.dup(int(entry.name)))
            listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens and sock.getsockname()[1] == port:
                return sock
            sock.close()
    raise AssertionError(f"nothing listens at {address}")


# ---------------------------------------------------------------- how many


def test_max_connections(server_factory, raw_socket, recorder, frame, wait_until, caplog):
    caplog.set_level(logging.WARNING, "callmethod")
    server = server_factory(recorder, options=ServerOptions(max_connections=3))
    socks = [raw_socket(server.address) for _ in range(3)]
    wait_until(lambda: server.stats()["connections"] == 3)
    assert server.stats()["rejected_total"] == {}
    began = time.monotonic()
    for _ in range(10):
        assert ends(raw_socket(server.address))
    assert time.monotonic() - began < 2
    stats = server.stats()
    assert stats["rejected_total"] == stats["disconnects_total"] == {"too_many_connections": 10}
    assert stats["connections"] == 3
    # Said once, and not ten times.
    assert len([r for r in caplog.records if "too_many_connections" in r.message]) <= 2
    for value, sock in enumerate(socks):
        sock.sendall(frame(0, Number(value=value)))
    wait_until(lambda: sorted(recorder.values) == [0, 1, 2])
    socks[0].close()
    wait_until(lambda: server.stats()["connections"] == 2)
    sock = raw_socket(server.address)
    sock.sendall(frame(0, Number(value=3)))
    wait_until(lambda: 3 in recorder.values)


def test_a_channel_that_finds_no_room_comes_in_when_there_is_some(
    server_factory, channel_factory, recorder, raw_socket, wait_until
):
    server = server_factory(recorder, protocols=None, options=ServerOptions(max_connections=1))
    sock = raw_socket(server.address)
    sock.sendall(b"PRPC")
    wait_until(lambda: server.stats()["connections"] == 1)
    answers = []
    Numbers_Stub(channel_factory(server.address, protocol=BaiduStd())).push(
        callmethod.Controller(timeout=10), HELLO, answers.append
    )
    wait_until(lambda: server.stats()["rejected_total"].get("too_many_connections", 0) >= 2)
    assert answers == []
    sock.close()
    wait_until(lambda: answers == [HELLO])


def test_channels_of_the_same_process_have_places_too(recorder):
    options = ServerOptions(max_connections=1)
    server = callmethod.Server(bind=None, options=options)
    server.add_service(recorder)
    with server:
        with callmethod.Channel(server) as first, callmethod.Channel(server) as second:
            assert Numbers_Stub(first).push(None, HELLO) == HELLO
            with pytest.raises(callmethod.RpcError) as caught:
                Numbers_Stub(second).push(callmethod.Controller(timeout=0.3), HELLO)
        assert caught.value.code in {
            callmethod.Code.DEADLINE_EXCEEDED,
            callmethod.Code.UNAVAILABLE,
        }


@pytest.mark.skipif(sys.platform != "linux", reason="asks the system how long the queue may be")
def test_four_thousand_may_wait_to_be_accepted(server_factory, recorder):
    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    server = server_factory(recorder)
    with listening(server.address) as sock:
        # Of a socket that listens, tcpi_sacked is the length that the queue may have.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    assert int.from_bytes(info[28:32], sys.byteorder) == min(4096, most)


def test_two_thousand_connect_at_once(server_factory, recorder, many_files, wait_until):
    """None waits for its system to try again, which it does after a second."""
    many_files(2 * 2000 + 500)
    server = server_factory(recorder)
    host, _, port = server.address.rpartition(":")
    began = time.monotonic()
    with contextlib.ExitStack() as closing, selectors.DefaultSelector() as selector:
        for _ in range(2000):
            sock = closing.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex((host, int(port)))
            selector.register(sock, selectors.EVENT_WRITE)
        while selector.get_map():
            for key, _ in selector.select(timeout=5):
                assert key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                selector.unregister(key.fileobj)
        wait_until(lambda: server.stats()["connections"] == 2000)
        assert time.monotonic() - began < 5
    assert server.stats()["rejected_total"] == {}
    wait_until(lambda: server.stats()["connections"] == 0, timeout=10)


# ---------------------------------------------------------------- how long

QUICK = 0.3


@pytest.mark.parametrize("protocols", [None, [Indexed()]], ids=["all", "one-way"])
def test_idle_timeout(server_factory, raw_socket, recorder, frame, wait_until, protocols):
    reasons = []

    class Service(type(recorder)):
        def on_disconnected(self, channel, reason):
            reasons.append(reason)

    options = ServerOptions(idle_timeout=QUICK)
    server = server_factory(Service(), protocols=protocols, options=options)
    sock = raw_socket(server.address)
    for _ in range(4):
        time.sleep(QUICK / 2)
        sock.sendall(PRPC if protocols is None else frame(0, HELLO))
    began = time.monotonic()
    while sock.recv(65536):
        pass
    assert QUICK - 0.05 <= time.monotonic() - began < QUICK * 9 / 8 + 1
    sock.close()
    wait_until(lambda: server.stats()["disconnects_total"] == {"idle_timeout": 1})
    assert server.stats()["rejected_total"] == {}
    [reason] = wait_until(lambda: reasons)
    assert reason.kind == "idle_timeout"
    assert str(QUICK) in reason.text


def test_without_idle_timeout_and_within_it_connections_stay(
    server_factory, channel_factory, recorder
):
    for options in (ServerOptions(idle_timeout=None), ServerOptions(idle_timeout=5)):
        server = server_factory(recorder, protocols=None, options=options)
        channel = channel_factory(server.address, protocol=BaiduStd())
        stub = Numbers_Stub(channel)
        for _ in range(2):
            assert stub.push(None, HELLO) == HELLO
            time.sleep(QUICK)
        assert channel.stats()["connects_total"] == 1


def test_no_call_of_our_channel_is_lost_to_an_idle_close(server_factory, channel_factory, recorder):
    server = server_factory(recorder, protocols=None, options=ServerOptions(idle_timeout=0.05))
    channel = channel_factory(server.address, protocol=BaiduStd())
    stub = Numbers_Stub(channel)
    for turn in range(40):
        assert stub.push(None, HELLO) == HELLO
        time.sleep(0.045 + turn * 0.0005)
    assert channel.stats()["connects_total"] > 1


def test_a_long_call_is_not_idle(server_factory, channel_factory, numbers):
    def push(rpc_controller, request, done):
        time.sleep(4 * QUICK)
        done(request)

    server = server_factory(
        numbers(push), protocols=None, options=ServerOptions(idle_timeout=QUICK)
    )
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    assert stub.push(None, HELLO) == HELLO
    assert server.stats()["disconnects_total"] == {}


def test_frame_timeout_at_a_server(server_factory, raw_socket, recorder, frame, wait_until):
    server = server_factory(recorder, options=ServerOptions(frame_timeout=QUICK))
    sock, other = raw_socket(server.address), raw_socket(server.address)
    whole = frame(0, Number(value=5))
    for byte in whole:
        other.sendall(bytes([byte]))
        time.sleep(QUICK / 3)
    wait_until(lambda: recorder.values == [5])
    sock.sendall(whole[:-1])
    began = time.monotonic()
    assert ends(sock)
    assert QUICK - 0.05 <= time.monotonic() - began < QUICK + 1
    wait_until(lambda: server.stats()["rejected_total"] == {"frame_timeout": 1})
    assert server.stats()["connections"] == 1


def test_frame_timeout_at_a_channel(channel_factory, wait_until):
    """A server that stands still within an answer costs the calls under way, and no others."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        options = callmethod.ChannelOptions(frame_timeout=QUICK, timeout=10)
        channel = channel_factory(address, protocol=BaiduStd(), options=options)
        endings = []
        controller = callmethod.Controller()
        began = time.monotonic()
        Numbers_Stub(channel).push(controller, HELLO, endings.append)
        server, _ = listener.accept()
        with server:
            assert server.recv(4096)
            server.sendall(b"PRPC\0\0")
            wait_until(lambda: endings == [None])
        assert time.monotonic() - began < QUICK + 2
        assert controller.code is callmethod.Code.UNAVAILABLE
        assert "the rest of a frame did not come within" in controller.ErrorText()
    assert channel.stats()["disconnects_total"] == {"frame_timeout": 1}


def test_write_timeout_at_a_server(server_factory, raw_socket, numbers, wait_until):
    def push(rpc_controller, request, done):
        done(Number(value=1, note="x" * 1_000_000))

    server = server_factory(
        numbers(push), protocols=None, options=ServerOptions(write_timeout=QUICK)
    )
    sock = raw_socket(server.address)
    sock.sendall(PRPC * 20)
    wait_until(lambda: server.stats()["disconnects_total"] == {"write_timeout": 1}, 10)


def test_write_timeout_at_a_channel(channel_factory, wait_until):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        options = callmethod.ChannelOptions(write_timeout=QUICK, timeout=10, wait_for_ready=False)
        channel = channel_factory(address, protocol=BaiduStd(), options=options)
        stub = Numbers_Stub(channel)
        endings = []
        for _ in range(8):
            stub.push(None, Number(value=1, note="x" * 1_000_000), endings.append)
        server, _ = listener.accept()
        with server:
            wait_until(lambda: channel.stats()["disconnects_total"] == {"write_timeout": 1}, 10)
        listener.close()
        wait_until(lambda: endings == [None] * 8, 12)


def test_max_unfinished_bytes(server_factory, raw_socket, recorder, frame, wait_until):
    server = server_factory(recorder, options=ServerOptions(max_unfinished_bytes=100_000))
    large = frame(0, Number(value=1, note="x" * 500_000))
    socks = [raw_socket(server.address) for _ in range(3)]
    received = 0
    for sock, size in zip(socks, (40_000, 40_000, 20_000), strict=True):
        sock.sendall(large[:size])
        received += size
        wait_until(lambda received=received: server.stats()["bytes_received_total"] == received)
    time.sleep(0.1)
    assert server.stats()["rejected_total"] == {}
    socks[2].sendall(large[20_000:20_001])
    assert ends(socks[0])
    stats = server.stats()
    assert stats["rejected_total"] == stats["disconnects_total"] == {"unfinished_bytes": 1}
    # One alone may be as long as its protocol allows.
    socks[1].close()
    wait_until(lambda: server.stats()["connections"] == 1)
    socks[2].sendall(large[20_001:])
    wait_until(lambda: recorder.values == [1])


COUNTS = ("max_connections", "max_handshakes", "max_unfinished_bytes")
TIMES = ("frame_timeout", "write_timeout")


@pytest.mark.parametrize(
    ("kind", "options"),
    [(ServerOptions, {name: value}) for name in COUNTS for value in (0, -1, 1.5, None, True)]
    + [
        (kind, {name: value})
        for kind in (ServerOptions, callmethod.ChannelOptions)
        for name in TIMES
        for value in (0, -1, float("nan"), float("inf"), None, "1")
    ]
    + [(ServerOptions, {"idle_timeout": value}) for value in (0, -1, float("nan"), "1")],
    ids=repr,
)
def test_numbers_that_are_none(kind, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        kind(**options)


def test_the_longest_times_are_times(server_factory, channel_factory, recorder):
    ever = sys.float_info.max
    options = ServerOptions(idle_timeout=ever, frame_timeout=ever, write_timeout=ever)
    server = server_factory(recorder, protocols=None, options=options)
    options = callmethod.ChannelOptions(frame_timeout=ever, write_timeout=ever)
    channel = channel_factory(server.address, protocol=BaiduStd(), options=options)
    assert Numbers_Stub(channel).push(None, HELLO) == HELLO
