"""Who calls: `authenticate=` of a server, `credential=` of a channel, and brpc's bytes for both."""

from __future__ import annotations

import functools
import importlib
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, Code, Controller, Hulu, Indexed, RpcError, Sofa
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, HULU, SOFA = wire.PRPC, wire.HULU, wire.SOFA
field, number = wire.field, wire.number

ERPCAUTH = 1004
WIRES = [PRPC, HULU]
every_wire = pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
CREDENTIAL_FIELD = {"baidu_std": 7, "hulu_pbrpc": 15}


class Doubler(Numbers):
    def __init__(self) -> None:
        self.ran: list[int] = []
        self.connected = 0

    def on_connected(self, channel: Any) -> None:
        self.connected += 1

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.ran.append(request.value)
        done(Number(value=2 * request.value))


class Gatekeeper:
    """Lets `sesame` in; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str]] = []

    def __call__(self, credential: bytes, peer: str) -> object:
        self.asked.append((credential, peer))
        if credential == b"raise":
            raise RuntimeError("secret details")
        if credential == b"say":
            raise RpcError(Code.UNAUTHENTICATED, "your token is of yesterday")
        return credential == b"sesame"


@pytest.fixture
def guarded(server_factory: Callable[..., callmethod.Server]) -> Callable[..., Any]:
    def make(**options: Any) -> Any:
        service, gatekeeper = Doubler(), Gatekeeper()
        options.setdefault("protocols", [BaiduStd(), Hulu()])
        options.setdefault("authenticate", gatekeeper)
        return service, gatekeeper, server_factory(service, **options)

    return make


@pytest.fixture
def stub_to(channel_factory: Callable[..., callmethod.Channel]) -> Callable[..., Any]:
    def make(address: str, kind: Any, credential: bytes | None = None, **options: Any) -> Any:
        options.setdefault("timeout", 20.0)
        channel = channel_factory(
            address,
            protocol=kind.protocol(),
            options=ChannelOptions(credential=credential, **options),
        )
        stub = Numbers_Stub(channel)
        stub.channel = channel
        return stub

    return make


def call(kind: Any, cid: int, value: int, credential: bytes | None = None) -> bytes:
    more = b"" if credential is None else field(CREDENTIAL_FIELD[kind.name], credential)
    return bytes(kind.call(cid, number(value), more=more))


# ---------------------------------------------------------------- let in


@every_wire
def test_the_right_credential(
    guarded: Callable[..., Any], stub_to: Callable[..., Any], kind: Any
) -> None:
    service, gatekeeper, server = guarded()
    stub = stub_to(server.address, kind, b"sesame")
    for i in range(10):
        assert stub.twice(None, Number(value=i)).value == 2 * i
    [(credential, peer)] = gatekeeper.asked  # once for a connection
    assert credential == b"sesame"
    assert peer.startswith("127.0.0.1:")
    assert wire.counted(server.stats()["rejected_total"]) == {}
    assert service.ran == list(range(10))


@every_wire
def test_credentials_of_any_bytes(
    server_factory: Callable[..., callmethod.Server], stub_to: Callable[..., Any], kind: Any
) -> None:
    secret = bytes(range(256)) * 40
    server = server_factory(
        Doubler(), protocols=None, authenticate=lambda credential, _: credential == secret
    )
    assert stub_to(server.address, kind, secret).twice(None, Number(value=2)).value == 4


@every_wire
def test_set_credential(
    guarded: Callable[..., Any], stub_to: Callable[..., Any], kind: Any
) -> None:
    _, gatekeeper, server = guarded()
    stub = stub_to(server.address, kind, b"wrong")
    with pytest.raises(RpcError) as caught:
        stub.twice(None, Number(value=1))
    assert caught.value.code is Code.UNAUTHENTICATED
    stub.channel.set_credential(b"sesame")
    assert stub.twice(None, Number(value=2)).value == 4
    assert [credential for credential, _ in gatekeeper.asked] == [b"wrong", b"sesame"]
    with pytest.raises(TypeError):
        stub.channel.set_credential("text")


@every_wire
def test_many_calls_on_a_new_connection(
    guarded: Callable[..., Any],
    stub_to: Callable[..., Any],
    wait_until: Callable[..., Any],
    kind: Any,
) -> None:
    _, gatekeeper, server = guarded()
    stub = stub_to(server.address, kind, b"sesame")
    got: list[int] = []
    for i in range(50):
        stub.twice(None, Number(value=i), lambda r: got.append(r.value))
    wait_until(lambda: len(got) == 50)
    assert sorted(got) == [2 * i for i in range(50)]
    assert len(gatekeeper.asked) == 1


@every_wire
def test_the_credential_goes_with_the_first_call_of_each_connection(
    stub_to: Callable[..., Any], kind: Any
) -> None:
    seen: list[tuple[int, bytes | None]] = []

    def script(sock: socket.socket, n: int) -> None:
        for _ in range(3):
            request = wire.read_call(sock, kind)
            seen.append((n, request.meta.get(CREDENTIAL_FIELD[kind.name], [None])[0]))
            sock.sendall(kind.answer(request.id, number(2)))

    with wire.fake_server(script) as server:
        stub = stub_to(server.address, kind, b"sesame")
        for n in range(2):
            for _ in range(3):
                assert stub.twice(None, Number(value=1)).value == 2
            end = time.monotonic() + 5
            while stub.channel.connected and time.monotonic() < end:
                time.sleep(0.002)
            assert n + 1 == server.accepted
        assert seen == [(0, b"sesame"), (0, None), (0, None), (1, b"sesame"), (1, None), (1, None)]


@every_wire
def test_every_connection_of_a_pool_says_who_it_is(
    guarded: Callable[..., Any], stub_to: Callable[..., Any], kind: Any
) -> None:
    _, gatekeeper, server = guarded()
    stub = stub_to(server.address, kind, b"sesame", pool_size=4)
    errors: list[BaseException] = []

    def body() -> None:
        try:
            for i in range(20):
                assert stub.twice(None, Number(value=i)).value == 2 * i
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert errors == []
    assert len(gatekeeper.asked) == server.stats()["connections_total"] <= 4


# ---------------------------------------------------------------- kept out

OUT = {
    "wrong": (b"wrong", "authentication failed"),
    "none": (None, "authentication failed"),
    "empty": (b"", "authentication failed"),
    "it raises": (b"raise", "authentication failed"),
    "it says why": (b"say", "your token is of yesterday"),
}


@every_wire
@pytest.mark.parametrize(("credential", "text"), OUT.values(), ids=OUT)
def test_refused(
    *,
    guarded: Callable[..., Any],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    kind: Any,
    credential: bytes | None,
    text: str,
) -> None:
    """One answer, then the end; nobody hears of the call."""
    service, gatekeeper, server = guarded()
    good = raw_socket(server.address)
    good.sendall(call(kind, 1, 1, b"sesame"))
    assert wire.read_answer(good, kind).code == 0
    sock = raw_socket(server.address)
    sock.sendall(call(kind, 5, 666, credential))
    answer = wire.read_answer(sock, kind)
    assert (answer.id, answer.code, answer.body, answer.attachment) == (5, ERPCAUTH, b"", b"")
    assert text in answer.text
    assert "secret" not in answer.text
    assert wire.ends(sock)
    assert [c for c, _ in gatekeeper.asked] == [b"sesame", credential or b""]
    assert service.ran == [1]
    wait_until(lambda: wire.counted(server.stats()["rejected_total"]) == {"unauthenticated": 1})
    good.sendall(call(kind, 2, 4))
    assert wire.value_of(wire.read_answer(good, kind).body) == 8


@every_wire
@pytest.mark.parametrize(("credential", "text"), OUT.values(), ids=OUT)
def test_our_channel_is_told(
    *,
    guarded: Callable[..., Any],
    stub_to: Callable[..., Any],
    kind: Any,
    credential: bytes | None,
    text: str,
) -> None:
    service, gatekeeper, server = guarded()
    stub = stub_to(server.address, kind, credential)
    began = time.monotonic()
    for n in (1, 2):
        controller = Controller()
        with pytest.raises(RpcError, match=text) as caught:
            stub.twice(controller, Number(value=1))
        assert caught.value.code is controller.code is Code.UNAUTHENTICATED
        assert caught.value.native_code == ERPCAUTH
        assert len(gatekeeper.asked) == n  # it is not tried again by itself
    assert time.monotonic() - began < 5
    assert service.ran == []


@every_wire
def test_what_comes_behind_a_refused_call_does_not_run(
    guarded: Callable[..., Any],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    kind: Any,
) -> None:
    service, gatekeeper, server = guarded()
    sock = raw_socket(server.address)
    sock.sendall(
        b"".join(call(kind, i, i, b"wrong" if i == 1 else b"sesame") for i in range(1, 30))
    )
    answers = []
    try:
        while (answer := wire.read_answer(sock, kind)) is not None:
            answers.append(answer)
    except ConnectionResetError:
        pass
    assert {a.code for a in answers} <= {ERPCAUTH}
    wait_until(lambda: server.stats()["connections"] == 0)
    assert service.ran == []
    assert [c for c, _ in gatekeeper.asked] == [b"wrong"]
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)


@every_wire
def test_calls_sent_along_with_the_first_wait_for_its_judgement(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    kind: Any,
) -> None:
    go = threading.Event()
    service = Doubler()

    def slow(credential: bytes, peer: str) -> bool:
        assert go.wait(10)
        return credential == b"sesame"

    server = server_factory(service, protocols=[BaiduStd(), Hulu()], authenticate=slow)
    sock = raw_socket(server.address)
    sock.sendall(call(kind, 1, 1, b"sesame") + b"".join(call(kind, i, i) for i in range(2, 20)))
    assert wire.is_quiet(sock, 0.15)
    assert service.ran == []
    go.set()
    answers = [wire.read_answer(sock, kind) for _ in range(19)]
    assert sorted(a.id for a in answers) == list(range(1, 20))
    assert {a.code for a in answers} == {0}


def test_a_slow_judgement_does_not_hold_up_the_others(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> None:
    go = threading.Event()

    def slow(credential: bytes, peer: str) -> bool:
        if credential == b"slow":
            assert go.wait(10)
        return True

    server = server_factory(Doubler(), protocols=[BaiduStd()], authenticate=slow, max_workers=2)
    known, new, slow_one = (raw_socket(server.address) for _ in range(3))
    known.sendall(call(PRPC, 1, 1, b"x"))
    assert wire.read_answer(known).code == 0
    slow_one.sendall(call(PRPC, 1, 1, b"slow"))
    for sock in (known, new):
        sock.sendall(call(PRPC, 2, 2, b"x"))
        assert wire.read_answer(sock).code == 0
    go.set()
    assert wire.read_answer(slow_one).code == 0


@every_wire
def test_later_credentials_are_not_looked_at(
    guarded: Callable[..., Any], raw_socket: Callable[[str], socket.socket], kind: Any
) -> None:
    """The first frame of a connection is what counts, as in brpc."""
    _, gatekeeper, server = guarded()
    sock = raw_socket(server.address)
    for cid, credential in enumerate([b"sesame", b"wrong", None, b"raise"]):
        sock.sendall(call(kind, cid, 3, credential))
        assert wire.read_answer(sock, kind).code == 0
    assert len(gatekeeper.asked) == 1


def test_a_first_call_that_fails_for_another_reason_is_judged_first(
    guarded: Callable[..., Any], raw_socket: Callable[[str], socket.socket]
) -> None:
    """A stranger does not learn which services there are."""
    _, _, server = guarded()
    frames = [
        PRPC.call(5, number(1), "thrice", more=field(7, b"wrong")),
        PRPC.call(5, number(1), service="a.Nobody", more=field(7, b"wrong")),
        PRPC.call(5, b"\xff\xff", more=field(7, b"wrong")),
        PRPC.frame(field(4, 5)),
    ]
    for frame in frames:
        sock = raw_socket(server.address)
        sock.sendall(frame)
        assert wire.read_answer(sock).code == ERPCAUTH
        assert wire.ends(sock)
    sock = raw_socket(server.address)
    sock.sendall(PRPC.call(5, number(1), "thrice", more=field(7, b"sesame")))
    assert wire.read_answer(sock).code == 1002
    sock.sendall(PRPC.call(6, number(1)))
    assert wire.read_answer(sock).code == 0


def test_a_caller_that_leaves_while_it_is_judged(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
) -> None:
    go, asked = threading.Event(), threading.Event()
    service = Doubler()

    def slow(credential: bytes, peer: str) -> bool:
        asked.set()
        assert go.wait(10)
        return True

    server = server_factory(service, protocols=[BaiduStd()], authenticate=slow)
    sock = raw_socket(server.address)
    sock.sendall(call(PRPC, 1, 1, b"x"))
    assert asked.wait(5)
    sock.close()
    time.sleep(0.05)
    go.set()
    wait_until(lambda: server.stats()["connections"] == 0)
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)
    other = raw_socket(server.address)
    other.sendall(call(PRPC, 1, 3, b"x"))
    assert wire.value_of(wire.read_answer(other).body) == 6


# ---------------------------------------------------------------- which protocols can


@pytest.mark.parametrize("protocol", [Sofa(), Indexed()], ids=lambda p: p.name)
def test_protocols_without_a_place_for_it(protocol: Any) -> None:
    def serve() -> None:
        server = callmethod.Server(protocols=[BaiduStd(), protocol], authenticate=Gatekeeper())
        server.add_service(Doubler())
        with server:
            pass

    with pytest.raises(ValueError, match="credential"):
        serve()
    with pytest.raises(ValueError, match="credential"):
        callmethod.Channel(
            "127.0.0.1:1", protocol=protocol, options=ChannelOptions(credential=b"x")
        )


def test_the_default_protocols_are_those_that_can(
    guarded: Callable[..., Any], raw_socket: Callable[[str], socket.socket]
) -> None:
    service, _, server = guarded(protocols=None)
    for kind in WIRES:
        sock = raw_socket(server.address)
        sock.sendall(call(kind, 1, 4, b"sesame"))
        assert wire.value_of(wire.read_answer(sock, kind).body) == 8
    for frame in (SOFA.call(1, number(666)), b"\x04\0\0\0\x01\0" + number(666)):
        sock = raw_socket(server.address)
        sock.sendall(frame)
        assert wire.ends(sock)
    assert service.ran == [4, 4]


def test_a_credential_that_is_no_bytes() -> None:
    with pytest.raises(TypeError, match="credential"):
        ChannelOptions(credential="text")


# ---------------------------------------------------------------- checks that say neither


class AsyncGatekeeper:
    async def __call__(self, credential: bytes, peer: str) -> bool:
        return True

    async def check(self, credential: bytes, peer: str) -> bool:
        return True

    async def steps(self, credential: bytes, peer: str) -> Any:
        yield True


@pytest.mark.parametrize(
    "check",
    [
        AsyncGatekeeper(),
        AsyncGatekeeper().check,
        AsyncGatekeeper().steps,
        functools.partial(AsyncGatekeeper().check, b"x"),
    ],
    ids=["object", "method", "generator", "partial"],
)
@pytest.mark.parametrize("server", [callmethod.Server, callmethod.aio.Server])
def test_a_check_that_would_have_to_be_awaited(server: Any, check: Any) -> None:
    with pytest.raises(TypeError, match="authenticate must be a plain function"):
        server(authenticate=check)


@every_wire
def test_what_can_be_awaited_lets_nobody_in(
    guarded: Callable[..., Any],
    stub_to: Callable[..., Any],
    wait_until: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    kind: Any,
) -> None:
    """A coroutine is a true value; one that a plain function gives cannot be told beforehand."""
    service, _, server = guarded(authenticate=lambda *args: AsyncGatekeeper().check(*args))
    with pytest.raises(RpcError, match="authentication failed") as caught:
        stub_to(server.address, kind, b"sesame").twice(None, Number(value=1))
    assert caught.value.code is Code.UNAUTHENTICATED
    assert service.ran == []
    wait_until(lambda: "authenticate gave a coroutine" in caplog.text)
