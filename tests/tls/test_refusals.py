"""Each way in which a peer can fail to be whom it should be: refused, by name, and counted."""

from __future__ import annotations

import importlib
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from callmethod import (
    BaiduStd,
    ChannelOptions,
    ClientTls,
    Code,
    Controller,
    Indexed,
    RpcError,
    ServerTls,
)
from testing_pb2 import Number

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
authority = importlib.import_module("authority")

if TYPE_CHECKING:
    from collections.abc import Callable

IMPATIENT = ChannelOptions(wait_for_ready=False, timeout=10.0)


def failure(stub: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        stub.twice(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    return caught.value


@pytest.fixture
def strangers(secrets: Any) -> dict[str, ClientTls]:
    """Clients that are not let in, by the reason why."""
    ca, client_tls = secrets.ca, secrets.client_tls
    return {
        "certificate_missing": ClientTls(ca.pem),
        "certificate_untrusted": client_tls(secrets.other_ca.issue("ada")),
        "certificate_expired": client_tls(ca.issue("ada", expired=True)),
        "certificate_expired, not yet": client_tls(ca.issue("ada", early=True)),
        "certificate_untrusted, a server's": client_tls(secrets.server),
    }


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("certificate_missing", "CertificateRequired"),
        ("certificate_untrusted", "UnknownCA"),
        ("certificate_expired", "CertificateExpired"),
        ("certificate_expired, not yet", "CertificateExpired"),
        ("certificate_untrusted, a server's", ""),
    ],
)
def test_a_client_that_is_not_let_in(
    protocol: Any,
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    refused: Callable[..., None],
    strangers: dict[str, ClientTls],
    kind: str,
    told: str,
) -> None:
    server = serve(protocol)
    honest = connect(server.address, protocol)
    assert honest.twice(None, Number(value=1)).value == 2
    stub = connect(server.address, protocol, tls=strangers[kind], options=IMPATIENT)
    error = failure(stub)
    assert f"refused the connection by a TLS alert, {told}" in error.text
    refused(server, kind.partition(",")[0])
    refused(stub.channel, "tls_refused")
    assert honest.twice(None, Number(value=2)).value == 4
    assert server.stats()["calls_received_total"] == 2


def revocations(secrets: Any) -> dict[str, tuple[Any, bytes]]:
    below = authority.Authority("a CA below", parent=secrets.ca)
    ada, bob = secrets.ca.issue("ada"), below.issue("bob")
    return {
        "revoked": (ada, secrets.ca.crl(ada)),
        "by a list too old to tell": (ada, secrets.ca.crl(stale=True)),
        "nobody knows": (ada, secrets.other_ca.crl()),
        "nobody knows of the one between": (bob, below.crl()),
        "revoked by the one between": (bob, secrets.ca.crl() + below.crl(bob)),
    }


@pytest.mark.parametrize(
    "kind",
    [
        "revoked",
        "by a list too old to tell",
        "nobody knows",
        "nobody knows of the one between",
        "revoked by the one between",
    ],
)
def test_what_is_revoked_or_may_be(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    refused: Callable[..., None],
    secrets: Any,
    kind: str,
) -> None:
    issued, crl = revocations(secrets)[kind]
    server = serve(tls=secrets.server_tls(crl=crl))
    stub = connect(server.address, tls=secrets.client_tls(issued), options=IMPATIENT)
    assert "TLS alert" in failure(stub).text
    refused(server, "certificate_revoked")
    assert server.stats()["calls_received_total"] == 0


def test_who_is_not_revoked_is_let_in(
    serve: Callable[..., Any], connect: Callable[..., Any], secrets: Any
) -> None:
    below = authority.Authority("a CA below", parent=secrets.ca)
    other, bob = secrets.ca.issue("other"), below.issue("bob")
    server = serve(tls=secrets.server_tls(crl=secrets.ca.crl(other) + below.crl()))
    for issued in (secrets.client, bob):
        stub = connect(server.address, tls=secrets.client_tls(issued))
        assert stub.twice(None, Number(value=1)).value == 2


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("certificate_untrusted", "UnknownIssuer"),
        ("certificate_expired", "expired"),
        ("certificate_name", "not valid for name"),
        ("certificate_revoked", "Revoked|revoked"),
    ],
)
def test_a_server_that_is_not_believed(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    refused: Callable[..., None],
    secrets: Any,
    kind: str,
    text: str,
) -> None:
    ca, names = secrets.ca, {"dns": ("localhost",), "ips": ("127.0.0.1",)}
    issued = {
        "certificate_untrusted": secrets.other_ca.issue("s", **names),
        "certificate_expired": ca.issue("s", expired=True, **names),
        "certificate_name": ca.issue("s", dns=("elsewhere.example",)),
        "certificate_revoked": ca.issue("s", **names),
    }[kind]
    server = serve(tls=ServerTls(issued.cert, issued.key))
    crl = ca.crl(issued) if kind == "certificate_revoked" else None
    stub = connect(server.address, tls=ClientTls(ca.pem, crl=crl), options=IMPATIENT)
    with pytest.raises(RpcError, match=text) as caught:
        stub.twice(None, Number(value=1))
    assert caught.value.code is Code.UNAVAILABLE
    assert "cannot connect to" in caught.value.text
    refused(stub.channel, kind)
    refused(server, "tls_refused")
    # One that waits for a server says at its deadline what it waited for.
    patient = connect(server.address, tls=ClientTls(ca.pem, crl=crl))
    with pytest.raises(RpcError, match=text) as caught:
        patient.twice(Controller(timeout=0.2), Number(value=1))
    assert caught.value.code is Code.DEADLINE_EXCEEDED


