"""Several certificates at one port: a client is shown the one for the name that it asks for."""

from __future__ import annotations

import json
import socket
import ssl
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import callmethod
from callmethod import BaiduStd, ClientTls, ServerTls
from callmethod.tls import to_fields
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = ("a.example", "b.example", "*.wild.example", "exact.wild.example")


class Says(Numbers):
    """Answers with the name that its caller asked for."""

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=request.value, note=str(rpc_controller.tls.server_name)))


@pytest.fixture(scope="module")
def issued(secrets: Any) -> dict[str, Any]:
    return {name: secrets.ca.issue(name, dns=(name,)) for name in NAMES}


def server_tls(secrets: Any, issued: dict[str, Any], **options: Any) -> ServerTls:
    others = [(one.cert, one.key) for one in issued.values()]
    return ServerTls(secrets.server.cert, secrets.server.key, others=others, **options)


@pytest.fixture
def server(
    server_factory: Callable[..., callmethod.Server], secrets: Any, issued: dict[str, Any]
) -> callmethod.Server:
    tls = server_tls(secrets, issued)
    return server_factory(Says(), protocols=[BaiduStd()], tls=tls)


def shown(secrets: Any, address: str, name: str | None) -> str:
    """The common name in the certificate that Python's own TLS is shown."""
    context = secrets.context()
    context.check_hostname = False
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname=name) as secure,
    ):
        der = secure.getpeercert(binary_form=True)
    assert der is not None
    found = x509.load_der_x509_certificate(der).subject
    return str(found.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)


@pytest.mark.parametrize(
    ("name", "common_name"),
    [
        (None, "the server"),
        ("localhost", "the server"),
        ("nobody.example", "the server"),
        ("a.example", "a.example"),
        ("A.Example", "a.example"),
        ("b.example", "b.example"),
        ("x.wild.example", "*.wild.example"),
        ("exact.wild.example", "exact.wild.example"),
        # A wildcard is for one label.
        ("x.y.wild.example", "the server"),
        ("wild.example", "the server"),
    ],
)
def test_the_certificate_is_that_of_the_name(
    server: callmethod.Server, secrets: Any, name: str | None, common_name: str
) -> None:
    assert shown(secrets, server.address, name) == common_name


@pytest.mark.parametrize("name", ["a.example", "b.example", "exact.wild.example", "localhost"])
def test_our_channel_asks_for_the_name_and_believes_its_certificate_alone(
    server: callmethod.Server, secrets: Any, name: str
) -> None:
    tls = ClientTls(secrets.ca.pem, server_name=name)
    with callmethod.Channel(server.address, protocol=BaiduStd(), tls=tls) as channel:
        assert Numbers_Stub(channel).push(None, Number(value=1)).note == name


def test_a_name_of_which_there_is_no_certificate_is_not_believed(
    server: callmethod.Server, secrets: Any
) -> None:
    tls = ClientTls(secrets.ca.pem, server_name="nobody.example")
    options = callmethod.ChannelOptions(wait_for_ready=False)
    channel = callmethod.Channel(server.address, protocol=BaiduStd(), tls=tls, options=options)
    with channel, pytest.raises(callmethod.RpcError, match="not valid for name"):
        Numbers_Stub(channel).push(None, Number(value=1))
    assert channel.stats()["rejected_total"] == {"certificate_name": 1}


def test_a_reload_may_bring_and_take_names(
    server: callmethod.Server, secrets: Any, issued: dict[str, Any]
) -> None:
    server.reload_tls(server_tls(secrets, {"b.example": issued["b.example"]}))
    assert shown(secrets, server.address, "a.example") == "the server"
    assert shown(secrets, server.address, "b.example") == "b.example"


def test_a_client_that_cannot_do_with_one_key_is_shown_another_for_the_same_name(
    server_factory: Callable[..., callmethod.Server], secrets: Any, issued: dict[str, Any]
) -> None:
    key = rsa.generate_private_key(65537, 2048)
    rsa_one = secrets.ca.issue("by RSA", dns=("a.example",), private_key=key)
    others = [(one.cert, one.key) for one in (issued["a.example"], rsa_one)]
    tls = ServerTls(secrets.server.cert, secrets.server.key, others=others)
    server = server_factory(Says(), protocols=[BaiduStd()], tls=tls)
    assert shown(secrets, server.address, "a.example") == "a.example"
    context = secrets.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0")
    context.check_hostname = False
    host, _, port = server.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as sock,
        context.wrap_socket(sock, server_hostname="a.example") as secure,
    ):
        assert secure.cipher()[0] == "ECDHE-RSA-AES128-GCM-SHA256"


def test_files_for_workers(secrets: Any, issued: dict[str, Any], tmp_path: Path) -> None:
    cert, key = issued["a.example"].write(tmp_path, "a")
    both = tmp_path / "both.pem"
    both.write_bytes(issued["b.example"].key + issued["b.example"].cert)
    own_cert, own_key = secrets.files.server
    tls = ServerTls(own_cert, own_key, others=[(cert, str(key)), (both, None)])
    fields = json.loads(json.dumps(to_fields(tls)))
    assert fields["others"] == [[str(cert), str(key)], [str(both), None]]
    assert to_fields(ServerTls(**fields)) == to_fields(tls)
    with pytest.raises(ValueError, match="others is PEM itself"):
        to_fields(ServerTls(own_cert, own_key, others=[(issued["a.example"].cert, key)]))


@pytest.mark.parametrize(
    ("others", "error", "text"),
    [
        (b"PEM", TypeError, "others must be pairs of cert and key, not bytes"),
        (3, TypeError, "others must be pairs of cert and key, not int"),
        ([b"PEM"], TypeError, r"others\[0\] must be a pair of cert and key"),
        ([(None, None)], TypeError, r"others\[0\]\[0\] must be the name of a file"),
        ([(b"", b"")], ValueError, r"others\[0\]\[0\]=: there is no certificate"),
        ([("/nowhere/a.pem", None)], FileNotFoundError, r"others\[0\]\[0\]="),
    ],
)
def test_what_will_not_do(secrets: Any, others: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ServerTls(secrets.server.cert, secrets.server.key, others=others)


def test_a_certificate_without_names_is_for_nobody(secrets: Any) -> None:
    others = [(secrets.client.cert, secrets.client.key)]
    with pytest.raises(ValueError, match=r"others\[0\]\[0\]=: it is for no DNS name"):
        ServerTls(secrets.server.cert, secrets.server.key, others=others)


def test_a_key_of_anothers(secrets: Any, issued: dict[str, Any]) -> None:
    others = [(issued["a.example"].cert, issued["b.example"].key)]
    with pytest.raises(ValueError, match="is not that of the first certificate"):
        ServerTls(secrets.server.cert, secrets.server.key, others=others)
