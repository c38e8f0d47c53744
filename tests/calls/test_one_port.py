"""One port for all protocols: told apart by the first bytes, in a bounded time, for life."""

from __future__ import annotations

import contextlib
import importlib
import random
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, Hulu, Indexed, ServerOptions, Sofa
from testing_pb2 import Number, Numbers, Receiver_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, HULU, SOFA, WIRES = wire.PRPC, wire.HULU, wire.SOFA, wire.WIRES
number = wire.number

ALL = ["baidu_std", "hulu_pbrpc", "sofa_pbrpc", "indexed"]
MAKE = {"baidu_std": BaiduStd, "hulu_pbrpc": Hulu, "sofa_pbrpc": Sofa, "indexed": Indexed}
BY_NAME = {w.name: w for w in WIRES}
QUICK = ServerOptions(handshake_timeout=0.3)


class Doubler(Numbers):
    """Answers with the double; on the wire without answers, by a call the other way."""

    def __init__(self) -> None:
        self.protocols: list[str] = []

    def on_connected(self, channel: Any) -> None:
        self.protocols.append("connected")

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.protocols.append(rpc_controller.protocol)
        response = Number(value=2 * request.value)
        if rpc_controller.protocol == "indexed":
            Receiver_Stub(rpc_controller.rpc_channel).number(None, response)
        done(response)


def speak(sock: socket.socket, protocol: str, value: int) -> None:
    """Send the call that doubles."""
    if protocol == "indexed":
        body = number(value)
        sock.sendall(struct.pack("<IH", 2 + len(body), 1) + body)
    else:
        sock.sendall(BY_NAME[protocol].call(value, number(value)))


def hear(sock: socket.socket, protocol: str) -> tuple[int | None, int]:
    """The id of the answer, where the protocol has one, and its value."""
    if protocol == "indexed":
        length, index = struct.unpack("<IH", wire.read_exactly(sock, 6))
        assert index == 0
        return None, wire.value_of(wire.read_exactly(sock, length - 2))
    answer = wire.read_answer(sock, BY_NAME[protocol])
    assert answer is not None
    assert answer.code == 0
    return answer.id, wire.value_of(answer.body)


def works(sock: socket.socket, protocol: str, value: int = 21) -> None:
    speak(sock, protocol, value)
    assert hear(sock, protocol) == (None if protocol == "indexed" else value, 2 * value)


def test_200_connections_at_once_of_all_protocols(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
) -> None:
    service = Doubler()
    server = server_factory(service, protocols=None)
    order = [ALL[i % 4] for i in range(200)]
    random.Random(4).shuffle(order)
    links = [(raw_socket(server.address), protocol) for protocol in order]
    # Ten calls on each, all connections in turn, cut inside the magic every other time.
    for round_ in range(10):
        for n, (sock, protocol) in enumerate(links):
            value = 1 + 1000 * round_ + n
            speak(sock, protocol, value)
    for n, (sock, protocol) in enumerate(links):
        values = sorted(hear(sock, protocol)[1] for _ in range(10))
        assert values == [2 * (1 + 1000 * round_ + n) for round_ in range(10)]
    stats = server.stats()
    assert stats["connections"] == stats["connections_total"] == 200
    assert wire.counted(stats["rejected_total"]) == {}
    calls = [p for p in service.protocols if p != "connected"]
    assert {p: calls.count(p) for p in ALL} == dict.fromkeys(ALL, 500)
    assert service.protocols.count("connected") == 200


