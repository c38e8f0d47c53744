"""TLS: the options of both ends, and what one end knows of the other by it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from callmethod import _core

__all__ = ["Certificate", "ClientTls", "Pem", "ServerTls", "TlsInfo"]

Pem: TypeAlias = str | os.PathLike[str] | bytes
"""The name of a file in PEM (RFC 7468), or what such a file holds, as bytes."""


@dataclasses.dataclass(frozen=True)
class ServerTls:
    """How a server speaks TLS, 1.2 or 1.3. Files are read when this is made, and at each reload.

    Attributes:
        cert: the server's certificate, then those of the CAs between it and a root.
        key: its private key, not encrypted; None if it stands beside the certificate.
        others: certificates of other names at the same port, each with its key, as pairs of what
            `cert` and `key` take. A client is shown the one that is for the name that it asks for
            (SNI), and `cert` if there is none.
        client_ca: the CAs that vouch for clients. With it, clients are asked for certificates.
        crl: lists of revoked certificates, one of each CA that signed one of a client's chain. A
            certificate whose CA has none here, or one that should have been renewed, is refused.
        require_client_certificate: whether a client without a certificate is refused, where
            `client_ca` is given.
        also_plain: whether callers without TLS are served at the same port; their first bytes tell.

    Raises:
        OSError: a file cannot be read.
        TypeError: something of the wrong kind.
        ValueError: no PEM, an encrypted key, a key that does not belong to the certificate; a list
            of revoked certificates without a CA.
    """

    cert: Pem = dataclasses.field(repr=False)
    key: Pem | None = dataclasses.field(default=None, repr=False)
    _: dataclasses.KW_ONLY
    others: Sequence[tuple[Pem, Pem | None]] = dataclasses.field(default=(), repr=False)
    client_ca: Pem | None = None
    crl: Pem | None = None
    require_client_certificate: bool = True
    also_plain: bool = False

    def __post_init__(self) -> None:
        """Read and check everything."""
        _check_pems(self, required=("cert",), optional=("key", "client_ca", "crl"))
        _check_pairs(self.others)
        if self.crl is not None and self.client_ca is None:
            raise ValueError("crl= is about clients' certificates, and client_ca= is not given")
        for name in ("require_client_certificate", "also_plain"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, not {getattr(self, name)!r}")
        _core.check_server_tls(self)


@dataclasses.dataclass(frozen=True)
class ClientTls:
    """How a channel speaks TLS, 1.2 or 1.3. Files are read when this is made, and at each reload.

    Attributes:
        ca: the CAs that vouch for servers. Nobody is trusted beside them.
        cert: the client's certificate, then those of the CAs between it and a root.
        key: its private key, not encrypted; None if it stands beside the certificate.
        crl: lists of revoked certificates, as for `ServerTls`.
        server_name: a DNS name or IP address that the server's certificate must be for; the host
            of the channel's target, if not given.

    Raises:
        OSError: a file cannot be read.
        TypeError: something of the wrong kind.
        ValueError: no PEM, an encrypted key, a key that does not belong to the certificate, a name
            that is none.
    """

    ca: Pem
    cert: Pem | None = dataclasses.field(default=None, repr=False)
    key: Pem | None = dataclasses.field(default=None, repr=False)
    _: dataclasses.KW_ONLY
    crl: Pem | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Read and check everything."""
        _check_pems(self, required=("ca",), optional=("cert", "key", "crl"))
        if self.key is not None and self.cert is None:
            raise ValueError("key= is given without cert=, the certificate that it belongs to")
        if self.server_name is not None and not isinstance(self.server_name, str):
            raise TypeError(f"server_name must be a name, not {self.server_name!r}")
        _core.check_client_tls(self)


@dataclasses.dataclass(frozen=True)
class Certificate:
    """The names in a peer's certificate, which was verified (RFC 5280).

    Attributes:
        subject: the subject, as RFC 4514 writes it.
        common_name: the subject's CN.
        dns_names: DNS names among the subject alternative names.
        uris: URIs among them; SPIFFE ids, for one.
        ip_addresses: IP addresses among them.
        email_addresses: mail addresses among them.
        issuer: the CA that signed it, as RFC 4514 writes it.
        serial_number: as hexadecimal bytes with colons.
        not_after: when it expires.
        der: the whole certificate.
    """

    subject: str
    common_name: str | None
    dns_names: tuple[str, ...]
    uris: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    email_addresses: tuple[str, ...]
    issuer: str
    serial_number: str
    not_after: dt.datetime
    der: bytes = dataclasses.field(repr=False)