def test_a_server_is_known_by_the_name_that_is_asked_for(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    secrets: Any,
    answers: Any,
    refused: Callable[..., None],
) -> None:
    issued = secrets.ca.issue("s", dns=("game.example", "*.wild.example"))
    server = serve(tls=ServerTls(issued.cert, issued.key))
    for name in ("game.example", "one.wild.example"):
        stub = connect(server.address, tls=ClientTls(secrets.ca.pem, server_name=name))
        assert stub.twice(None, Number(value=1)).value == 2
        assert answers.controllers[-1].tls.server_name == name
        assert answers.controllers[-1].tls.certificate is None
    other = ClientTls(secrets.ca.pem, server_name="two.one.wild.example")
    stub = connect(server.address, tls=other, options=IMPATIENT)
    failure(stub)
    refused(stub.channel, "certificate_name")


def hello(version: bytes) -> bytes:
    """The first record of a client that speaks this version and none after it."""
    ciphers = bytes.fromhex("c009c013002f")
    body = version + bytes(32) + b"\0" + len(ciphers).to_bytes(2, "big") + ciphers + b"\1\0"
    return b"\x16\3\1" + (len(body) + 4).to_bytes(2, "big") + b"\1\0\0" + bytes([len(body)]) + body


@pytest.mark.parametrize("version", [b"\3\0", b"\3\1", b"\3\2"], ids=["SSL 3", "1.0", "1.1"])
def test_a_version_of_yesterday(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    raw_socket: Callable[[str], socket.socket],
    refused: Callable[..., None],
    version: bytes,
) -> None:
    server = serve()
    sock = raw_socket(server.address)
    sock.sendall(hello(version))
    kind, _, _, _, length, level, description = sock.recv(7)
    assert (kind, length, level) == (0x15, 2, 2), "a fatal alert"
    assert description in {40, 70}, "handshake_failure or protocol_version"
    assert sock.recv(1) == b""
    refused(server, "tls_version")
    assert connect(server.address).twice(None, Number(value=1)).value == 2


def test_a_caller_without_tls_is_told(
    protocol: Any,
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    refused: Callable[..., None],
) -> None:
    server = serve(protocol)
    stub = connect(server.address, protocol, tls=None, options=IMPATIENT)
    assert "the server speaks TLS, and this channel does not; give it tls=" in failure(stub).text
    refused(server, "tls_expected")
    refused(stub.channel, "tls_unexpected")
    assert connect(server.address, protocol).twice(None, Number(value=1)).value == 2


@pytest.mark.parametrize("spoken", ["all", "baidu_std", "indexed"])
def test_a_tls_caller_of_a_port_without_it_is_told(
    serve: Callable[..., Any],
    connect: Callable[..., Any],
    refused: Callable[..., None],
    spoken: str,
) -> None:
    # At a port of the indexed protocol a hello could be the beginning of a frame.
    protocols = {"all": None, "baidu_std": [BaiduStd()], "indexed": [Indexed()]}[spoken]
    server = serve(tls=None, protocols=protocols)
    stub = connect(server.address, options=IMPATIENT)
    text = failure(stub).text
    assert "within the TLS handshake" in text, text
    refused(server, "tls_unexpected")
    plain = connect(server.address, protocols[0] if protocols else None, tls=None)
    plain.channel.connect()


def test_a_server_that_speaks_something_else(
    connect: Callable[..., Any], refused: Callable[..., None]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        stub = connect(address, options=IMPATIENT)

        def greet() -> None:
            sock, _ = listener.accept()
            with sock:
                sock.sendall(b"220 ready\r\n")
                sock.recv(1024)
                time.sleep(0.1)

        thread = threading.Thread(target=greet)
        thread.start()
        assert "what came is no TLS" in failure(stub).text
        thread.join()
        refused(stub.channel, "tls_expected")


def test_a_silent_server_is_given_up(connect: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        options = ChannelOptions(wait_for_ready=False, connect_timeout=0.2)
        begin = time.monotonic()
        assert "no answer within 0.2 s" in failure(connect(address, options=options)).text
        assert time.monotonic() - begin < 5
