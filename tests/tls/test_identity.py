"""Whom a peer has proven to be: what handlers see, and what `authenticate=` decides by."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

import callmethod
from callmethod import (
    AuthContext,
    BaiduStd,
    ChannelOptions,
    ClientTls,
    Code,
    Controller,
    Hulu,
    Indexed,
    RpcError,
    Sofa,
)
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable


def test_the_names_in_a_certificate(
    protocol: Any,
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    answers: Any,
) -> None:
    issued = secrets.ca.issue(
        "zoë, of the house",
        ips=("127.0.0.1", "::1"),
        dns=("a.example", "b.example"),
        uris=("spiffe://example/zoe", "urn:two"),
        emails=("zoe@example.org",),
    )
    client = secrets.ca.issue(
        "zoë, of the house",
        uris=("spiffe://example/zoe", "urn:two"),
        emails=("zoe@example.org",),
    )
    tls = callmethod.ServerTls(issued.cert, issued.key, client_ca=secrets.ca.pem)
    server = serve(protocol, tls=tls)
    stub = connect(server.address, protocol, tls=secrets.client_tls(client))
    stub.twice(None, Number(value=1))
    controller = answers.controllers[-1]
    info = controller.tls
    assert info == controller.rpc_channel.tls
    assert (info.version, info.server_name) == ("TLSv1.3", None)
    assert info.cipher.startswith("TLS13_")
    names = info.certificate
    assert names.common_name == "zoë, of the house"
    assert names.subject == r"CN=zoë\, of the house,O=callmethod tests"
    assert names.issuer == "CN=a root,O=callmethod tests"
    assert (names.dns_names, names.ip_addresses) == ((), ())
    assert names.uris == ("spiffe://example/zoe", "urn:two")
    assert names.email_addresses == ("zoe@example.org",)
    assert names.der == client.certificate.public_bytes(Encoding.DER)
    expected = f"{client.certificate.serial_number:X}"
    assert names.serial_number.replace(":", "").lstrip("0") == expected.lstrip("0")
    assert dt.timedelta(days=2) < names.not_after - dt.datetime.now(dt.timezone.utc)
    assert hashlib.sha256(names.der).hexdigest() not in repr(info)
    assert controller.peer_identity is None


def test_a_server_is_known_to_the_services_of_a_channel(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any
) -> None:
    seen: list[Any] = []

    class Back(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            seen.append(rpc_controller.tls)
            done(request)

    class Calls(Numbers):
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(Numbers_Stub(rpc_controller.rpc_channel).twice(Controller(timeout=9.0), request))

    stub = connect(serve(service=Calls()).address, service=Back())
    stub.twice(None, Number(value=1))
    [info] = seen
    assert info.certificate.dns_names == ("localhost",)
    assert info.certificate.ip_addresses == ("127.0.0.1",)


def test_without_tls_there_is_nothing_to_know(
    serve: Callable[..., Any], connect: Callable[..., Any], answers: Any
) -> None:
    connect(serve(tls=None).address, tls=None).twice(None, Number(value=1))
    controller = answers.controllers[-1]
    assert controller.tls is controller.rpc_channel.tls is controller.peer_identity is None


class Doorman:
    """Lets ada in, under the name in her certificate; keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[AuthContext] = []

    def __call__(self, context: AuthContext) -> object:
        self.seen.append(context)
        if context.tls is None or context.tls.certificate is None:
            raise RpcError(Code.UNAUTHENTICATED, "a certificate is wanted")
        names = context.tls.certificate.uris
        return names[0].removeprefix("spiffe://example/") if names else None


EVERY = {
    "baidu_std": BaiduStd(),
    "hulu_pbrpc": Hulu(),
    "sofa_pbrpc": Sofa(),
    "indexed": Indexed(reply="in_order"),
}