@dataclasses.dataclass(frozen=True)
class TlsInfo:
    """How a connection is secured, and whom the peer has proven to be.

    Attributes:
        version: `TLSv1.3` or `TLSv1.2`.
        cipher: name of the cipher suite at IANA.
        server_name: the server's name as the client gave it (SNI); None at the client.
        certificate: the peer's; None for a client that showed none.
    """

    version: str
    cipher: str
    server_name: str | None
    certificate: Certificate | None


def from_core(
    names: tuple[str, str | None, list[str], list[str], list[str], list[str]],
    issued: tuple[str, str, int, bytes],
) -> Certificate:
    """Return what the core read in a certificate."""
    subject, common_name, dns_names, uris, ip_addresses, email_addresses = names
    issuer, serial_number, not_after, der = issued
    return Certificate(
        subject=subject,
        common_name=common_name,
        dns_names=tuple(dns_names),
        uris=tuple(uris),
        ip_addresses=tuple(ip_addresses),
        email_addresses=tuple(email_addresses),
        issuer=issuer,
        serial_number=serial_number,
        not_after=dt.datetime.fromtimestamp(not_after, dt.timezone.utc),
        der=der,
    )


def _check_pems(options: object, *, required: tuple[str, ...], optional: tuple[str, ...]) -> None:
    for name in required + optional:
        value = getattr(options, name)
        if value is not None or name in required:
            _check_pem(name, value)


def _check_pem(name: str, value: object) -> None:
    if not isinstance(value, (str, bytes, os.PathLike)):
        kind = type(value).__name__
        raise TypeError(f"{name} must be the name of a file, or PEM as bytes, not {kind}")
    if isinstance(value, str) and "-----BEGIN" in value:
        raise TypeError(f"{name} is the name of a file; PEM itself is given as bytes")


def _check_pairs(others: object) -> None:
    if not isinstance(others, Sequence) or isinstance(others, (str, bytes)):
        raise TypeError(f"others must be pairs of cert and key, not {type(others).__name__}")
    for place, pair in enumerate(others):
        match pair:
            case (cert, key):
                _check_pem(f"others[{place}][0]", cert)
                if key is not None:
                    _check_pem(f"others[{place}][1]", key)
            case _:
                raise TypeError(f"others[{place}] must be a pair of cert and key")


def check_server(tls: object) -> None:
    """Raise TypeError unless `tls` is None or how a server speaks TLS."""
    if tls is not None and not isinstance(tls, ServerTls):
        raise TypeError(f"tls must be callmethod.ServerTls(...), not {type(tls).__name__}")


def to_fields(tls: ServerTls) -> dict[str, Any]:
    """Return the fields that are set, as a command line can carry them.

    Raises:
        ValueError: there is PEM among them: others can read a command line, and a worker that
            starts later is to read the files of then.
    """
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(tls):
        value: Pem | bool | Sequence[tuple[Pem, Pem | None]] | None = getattr(tls, field.name)
        if isinstance(value, bool):
            fields[field.name] = value
        elif isinstance(value, (str, bytes, os.PathLike)):
            fields[field.name] = _file(field.name, value)
        elif value:
            fields[field.name] = [
                [None if pem is None else _file(field.name, pem) for pem in pair] for pair in value
            ]
    return fields


def _file(field: str, pem: Pem) -> str:
    if isinstance(pem, bytes):
        raise ValueError(  # noqa: TRY004  (of the right type, and in the wrong place)
            f"serve() takes the names of files, and {field} is PEM itself; write it into a file "
            "that only this user can read"
        )
    return str(Path(pem).absolute())


def check_client(tls: object) -> None:
    """Raise TypeError unless `tls` is None or how a channel speaks TLS."""
    if tls is not None and not isinstance(tls, ClientTls):
        raise TypeError(f"tls must be callmethod.ClientTls(...), not {type(tls).__name__}")
