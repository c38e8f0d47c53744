"""`protoc-gen-callmethod`: protoc runs it for `--callmethod_out=folder`.

For `game/player.proto` with services it writes `game/player_callmethod.py`, which makes the classes
of `callmethod.services`, and `game/player_callmethod.pyi`, which types them. The messages are those
of `--python_out`. A file without services gives nothing.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from google.protobuf import descriptor_pb2
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse

from callmethod.codegen.names import Imports, Names, can_be_declared
from callmethod.codegen.service_types import class_lines, left_out, stub_name, written
from callmethod.service_classes import module_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from google.protobuf.descriptor_pb2 import FileDescriptorProto

__all__ = ["answer", "main"]

PROTO2_EDITION = 998
"""The first number of an edition, by which proto2 goes (descriptor.proto)."""
TESTING_EDITIONS = 90000
"""Numbers of editions from here on are for protobuf's own tests."""
EDITIONS_SUPPORTED = 2
"""CodeGeneratorResponse.FEATURE_SUPPORTS_EDITIONS, of which protobuf 4 knows no more."""


def answer(request: CodeGeneratorRequest) -> CodeGeneratorResponse:
    """Return the files that are asked for."""
    response = CodeGeneratorResponse()
    response.supported_features = CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL | EDITIONS_SUPPORTED
    if "maximum_edition" in CodeGeneratorResponse.DESCRIPTOR.fields_by_name:
        editions = descriptor_pb2.Edition.values()
        response.minimum_edition = PROTO2_EDITION
        response.maximum_edition = max(each for each in editions if each < TESTING_EDITIONS)
    if request.parameter:
        response.error = f"callmethod takes no options, and was given {request.parameter!r}"
        return response
    names, wanted = Names(request.proto_file), set(request.file_to_generate)
    for file in request.proto_file:
        if file.name in wanted and file.service:
            module = _module(file.name)
            place = module.replace(".", "/")
            imports = Imports(names)
            body = list(class_lines(file.service, imports))
            response.file.add(name=f"{place}.py", content=written(file.name, _code(file)))
            response.file.add(
                name=f"{place}.pyi", content=written(file.name, imports.lines() + body)
            )
    return response


def warnings(request: CodeGeneratorRequest) -> Iterator[str]:
    """Say which methods are not declared, and why."""
    wanted = set(request.file_to_generate)
    for file in request.proto_file:
        for service in file.service if file.name in wanted else ():
            for method in service.method:
                if reason := left_out(method):
                    yield f"{file.name}: {service.name}.{method.name} is left out: {reason}"


def _module(proto: str) -> str:
    return module_name(proto).removesuffix("_pb2") + "_callmethod"


def _code(file: FileDescriptorProto) -> Iterator[str]:
    """Give the lines of the module; that of the messages may have a keyword in its name."""
    yield f'"""Service and stub classes of {file.name}."""'
    yield "import importlib as _importlib"
    yield "import callmethod as _callmethod"
    yield ""
    messages = module_name(file.name)
    yield f"_services = _callmethod.services(_importlib.import_module({messages!r}))"
    names = [name for each in file.service for name in (each.name, stub_name(each.name))]
    for name in dict.fromkeys(names):
        here = name if can_be_declared(name) else f"globals()[{name!r}]"
        yield f"{here} = _services[{name!r}]"


def main() -> None:
    """Answer protoc: the request comes in on stdin, the response goes out on stdout."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    for warning in warnings(request):
        sys.stderr.write(f"protoc-gen-callmethod: {warning}\n")
    sys.stdout.buffer.write(answer(request).SerializeToString())
