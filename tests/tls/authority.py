"""Certificates for the tests of TLS, made in the run and thrown away with it."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

DAY = dt.timedelta(days=1)


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


def name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "callmethod tests"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


@dataclasses.dataclass(frozen=True)
class Issued:
    """A certificate and its key; the chain follows the certificate in `cert`."""

    certificate: x509.Certificate
    private_key: Any
    cert: bytes
    key: bytes

    def encrypted_key(self) -> bytes:
        return self.private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Write both into files; replaced in one step, as who renews certificates does."""
        paths = folder / f"{stem}.pem", folder / f"{stem}.key"
        for path, text in zip(paths, (self.cert, self.key), strict=True):
            new = path.with_suffix(".new")
            new.write_bytes(text)
            new.replace(path)
        return paths


def key_identifier_of(issuer: Authority) -> x509.AuthorityKeyIdentifier:
    """Say by which key a certificate is signed, which clients of Python 3.13 want to know."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.private_key.public_key())


class Authority:
    """A CA, at the root or below `parent`."""

    def __init__(self, common_name: str = "a root", parent: Authority | None = None) -> None:
        self.private_key = ec.generate_private_key(ec.SECP256R1())
        self.subject = name(common_name)
        self.parent = parent
        signer = parent or self
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self.subject)
            .issuer_name(signer.subject)
            .public_key(self.private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now() - DAY)
            .not_valid_after(now() + 30 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(key_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self.private_key.public_key()),
                critical=False,
            )
            .add_extension(key_identifier_of(signer), critical=False)
        )
        self.certificate = certificate.sign(signer.private_key, hashes.SHA256())

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    def issue(
        self,
        common_name: str,
        *,
        dns: tuple[str, ...] = (),
        ips: tuple[str, ...] = (),
        uris: tuple[str, ...] = (),
        emails: tuple[str, ...] = (),
        expired: bool = False,
        early: bool = False,
        private_key: Any = None,
    ) -> Issued:
        """Sign a certificate, of a server where it has names of hosts, else of a client."""
        private_key = private_key or ec.generate_private_key(ec.SECP256R1())
        serves = dns or ips
        use = ExtendedKeyUsageOID.SERVER_AUTH if serves else ExtendedKeyUsageOID.CLIENT_AUTH
        begin = now() + DAY if early else now() - 3 * DAY
        end = now() - DAY if expired else now() + 3 * DAY
        alternatives: list[x509.GeneralName] = [x509.DNSName(one) for one in dns]
        alternatives += [x509.IPAddress(ipaddress.ip_address(one)) for one in ips]
        alternatives += [x509.UniformResourceIdentifier(one) for one in uris]
        alternatives += [x509.RFC822Name(one) for one in emails]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name(common_name))
            .issuer_name(self.subject)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(key_identifier_of(self), critical=False)
        )
        if alternatives:
            names = x509.SubjectAlternativeName(alternatives)
            certificate = certificate.add_extension(names, critical=False)
        signed = certificate.sign(self.private_key, hashes.SHA256())
        chain = b"" if self.parent is None else self.pem
        key = private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return Issued(signed, private_key, signed.public_bytes(Encoding.PEM) + chain, key)

    def crl(self, *revoked: Issued, stale: bool = False) -> bytes:
        """A list of revoked certificates; a stale one should have been renewed yesterday."""
        until = now() - DAY if stale else now() + DAY
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.subject)
            .last_update(now() - 2 * DAY)
            .next_update(until)
            .add_extension(x509.CRLNumber(1), critical=False)
            .add_extension(key_identifier_of(self), critical=False)
        )
        for one in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder()
                .serial_number(one.certificate.serial_number)
                .revocation_date(now() - DAY)
                .build()
            )
        return builder.sign(self.private_key, hashes.SHA256()).public_bytes(Encoding.PEM)


def key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
