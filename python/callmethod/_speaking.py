"""What is spoken at a server's port."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callmethod._binding import check_width, table_of
from callmethod.protocols import (
    BaiduStd,
    Hulu,
    Indexed,
    Protocol,
    Sofa,
    check_protocol,
    traits_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

REFLECTION = "grpc.reflection.v1.ServerReflection"
"""The service that tells what the others are: who calls it names it."""


def spoken(
    protocols: Sequence[Protocol] | None, *, credentials: bool, sniffed: bool
) -> list[Protocol]:
    """Return the protocols in the order in which they are looked for.

    With `credentials` each can carry one; with `sniffed` something else is spoken at the port, too.
    """
    if protocols is None:
        known: list[Protocol] = [BaiduStd(), Hulu(), Sofa(), Indexed()]
        return [one for one in known if traits_of(one).credentials or not credentials]
    if isinstance(protocols, (BaiduStd, Hulu, Sofa, Indexed)):
        raise TypeError(f"protocols is a list: protocols=[callmethod.{protocols!r}]")
    given = [check_protocol(protocol) for protocol in protocols]
    if not given:
        raise ValueError("a server speaks one protocol or more; protocols=[] names none")
    kinds = {type(protocol) for protocol in given}
    if len(kinds) < len(given):
        raise ValueError(f"a port speaks one layout of each protocol, not all of {given}")
    for protocol in given:
        if credentials and not traits_of(protocol).credentials:
            raise ValueError(
                f"{protocol} has no place for a credential, so that authenticate= could not hold; "
                "one that takes a context can go by certificates, ServerTls(client_ca=...)"
            )
        shares = sniffed or len(given) > 1
        if isinstance(protocol, Indexed) and shares and protocol.length_width == 2:  # noqa: PLR2004
            raise ValueError(
                "Indexed(length_width=2) cannot share a port: its lengths look like other "
                "protocols' first bytes"
            )
    # What is known by a plausible length comes after what is known by a magic number.
    return sorted(given, key=lambda protocol: isinstance(protocol, Indexed))


def nameless_service(
    protocols: Sequence[Protocol], services: Sequence[Any], *, factories: int
) -> str | None:
    """Return which service the indexed protocol means, where that must be said."""
    indexed = [protocol for protocol in protocols if isinstance(protocol, Indexed)]
    if not indexed:
        return None
    (protocol,) = indexed
    names = [service.GetDescriptor().full_name for service in services]
    name = protocol.service
    if name is None:
        meant = [name for name in names if name != REFLECTION]
        if len(meant) == 1 and len(names) > 1 and not factories:
            (name,) = meant
        elif len(services) + factories > 1:
            raise ValueError(
                "the indexed protocol serves one service; name it by Indexed(service=...), or "
                "leave the protocol out: protocols=[callmethod.BaiduStd()]"
            )
    means = [service for service in services if name in {None, service.GetDescriptor().full_name}]
    # What a factory makes is known when it has made it.
    if not means and not factories:
        raise ValueError(f"Indexed(service={name!r}): there are only {names}")
    for service in means:
        check_width(table_of(service), protocol)
    return name
