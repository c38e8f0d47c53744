"""Python's own TLS at the other end: its clients and servers speak the wires by hand."""

from __future__ import annotations

import importlib
import socket
import ssl
import struct
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from callmethod import BaiduStd, ChannelOptions, Code, Controller, Indexed, RpcError
from testing_pb2 import Number

sys.path.insert(0, str(Path(__file__).parents[1] / "calls"))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC = wire.PRPC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ONE_WAY = Indexed(reply="in_order")


def call(value: int) -> bytes:
    return bytes(PRPC.call(value, wire.number(value)))


def test_a_client_of_another_hand(
    serve: Callable[..., Any],
    foreign: Callable[..., ssl.SSLSocket],
    answers: Any,
    wait_until: Callable[..., Any],
) -> None:
    server = serve()
    client = foreign(server.address)
    assert client.version() == "TLSv1.3"
    client.sendall(b"".join(call(value) for value in range(100)))
    for value in range(100):
        assert wire.read_answer(client).id == value
    assert answers.controllers[0].tls.certificate.common_name == "ada"
    assert answers.controllers[0].tls.server_name == "localhost"
    # It ends by TLS, and is told the end in the same way.
    plain = client.unwrap()
    assert plain.recv(1) == b""
    wait_until(lambda: server.stats()["disconnects_total"] == {"peer_closed": 1})


def test_a_client_of_tls_1_2(
    serve: Callable[..., Any], foreign: Callable[..., ssl.SSLSocket], secrets: Any, answers: Any
) -> None:
    context = secrets.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client = foreign(serve().address, context)
    assert client.version() == "TLSv1.2"
    client.sendall(call(7))
    assert wire.read_answer(client).id == 7
    assert answers.controllers[0].tls.version == "TLSv1.2"


def test_a_client_that_sends_byte_by_byte(
    serve: Callable[..., Any], secrets: Any, raw_socket: Callable[[str], socket.socket]
) -> None:
    sock = raw_socket(serve().address)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = secrets.context().wrap_bio(incoming, outgoing, server_hostname="localhost")

    def flush() -> None:
        for byte in outgoing.read():
            sock.sendall(bytes([byte]))

    def until_done(step: Callable[[], Any]) -> Any:
        while True:
            try:
                done = step()
            except ssl.SSLWantReadError:
                flush()
                incoming.write(sock.recv(65536))
            else:
                flush()
                return done

    until_done(client.do_handshake)
    until_done(lambda: client.write(call(9)))
    assert until_done(lambda: client.read(4)) == b"PRPC"


@pytest.mark.parametrize("whole", [True, False])
def test_a_client_that_is_cut_off(
    serve: Callable[..., Any],
    foreign: Callable[..., ssl.SSLSocket],
    answers: Any,
    wait_until: Callable[..., Any],
    whole: bool,
) -> None:
    server = serve()
    client = foreign(server.address)
    client.sendall(call(1) if whole else call(1)[:-1])
    # What close() of Python's does: no close_notify.
    if whole:
        assert wire.read_answer(client).id == 1
    client.close()
    kind = "peer_closed" if whole else "truncated"
    wait_until(lambda: server.stats()["disconnects_total"] == {kind: 1})
    assert server.stats()["rejected_total"] == ({} if whole else {"truncated": 1})


class Foreign:
    """A server of Python's ssl, which runs `script(sock, n)` on each connection."""

    def __init__(self, context: ssl.SSLContext, script: Callable[[ssl.SSLSocket, int], None]):
        def secured(sock: socket.socket, n: int) -> None:
            with context.wrap_socket(sock, server_side=True) as inside:
                inside.settimeout(10.0)
                script(inside, n)

        self.plain = wire.FakeServer(secured)
        self.address = self.plain.address