@pytest.mark.parametrize("name", EVERY)
def test_a_check_by_certificate_on_every_protocol(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    answers: Any,
    wait_until: Callable[..., Any],
    name: str,
) -> None:
    kind, doorman = EVERY[name], Doorman()
    tls = secrets.server_tls(require_client_certificate=False)
    server = serve(kind, authenticate=doorman, tls=tls)
    stub = connect(server.address, kind)
    for value in range(3):
        assert stub.twice(None, Number(value=value)).value == 2 * value
    [context] = doorman.seen
    assert (context.credential, context.protocol) == (b"", name)
    assert context.peer.startswith("127.0.0.1:")
    assert answers.controllers[-1].peer_identity == "ada"
    assert answers.controllers[-1].rpc_channel.peer_identity == "ada"
    nameless = secrets.client_tls(secrets.ca.issue("nobody"))
    for caller in (ClientTls(secrets.ca.pem), nameless):
        refused = connect(server.address, kind, tls=caller)
        with pytest.raises(RpcError) as caught:
            refused.twice(None, Number(value=1))
        # Where the wire cannot say why, the connection only ends.
        expected = {Code.UNAUTHENTICATED} if name != "indexed" else {Code.UNAVAILABLE}
        assert caught.value.code in expected, caught.value
    assert len(doorman.seen) == 3
    wait_until(lambda: server.stats()["rejected_total"] == {"unauthenticated": 2})
    assert len(answers.controllers) == 3


def test_a_check_sees_all_that_is_known(
    serve: Callable[..., Any], connect: Callable[..., Any]
) -> None:
    doorman = Doorman()
    server = serve(authenticate=doorman)
    stub = connect(server.address, options=ChannelOptions(credential=b"sesame"))
    stub.twice(Controller(metadata={"tenant": "blue"}), Number(value=1))
    [context] = doorman.seen
    assert context.credential == b"sesame"
    assert context.metadata == {"tenant": "blue"}
    assert "sesame" not in repr(context)
    assert "blue" not in repr(context)


def test_a_check_of_one_argument_needs_no_tls(
    serve: Callable[..., Any], connect: Callable[..., Any], answers: Any
) -> None:
    def who(context: AuthContext) -> object:
        return context.credential.decode()

    server = serve(tls=None, authenticate=who)
    stub = connect(server.address, tls=None, options=ChannelOptions(credential=b"bob"))
    stub.twice(None, Number(value=1))
    assert answers.controllers[-1].peer_identity == "bob"
    stub = connect(server.address, tls=None)
    with pytest.raises(RpcError) as caught:
        stub.twice(None, Number(value=1))
    assert caught.value.code is Code.UNAUTHENTICATED
    # Where nobody proves anything, the credential is all there is.
    with pytest.raises(ValueError, match="no place for a credential"):
        serve(Indexed(), tls=None, authenticate=who)


def test_a_check_of_two_arguments_is_called_as_ever(
    serve: Callable[..., Any], connect: Callable[..., Any], answers: Any
) -> None:
    asked: list[object] = []

    def old(*args: object) -> bool:
        asked.append(args)
        return True

    server = serve(authenticate=old)
    connect(server.address, options=ChannelOptions(credential=b"x")).twice(None, Number(value=1))
    [(credential, peer)] = asked
    assert (credential, str(peer).startswith("127.0.0.1:")) == (b"x", True)
    assert answers.controllers[-1].peer_identity is None
    with pytest.raises(ValueError, match="no place for a credential"):
        serve(Indexed(), authenticate=old)


@pytest.mark.parametrize(
    "check",
    [
        lambda: True,
        lambda a, b, c: True,
        functools.partial(lambda a: True, 1),
        lambda *, context: True,
    ],
)
def test_a_check_of_another_shape(check: Any) -> None:
    with pytest.raises(TypeError, match=r"authenticate\(context\)"):
        callmethod.Server(authenticate=check)


@pytest.mark.parametrize(
    "check", [lambda a, b: a, lambda a, b=1: a, functools.partial(lambda a, b, c: a, 1)]
)
def test_a_check_that_could_take_two_gets_two(check: Any) -> None:
    callmethod.Server(authenticate=check)
