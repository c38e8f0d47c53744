"""Calls with messages that are bytes: what of a stub a command needs."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from callmethod.channel import Channel
from callmethod.cli import arguments, tls
from callmethod.cli.failure import Exit, Failure, status_of
from callmethod.cli.terminal import printable
from callmethod.errors import RpcError
from callmethod.options import ChannelOptions

if TYPE_CHECKING:
    import argparse

    from callmethod.cli.descriptors import Method
    from callmethod.controller import Controller

TIMEOUT_SECONDS = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how a server is reached."""
    group = parser.add_argument_group("how the server is reached")
    group.add_argument(
        "--protocol", type=arguments.protocol, default="baidu_std",
        metavar="NAME[:KEY=VALUE,...]", help=arguments.PROTOCOL_HELP,
    )  # fmt: skip
    group.add_argument(
        "--timeout", type=arguments.seconds, default=TIMEOUT_SECONDS, metavar="SECONDS",
        help="for each call, connecting included (default: %(default)g)",
    )  # fmt: skip
    group.add_argument(
        "--wait", action="store_true", help="wait for a server that is not there yet"
    )
    group.add_argument(
        "--credential", metavar="TEXT", help="says who calls (brpc's authentication_data)"
    )
    tls.add_client_arguments(parser)


def connect(args: argparse.Namespace) -> Channel:
    """Return a channel to `args.target`.

    Raises:
        Failure: the target or an option is wrong.
    """
    credential = None if args.credential is None else args.credential.encode()
    options = ChannelOptions(
        timeout=args.timeout, wait_for_ready=args.wait, credential=credential, max_retry=0
    )
    try:
        return Channel(
            args.target, protocol=args.protocol, options=options, tls=tls.of_client(args)
        )
    except ValueError as error:
        raise Failure(Exit.USAGE, _by_option(error)) from None


def _by_option(error: Exception) -> str:
    """Return what is wrong, with options in the place of what a program would give."""
    text = str(error).replace("by server_name=", "by --server-name")
    return text.replace("; give it tls=", "; see --tls and --ca")


@dataclasses.dataclass(frozen=True)
class _Type:
    """A message type, as far as a channel asks: it cannot lack fields."""

    full_name: str
    is_extendable: bool = False
    fields: tuple[()] = ()


@dataclasses.dataclass(frozen=True)
class _Service:
    full_name: str


@dataclasses.dataclass(frozen=True)
class _Descriptor:
    """A method, as far as a channel asks."""

    name: str
    full_name: str
    index: int
    containing_service: _Service
    input_type: _Type


@dataclasses.dataclass(frozen=True)
class _Request:
    DESCRIPTOR: _Type
    body: bytes

    def SerializeToString(self) -> bytes:
        return self.body


@dataclasses.dataclass(frozen=True)
class _Response:
    """The class of a response, as far as a channel asks."""

    DESCRIPTOR: _Type

    def FromString(self, body: bytes) -> bytes:
        return body


def call(
    channel: Channel, method: Method, body: bytes, controller: Controller | None = None
) -> bytes | None:
    """Call a method; the response is None on a wire without answers.

    Raises:
        Failure: the call failed, or cannot be made on this protocol.
    """
    type_ = _Type(method.input)
    descriptor = _Descriptor(
        method.name, str(method), method.index, _Service(method.service), type_
    )
    response: Any = _Response(_Type(method.output))
    try:
        answer: bytes | None = channel.CallMethod(
            descriptor, controller, _Request(type_, body), response, None
        )
    except RpcError as error:
        raise Failure(status_of(error.code), printable(_by_option(error))) from error
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    return answer