def test_200_threads_that_connect_at_once(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    server = server_factory(Doubler(), protocols=None)
    errors: list[BaseException] = []
    barrier = threading.Barrier(200)

    def client(n: int) -> None:
        try:
            barrier.wait(20)
            sock = raw_socket(server.address)
            for i in range(3):
                works(sock, ALL[n % 4], 1 + n * 10 + i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=client, args=(n,), daemon=True) for n in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []


def test_channels_of_every_protocol_on_one_port(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    from testing_pb2 import Numbers_Stub

    server = server_factory(Doubler(), protocols=None)
    for protocol in (BaiduStd(), Hulu(), Sofa()):
        stub = Numbers_Stub(channel_factory(server.address, protocol=protocol))
        assert stub.twice(None, Number(value=4)).value == 8


# ---------------------------------------------------------------- silence


@pytest.mark.parametrize("narrow", [None, ["baidu_std", "hulu_pbrpc", "sofa_pbrpc"]])
def test_every_prefix_of_a_magic_and_then_silence(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    narrow: list[str] | None,
) -> None:
    protocols = narrow and [MAKE[name]() for name in narrow]
    server = server_factory(Doubler(), protocols=protocols, options=QUICK)
    neighbour = raw_socket(server.address)
    works(neighbour, "baidu_std")
    prefixes = [w.magic[:size] for w in WIRES for size in (1, 2, 3)] + [b""]
    if narrow is None:
        prefixes += [b"\x0c", b"\x0c\0", b"\x0c\0\0", b"\0", b"\0\0\0"]
    socks = [raw_socket(server.address) for _ in prefixes]
    began = time.monotonic()
    for sock, prefix in zip(socks, prefixes, strict=True):
        sock.sendall(prefix)
    time.sleep(0.1)
    assert all(wire.is_quiet(sock, 0.001) for sock in socks)
    works(neighbour, "baidu_std")
    for sock in socks:
        assert wire.ends(sock)
    assert 0.25 < time.monotonic() - began < 1.5
    works(neighbour, "baidu_std")  # it has long been silent as well, but is known
    rejected = {"handshake_timeout": len(prefixes)}
    wait_until(lambda: wire.counted(server.stats()["rejected_total"]) == rejected)
    wait_until(lambda: server.stats()["connections"] == 1)


def test_dribbling_the_magic_does_not_buy_time(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    server = server_factory(Doubler(), protocols=None, options=QUICK)
    sock = raw_socket(server.address)
    began = time.monotonic()
    with contextlib.suppress(ConnectionError):
        for byte in b"PRP":
            sock.sendall(bytes([byte]))
            time.sleep(0.14)
    assert wire.ends(sock)
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_magic_in_two_pieces(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    protocol: str,
    size: int,
) -> None:
    server = server_factory(Doubler(), protocols=None)
    sock = raw_socket(server.address)
    if protocol == "indexed":
        frame = struct.pack("<IH", 4, 1) + number(3)
    else:
        frame = BY_NAME[protocol].call(3, number(3))
    sock.sendall(frame[:size])
    assert wire.is_quiet(sock, 0.05)
    sock.sendall(frame[size:])
    assert hear(sock, protocol)[1] == 6


def test_a_known_protocol_may_be_silent(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    server = server_factory(Doubler(), protocols=None, options=QUICK)
    socks = [raw_socket(server.address) for _ in ALL]
    for sock, protocol in zip(socks, ALL, strict=True):
        works(sock, protocol)
    time.sleep(0.8)
    for sock, protocol in zip(socks, ALL, strict=True):
        works(sock, protocol)


@pytest.mark.parametrize("protocol", ALL)
def test_a_port_of_one_protocol_waits_for_ever(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    protocol: str,
) -> None:
    """Its client may only want to listen: `on_connected` comes at once."""
    service = Doubler()
    server = server_factory(service, protocols=[MAKE[protocol]()], options=QUICK)
    sock = raw_socket(server.address)
    wait_until(lambda: service.protocols == ["connected"])
    time.sleep(0.8)
    works(sock, protocol)
    assert service.protocols == ["connected", protocol]


def test_connections_that_say_nothing_are_told_of_to_nobody(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
) -> None:
    service = Doubler()
    server = server_factory(service, protocols=None, options=QUICK)
    sock = raw_socket(server.address)
    assert wire.ends(sock)
    wait_until(lambda: wire.counted(server.stats()["rejected_total"]) == {"handshake_timeout": 1})
    assert service.protocols == []


# ---------------------------------------------------------------- strangers

STRANGERS = {
    "GET": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST": b"POST /a.B/C HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    "PUT": b"PUT /x HTTP/1.1\r\n\r\n",
    "OPTIONS": b"OPTIONS * HTTP/1.1\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.0\r\n\r\n",
    "PROPFIND": b"PROPFIND / HTTP/1.1\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "redis": b"*1\r\n$4\r\nPING\r\n",
    "brpc's streams": b"STRM" + bytes(8),
    "proxy protocol": b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n",
    "lower case": b"prpc" + bytes(8),
    "an index that nobody has": struct.pack("<IH", 2, 900),
    "a length of nothing": bytes(8),
    "all ones": b"\xff" * 64,
}


@pytest.mark.parametrize("stream", STRANGERS.values(), ids=STRANGERS)
def test_strangers_are_closed_at_once(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    stream: bytes,
) -> None:
    server = server_factory(Doubler(), protocols=None)  # with 10 s for the handshake
    neighbour = raw_socket(server.address)
    works(neighbour, "hulu_pbrpc")
    sock = raw_socket(server.address)
    sock.sendall(stream)
    began = time.monotonic()
    assert wire.ends(sock)
    assert time.monotonic() - began < 3
    works(neighbour, "hulu_pbrpc")
    wait_until(lambda: sum(server.stats()["rejected_total"].values()) == 1)


def test_random_bytes(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    server = server_factory(Doubler(), protocols=None, options=ServerOptions(handshake_timeout=2))
    neighbour = raw_socket(server.address)
    dice = random.Random(1)
    for _ in range(100):
        sock = raw_socket(server.address)
        sock.settimeout(0.02)
        with sock, contextlib.suppress(ConnectionError, TimeoutError):
            sock.sendall(dice.randbytes(dice.randint(4, 300)))
            assert sock.recv(100) == b""
    works(neighbour, "baidu_std")
    assert server.stats()["panics_total"] == 0


# ---------------------------------------------------------------- protocols=


@pytest.mark.parametrize(
    "spoken", [[p] for p in ALL] + [[a, b] for a in ALL for b in ALL if a < b], ids="+".join
)
def test_protocols_narrows(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    spoken: list[str],
) -> None:
    service = Doubler()
    server = server_factory(service, protocols=[MAKE[name]() for name in spoken], options=QUICK)
    for protocol in ALL:
        sock = raw_socket(server.address)
        if protocol in spoken:
            works(sock, protocol)
        else:
            speak(sock, protocol, 5)
            assert wire.ends(sock), protocol
    assert set(service.protocols) == {"connected", *spoken}
    wait_until(lambda: sum(server.stats()["rejected_total"].values()) == len(ALL) - len(spoken))


@pytest.mark.parametrize("protocol", ALL)
@pytest.mark.parametrize("other", ALL)
def test_a_connection_keeps_its_protocol(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    protocol: str,
    other: str,
) -> None:
    service = Doubler()
    server = server_factory(service, protocols=None)
    sock = raw_socket(server.address)
    works(sock, protocol)
    if other == protocol:
        works(sock, protocol)
        return
    speak(sock, other, 5)
    if protocol != "indexed" and other == "indexed":
        sock.sendall(bytes(24))  # a header's worth, if it needs so many
    assert wire.ends(sock)
    assert service.protocols == ["connected", protocol]


BAD = {
    "none": [],
    "two baidu_std": [BaiduStd(), BaiduStd(max_length=1000)],
    "sofa twice": [Sofa(), Sofa()],
    "two indexed": [Indexed(), Indexed(byte_order="big")],
    "lengths of two bytes": [BaiduStd(), Indexed(length_width=2)],
}


@pytest.mark.parametrize("protocols", BAD.values(), ids=BAD)
def test_what_cannot_share_a_port(protocols: list[Any]) -> None:
    def run() -> None:
        server = callmethod.Server(protocols=protocols)
        server.add_service(Doubler())
        with server:
            pass

    with pytest.raises(ValueError, match=r"\w"):
        run()


@pytest.mark.parametrize(
    "layout",
    [
        Indexed(byte_order="big"),
        Indexed(length_width=8),
        Indexed(length_width=8, byte_order="big"),
        Indexed(length_covers="whole_frame"),
        Indexed(length_covers="body_only"),
        Indexed(max_length=512 * 1024 * 1024 - 1),
        Indexed(id_width=8, reply="by_id"),
        Indexed(reply="in_order"),
    ],
    ids=repr,
)
def test_other_layouts_share_a_port(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    channel_factory: Callable[..., callmethod.Channel],
    layout: Indexed,
) -> None:
    from testing_pb2 import Numbers_Stub

    class Recorder(Numbers):
        def __init__(self) -> None:
            self.values: list[int] = []
            self.seen = threading.Event()

        def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
            self.values.append(request.value)
            self.seen.set()
            done(request)

        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(Number(value=2 * request.value))

    service = Recorder()
    server = server_factory(service, protocols=[BaiduStd(), Hulu(), Sofa(), layout])
    for protocol in ALL[:3]:
        works(raw_socket(server.address), protocol)
    Numbers_Stub(channel_factory(server.address, protocol=layout)).push(None, Number(value=6))
    assert service.seen.wait(5)
    assert service.values == [6]
