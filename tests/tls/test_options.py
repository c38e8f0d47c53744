"""`ServerTls` and `ClientTls`: what will not do is said at once, in one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

import callmethod
from callmethod import ClientTls, ServerTls
from callmethod.tls import to_fields

if TYPE_CHECKING:
    from collections.abc import Callable


def test_files_by_any_kind_of_name_and_both_in_one(secrets: Any, tmp_path: Path) -> None:
    cert, key = secrets.files.server
    ServerTls(str(cert), key, client_ca=str(secrets.files.ca))
    both = tmp_path / "both.pem"
    both.write_bytes(secrets.server.key + secrets.server.cert)
    ServerTls(both)
    ServerTls(both.read_bytes())
    ClientTls(secrets.files.ca, both)
    ClientTls(secrets.ca.pem + secrets.other_ca.pem)


@pytest.mark.parametrize(
    "style", [(PrivateFormat.PKCS8, "PRIVATE"), (PrivateFormat.TraditionalOpenSSL, "EC PRIVATE")]
)
def test_keys_in_either_style(secrets: Any, style: tuple[PrivateFormat, str]) -> None:
    key = secrets.server.private_key.private_bytes(Encoding.PEM, style[0], NoEncryption())
    assert f"BEGIN {style[1]} KEY".encode() in key
    ServerTls(secrets.server.cert, key)


def wrong(secrets: Any) -> dict[str, tuple[Callable[[], object], type[Exception], str]]:
    cert, key, ca = secrets.server.cert, secrets.server.key, secrets.ca.pem
    broken = cert.replace(b"M", b"!", 5)
    foreign = rsa.generate_private_key(65537, 1024).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    return {
        "no such file": (
            lambda: ServerTls("/nowhere/a.pem", key),
            FileNotFoundError,
            'cert="/nowhere/a.pem"',
        ),
        "a folder": (lambda: ServerTls(cert, "/"), IsADirectoryError, "key="),
        "nothing": (lambda: ServerTls(b"", key), ValueError, "cert=: there is no certificate"),
        "a key for a certificate": (lambda: ServerTls(key, key), ValueError, "no certificate"),
        "a broken one": (lambda: ServerTls(broken, key), ValueError, "cert=: no valid PEM"),
        "no key": (lambda: ServerTls(cert), ValueError, "no private key in it, and no key= is"),
        "a certificate for a key": (lambda: ServerTls(cert, cert), ValueError, "no private key"),
        "an encrypted key": (
            lambda: ServerTls(cert, secrets.server.encrypted_key()),
            ValueError,
            "key=: the private key is encrypted; give it decrypted",
        ),
        "another's key": (
            lambda: ServerTls(cert, secrets.client.key),
            ValueError,
            "the key in key= is not that of the first certificate in cert=",
        ),
        "a weak key": (lambda: ServerTls(cert, foreign), ValueError, "RSA from 2048 bits on"),
        "no CA": (lambda: ServerTls(cert, key, client_ca=key), ValueError, "client_ca=: there is"),
        "a list that is none": (
            lambda: ServerTls(cert, key, client_ca=ca, crl=ca),
            ValueError,
            "crl=: there is no certificate revocation list",
        ),
        "a list without a CA": (
            lambda: ServerTls(cert, key, crl=secrets.ca.crl()),
            ValueError,
            "client_ca= is not given",
        ),
        "text for a file": (lambda: ServerTls(cert.decode(), key), TypeError, "given as bytes"),
        "a number": (lambda: ClientTls(7), TypeError, "ca must be the name of a file"),
        "no CA at all": (lambda: ClientTls(None), TypeError, "not NoneType"),
        "a key alone": (lambda: ClientTls(ca, key=key), ValueError, "without cert="),
        "no name": (
            lambda: ClientTls(ca, server_name="no name"),
            ValueError,
            "neither a DNS name nor an IP address",
        ),
        "a name that is none": (lambda: ClientTls(ca, server_name=1), TypeError, "server_name"),
        "yes": (
            lambda: ServerTls(cert, key, also_plain="yes"),
            TypeError,
            "also_plain must be True or False",
        ),
    }


def test_what_will_not_do(secrets: Any, subtests: Any) -> None:
    for kind, (make, error, text) in wrong(secrets).items():
        with subtests.test(kind):
            with pytest.raises(error) as caught:
                make()
            assert text in str(caught.value)
            assert "\n" not in str(caught.value)


def test_no_option_shows_a_key(secrets: Any) -> None:
    for options in (secrets.server_tls(), secrets.client_tls()):
        assert "PRIVATE" not in repr(options)


def test_options_in_the_wrong_place(secrets: Any, answers: Any) -> None:
    with pytest.raises(TypeError, match=r"tls must be callmethod.ServerTls\(...\), not ClientTls"):
        callmethod.Server(tls=secrets.client_tls())
    with pytest.raises(TypeError, match=r"tls must be callmethod.ClientTls\(...\), not ServerTls"):
        callmethod.Channel("127.0.0.1:1", tls=secrets.server_tls())
    with pytest.raises(TypeError, match="not bool"):
        callmethod.Channel("127.0.0.1:1", tls=True)
    with pytest.raises(ValueError, match="length_width=2"):
        callmethod.Server(
            protocols=[callmethod.Indexed(length_width=2)], tls=secrets.server_tls(also_plain=True)
        )
    callmethod.Server(protocols=[callmethod.Indexed(length_width=2)], tls=secrets.server_tls())


def test_serve_takes_names_of_files_only(secrets: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"serve\(\) takes the names of files, and cert is PEM"):
        callmethod.serve("module:factory", tls=secrets.server_tls())
    cert, key = secrets.files.server
    monkeypatch.chdir(cert.parent)
    fields = to_fields(ServerTls(cert.name, Path(key.name), also_plain=True))
    assert fields == {
        "cert": str(cert),
        "key": str(key),
        "require_client_certificate": True,
        "also_plain": True,
    }