@pytest.fixture
def foreign_server(secrets: Any) -> Iterator[Callable[..., Foreign]]:
    servers: list[Foreign] = []

    def make(script: Any, context: ssl.SSLContext | None = None) -> Foreign:
        servers.append(Foreign(context or secrets.context(serves=True), script))
        return servers[-1]

    yield make
    for server in servers:
        server.plain.close()


def answer_all(sock: ssl.SSLSocket, _: int) -> None:
    while request := wire.read_call(sock):
        sock.sendall(PRPC.answer(request.id, body=request.body))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_server_of_another_hand(
    foreign_server: Callable[..., Foreign],
    connect: Callable[..., Any],
    secrets: Any,
    version: ssl.TLSVersion,
) -> None:
    names: list[Any] = []
    context = secrets.context(serves=True)
    context.minimum_version = context.maximum_version = version
    context.sni_callback = lambda _sock, name, _context: names.append(name)

    def script(sock: ssl.SSLSocket, n: int) -> None:
        names.append(dict(entry[0] for entry in sock.getpeercert()["subject"])["commonName"])
        answer_all(sock, n)

    server = foreign_server(script, context)
    stub = connect(server.address, tls=secrets.client_tls(server_name="localhost"))
    for value in range(100):
        assert stub.push(None, Number(value=value)).value == value
    note = "x" * 1_000_000
    assert stub.push(None, Number(value=1, note=note)).note == note
    assert names == ["localhost", "ada"]


def test_a_server_that_cuts_an_answer_off(
    foreign_server: Callable[..., Foreign],
    connect: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    def script(sock: ssl.SSLSocket, _: int) -> None:
        request = wire.read_call(sock)
        sock.sendall(PRPC.answer(request.id, body=request.body)[:-1])
        sock.shutdown(socket.SHUT_RDWR)

    stub = connect(foreign_server(script).address)
    with pytest.raises(RpcError, match=r"cut off after \d+ bytes of a frame") as caught:
        stub.push(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    # It is counted when the connection has ended, which is after its calls.
    wait_until(lambda: stub.channel.stats()["rejected_total"] == {"truncated": 1})


def test_a_server_that_ends_before_a_call_loses_none(
    foreign_server: Callable[..., Foreign],
    connect: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    ended: list[int] = []

    def script(sock: ssl.SSLSocket, n: int) -> None:
        request = wire.read_call(sock)
        sock.sendall(PRPC.answer(request.id, body=request.body))
        if n < 5:
            # Its end by TLS; the socket's comes later.
            with_notice = threading.Thread(target=sock.unwrap)
            with_notice.start()
            with_notice.join(5)
            ended.append(n)
        else:
            answer_all(sock, n)

    stub = connect(foreign_server(script).address, options=ChannelOptions(timeout=20.0))
    for value in range(8):
        assert stub.push(None, Number(value=value)).value == value
        wait_until(lambda value=value: len(ended) > min(value, 4))
    assert stub.channel.stats()["connections_total"] == 6


def test_a_server_that_wants_no_certificate_of_ours(
    foreign_server: Callable[..., Foreign], connect: Callable[..., Any], secrets: Any
) -> None:
    context = secrets.context(serves=True)
    stub = connect(
        foreign_server(answer_all, context).address,
        tls=secrets.client_tls(secrets.other_ca.issue("ada")),
        options=ChannelOptions(wait_for_ready=False),
    )
    with pytest.raises(RpcError, match="the peer refused the connection by a TLS alert") as caught:
        stub.push(Controller(timeout=5.0), Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE


def test_the_one_way_wire(serve: Callable[..., Any], foreign: Callable[..., ssl.SSLSocket]) -> None:
    client = foreign(serve(ONE_WAY).address)
    body = Number(value=5).SerializeToString()
    client.sendall(struct.pack("<IH", len(body) + 2, 1) + body)
    (length,) = struct.unpack("<I", wire.read_exactly(client, 4))
    answer = wire.read_exactly(client, length)
    assert Number.FromString(answer).value == 10
    assert BaiduStd() != ONE_WAY
