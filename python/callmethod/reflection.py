"""Server reflection: a service by which clients learn what a server serves.

Its messages are gRPC's (`grpc.reflection.v1.ServerReflection`), one request for one response.
Nobody gets it unasked: `server.add_service(callmethod.reflection.service(server))`.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callmethod.errors import Code
from callmethod.loading import load
from callmethod.schema import files_of
from callmethod.server import Server, services_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from google.protobuf.descriptor import FileDescriptor

    from callmethod import aio
    from callmethod.loading import Loaded

__all__ = ["service"]

PROTOS = Path(__file__).parent / "protos"


@functools.cache
def _module() -> Loaded:
    """Return the messages, in a pool of their own: other packages register the same file."""
    return load("grpc/reflection/v1/reflection.proto", include=PROTOS)


def service(of: Server | aio.Server | Iterable[Any]) -> Any:
    """Return the reflection service for a server, to be added to it, or for some services.

    It tells what is served when it is asked, itself included: services' names, and the files that
    declare them with all they import. What else the process has loaded is not told. Services that
    a factory makes for each connection are not known to it.

    Raises:
        ModuleNotFoundError: protobuf is not installed.
        TypeError: `of` is neither a server nor services.
    """
    module: Any = _module()
    given: Any = getattr(of, "server", of)
    services = None if isinstance(given, Server) else [*given]
    for each in services or ():
        if not callable(getattr(each, "GetDescriptor", None)):
            raise TypeError(f"{type(each).__name__} is no service: it has no GetDescriptor()")

    def answer(self: Any, _controller: Any, request: Any, done: Any) -> None:
        served = services_of(given) if services is None else [*services, self]
        response = module.ServerReflectionResponse(
            valid_host=request.host, original_request=request
        )
        try:
            _answer(request, response, [each.GetDescriptor() for each in served])
        except LookupError as error:
            response.error_response.error_code = Code.NOT_FOUND.value
            response.error_response.error_message = str(error.args[0])
        except ValueError as error:
            response.error_response.error_code = Code.INVALID_ARGUMENT.value
            response.error_response.error_message = str(error)
        done(response)

    namespace = {"ServerReflectionInfo": answer, "__module__": __name__}
    return type("ServerReflection", (module.ServerReflection,), namespace)()


def _answer(request: Any, response: Any, services: list[Any]) -> None:
    """Fill the response in.

    Raises:
        LookupError: nothing is called so.
        ValueError: nothing was asked.
    """
    asked = request.WhichOneof("message_request")
    if asked == "list_services":
        for name in sorted(each.full_name for each in services):
            response.list_services_response.service.add(name=name)
        return
    files = [each.file for each in services]
    if asked == "file_by_filename":
        found = _file_named(files, request.file_by_filename)
    elif asked == "file_containing_symbol":
        found = _file_with(files, request.file_containing_symbol)
    elif asked == "file_containing_extension":
        which = request.file_containing_extension
        found = _file_extending(files, which.containing_type, which.extension_number)
    elif asked == "all_extension_numbers_of_type":
        name = request.all_extension_numbers_of_type
        extensions = {each.number for each in _extensions(files, name)}
        response.all_extension_numbers_response.base_type_name = name
        response.all_extension_numbers_response.extension_number.extend(sorted(extensions))
        return
    else:
        raise ValueError("the request asks for nothing")
    response.file_descriptor_response.file_descriptor_proto.extend(files_of(found).values())


def _file_named(files: Iterable[FileDescriptor], name: str) -> FileDescriptor:
    for file in files:
        if name in files_of(file):
            found: FileDescriptor = file.pool.FindFileByName(name)
            return found
    raise LookupError(f"no file {name}")


def _file_with(files: Iterable[FileDescriptor], symbol: str) -> FileDescriptor:
    # Not every protobuf finds a method by its name.
    for name in (symbol, symbol.rpartition(".")[0]):
        for file in files:
            try:
                found: FileDescriptor = file.pool.FindFileContainingSymbol(name)
            except KeyError:
                continue
            if found.name in files_of(file):
                return found
    raise LookupError(f"nothing is called {symbol}")


def _file_extending(files: Iterable[FileDescriptor], name: str, number: int) -> FileDescriptor:
    for extension in _extensions(files, name):
        if extension.number == number:
            file: FileDescriptor = extension.file
            return file
    raise LookupError(f"{name} has no extension {number}")


def _extensions(files: Iterable[FileDescriptor], name: str) -> Iterator[Any]:
    """Return the extensions of a message that the files declare.

    Raises:
        LookupError: there is no such message.
    """
    known = False
    for file in files:
        try:
            message = file.pool.FindMessageTypeByName(name)
        except KeyError:
            continue
        among = files_of(file)
        if message.file.name not in among:
            continue
        known = True
        pool: Any = file.pool
        extensions: list[Any] = pool.FindAllExtensions(message)
        for extension in extensions:
            if extension.file.name in among:
                yield extension
    if not known:
        raise LookupError(f"no message {name}")
