"""Descriptors from the server itself, by its reflection service."""

from __future__ import annotations

import base64
import functools
import json
from typing import TYPE_CHECKING, Any

from callmethod import _core
from callmethod.cli import connecting
from callmethod.cli.descriptors import Method, linked
from callmethod.cli.failure import Exit, Failure, status_of
from callmethod.cli.terminal import printable
from callmethod.errors import Code
from callmethod.protocols import traits_of
from callmethod.reflection import PROTOS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from callmethod.channel import Channel
    from callmethod.protocols import Protocol

SERVICE = "grpc.reflection.v1.ServerReflection"
REQUEST = "grpc.reflection.v1.ServerReflectionRequest"
RESPONSE = "grpc.reflection.v1.ServerReflectionResponse"
METHOD = Method(SERVICE, "ServerReflectionInfo", 0, REQUEST, RESPONSE)

INSTEAD = "say what it serves by --proto, --module or --descriptor-set"


@functools.cache
def _messages() -> _core.MessagePool:
    path = "grpc/reflection/v1/reflection.proto"
    _, files = _core.compile_protos([path], [PROTOS], comments=False)
    return _core.MessagePool(files)


class Reflected:
    """A server that is asked for its descriptors."""

    def __init__(self, channel: Channel, protocol: Protocol) -> None:
        """Ask over `channel`.

        Raises:
            Failure: the protocol has no answers.
        """
        if not traits_of(protocol).answers:
            text = f"{protocol.name} without answers cannot ask the server; {INSTEAD}"
            raise Failure(Exit.DESCRIPTORS, text)
        self._channel = channel

    def _ask(self, **question: str) -> dict[str, Any]:
        body = _messages().parse_json(REQUEST, json.dumps(question))
        try:
            answer = connecting.call(self._channel, METHOD, body)
        except Failure as failure:
            if failure.status != status_of(Code.UNIMPLEMENTED):
                raise
            text = f"{self._channel.target} has no reflection; {INSTEAD}"
            raise Failure(Exit.DESCRIPTORS, text) from None
        try:
            response: dict[str, Any] = json.loads(_messages().to_json(RESPONSE, answer or b""))
        except ValueError as error:
            raise Failure(Exit.DESCRIPTORS, f"reflection answered nonsense: {error}") from None
        return response

    def services(self) -> list[str]:
        """Return the full names of the services."""
        answer = self._ask(listServices="")
        services = answer.get("listServicesResponse", {}).get("service", [])
        return [service.get("name", "") for service in services]

    def files(self, symbol: str) -> list[bytes]:
        """Return the file that declares `symbol` and all it imports.

        Raises:
            Failure: the server knows no such name.
        """
        answer = self._ask(fileContainingSymbol=symbol)
        if "errorResponse" in answer:
            text = answer["errorResponse"].get("errorMessage", f"nothing is called {symbol}")
            raise Failure(Exit.NAME, printable(f"{self._channel.target}: {text}"))
        files = answer.get("fileDescriptorResponse", {}).get("fileDescriptorProto", [])
        return [base64.b64decode(file) for file in files]

    def pool(self, symbols: Iterable[str]) -> _core.MessagePool:
        """Return what declares all of `symbols`."""
        files: dict[bytes, None] = {}
        for symbol in symbols:
            files |= dict.fromkeys(self.files(symbol))
        return linked(files)

    def method(self, name: str) -> _core.MessagePool:
        """Return what declares the service of the method called `name`.

        Raises:
            Failure: there is no such service.
        """
        service = name.replace("/", ".").rpartition(".")[0]
        known = self.services()
        if service not in known:
            return self.pool(known)
        return self.pool([service])
