"""The classes of services as a `.pyi` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callmethod.codegen.names import can_be_declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from google.protobuf.descriptor_pb2 import MethodDescriptorProto, ServiceDescriptorProto

    from callmethod.codegen.names import Imports

__all__ = ["class_lines", "left_out", "stub_name", "written"]

INDENT = "    "
TAKEN = frozenset(
    {"CallMethod", "DESCRIPTOR", "GetDescriptor", "GetRequestClass", "GetResponseClass"}
    | {"rpc_channel"}
)
"""What service and stub classes have beside the methods of their service."""


def stub_name(service: str) -> str:
    """Return what the stub of a service is called."""
    return f"{service}_Stub"


def left_out(method: MethodDescriptorProto) -> str | None:
    """Return why a method is not declared, or None."""
    if method.client_streaming or method.server_streaming:
        return "it streams, which callmethod's wires do not carry"
    if not can_be_declared(method.name):
        return "its name is a keyword of Python; getattr() has it"
    if method.name in TAKEN or (method.name.startswith("__") and method.name.endswith("__")):
        return "its name is that of something that every service or stub has"
    return None


def written(proto: str, lines: Iterable[str]) -> str:
    """Return the text of a file, with a head that says where it comes from."""
    return "\n".join((f"# Written by callmethod from {proto}. Not to be edited.", *lines, ""))


def class_lines(services: Sequence[ServiceDescriptorProto], imports: Imports) -> Iterator[str]:
    """Give the two classes of each service.

    A service that is called like the stub of another one has the name, as in `callmethod.services`.
    """
    names = {service.name for service in services}
    for service in services:
        stub = stub_name(service.name)
        if not can_be_declared(service.name):
            yield f"# {service.name}: its name is a keyword of Python; getattr() has it."
            continue
        yield from _service(service, imports)
        if stub in names:
            yield f"# The stub of {service.name}: another service has its name."
        else:
            yield from _stub(service, imports)


def _service(service: ServiceDescriptorProto, imports: Imports) -> Iterator[str]:
    """Give the class that is subclassed to serve."""
    yield ""
    yield f"class {service.name}({imports.module('callmethod.service')}.Service):"
    for method in service.method:
        yield from (INDENT + line for line in _handler(method, imports))
    yield from _descriptor(imports)


def _stub(service: ServiceDescriptorProto, imports: Imports) -> Iterator[str]:
    """Give the class that calls.

    At run time it derives from the service class, too. Here it does not, so that a stub is not
    taken for something to be served.
    """
    name, stubs = stub_name(service.name), imports.module("callmethod.stubs")
    aio, typing = imports.module("callmethod.aio"), imports.module("typing")
    channels = {
        "Awaited": f"{aio}.AwaitableChannel",
        "OneWay": f"{stubs}.OneWayChannel",
        "Blocking": f"{stubs}.AnyChannel",
    }
    yield ""
    yield f"class {name}({stubs}.Stub[{stubs}.Face]):"
    for face, channel in channels.items():
        me = f"self: {name}[{stubs}.{face}]"
        yield f"{INDENT}@{typing}.overload"
        yield f"{INDENT}def __init__({me}, rpc_channel: {channel}) -> None: ..."
    for method in service.method:
        if reason := left_out(method):
            yield f"{INDENT}# {method.name}: {reason}."
        else:
            request, response = imports.type(method.input_type), imports.type(method.output_type)
            kind = f"{stubs}.Method[{request}, {response}]"
            yield f"{INDENT}{method.name}: {typing}.ClassVar[{kind}]"
    yield from _descriptor(imports)


def _handler(method: MethodDescriptorProto, imports: Imports) -> Iterator[str]:
    if reason := left_out(method):
        yield f"# {method.name}: {reason}."
        return
    abc = imports.module("collections.abc")
    request, response = imports.type(method.input_type), imports.type(method.output_type)
    yield f"def {method.name}("
    yield f"{INDENT}self,"
    yield f"{INDENT}rpc_controller: {imports.module('callmethod')}.ServerController,"
    yield f"{INDENT}request: {request},"
    yield f"{INDENT}done: {abc}.Callable[[{response} | None], None],"
    # Passed by position: what yours are called is up to you.
    yield f"{INDENT}/,"
    yield f") -> {response} | None | {abc}.Awaitable[{response} | None]: ..."


def _descriptor(imports: Imports) -> Iterator[str]:
    kind = f"{imports.module('google.protobuf.descriptor')}.ServiceDescriptor"
    yield f"{INDENT}DESCRIPTOR: {imports.module('typing')}.ClassVar[{kind}]"
    yield f"{INDENT}@{imports.builtin('staticmethod')}"
    yield f"{INDENT}def GetDescriptor() -> {kind}: ..."
