"""How many connections a server takes, and how long it waits for what is to come on them."""

import contextlib
import logging
import os
import selectors
import socket
import stat
import sys
import time
from pathlib import Path

import pytest

import callmethod
from callmethod import BaiduStd, ServerOptions
from testing_pb2 import Number, Numbers_Stub

HELLO = Number(value=1)


def ends(sock):
    """Whether the other end closes the connection, having sent nothing."""
    with contextlib.suppress(ConnectionResetError):
        return sock.recv(1) == b""
    return True


def listening(address):
    """The socket of this process that listens at `address`, as a copy."""
    port = int(address.rpartition(":")[2])
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                sock = socket.socket(fileno=os.dup(int(name)))
                if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                    if sock.getsockname()[1] == port:
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


@pytest.mark.parametrize(
    "options",
    [
        {name: value}
        for name in ("max_connections", "max_handshakes")
        for value in (0, -1, 1.5, None, True)
    ],
    ids=repr,
)
def test_numbers_that_are_none(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ServerOptions(**options)
