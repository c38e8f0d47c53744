"""TLS on the command line: the options of those that call, and of `serve`."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, TypeVar

from callmethod.cli.failure import Exit, Failure
from callmethod.tls import ClientTls, ServerTls

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

Options = TypeVar("Options", ClientTls, ServerTls)


def add_client_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a caller."""
    group = parser.add_argument_group("TLS, spoken if any of these is given; files are PEM")
    group.add_argument(
        "--tls", action="store_true", help="trust the CAs of the system, unless --ca says whom"
    )
    group.add_argument("--ca", metavar="FILE", help="trust these CAs and no others")
    group.add_argument("--cert", metavar="FILE", help="the certificate to be shown, with its chain")
    group.add_argument("--key", metavar="FILE", help="its private key, if not in the same file")
    group.add_argument(
        "--server-name", metavar="NAME",
        help="whom the server's certificate must be for (default: the host)",
    )  # fmt: skip


def of_client(args: argparse.Namespace) -> ClientTls | None:
    """Return how TLS is spoken to a server, if it is.

    Raises:
        Failure: a file cannot be read, or is not what it should be.
    """
    if not (args.tls or args.ca or args.cert or args.key or args.server_name):
        return None
    ca = args.ca or ssl.get_default_verify_paths().cafile
    if ca is None:
        raise Failure(Exit.USAGE, "this system's CAs are in no file that Python knows; use --ca")
    return _checked(
        lambda: ClientTls(ca, args.cert, args.key, server_name=args.server_name),
    )


def add_server_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a server."""
    group = parser.add_argument_group("TLS; files are PEM, and read again when workers are renewed")
    group.add_argument(
        "--tls", metavar="FILE", help="speak TLS with the certificate in it, its chain behind it"
    )
    group.add_argument("--key", metavar="FILE", help="its private key, if not in the same file")
    group.add_argument(
        "--client-ca", metavar="FILE", help="ask clients for certificates of these CAs"
    )


def of_server(args: argparse.Namespace) -> ServerTls | None:
    """Return how TLS is spoken by a server, if it is.

    Raises:
        Failure: a file cannot be read, or is not what it should be; options without --tls.
    """
    if args.tls is None:
        if args.key or args.client_ca:
            raise Failure(Exit.USAGE, "--key and --client-ca belong to --tls FILE")
        return None
    return _checked(lambda: ServerTls(args.tls, args.key, client_ca=args.client_ca))


def _checked(make: Callable[[], Options]) -> Options:
    try:
        return make()
    except OSError as error:
        raise Failure(Exit.USAGE, str(error.strerror)) from None
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from None
