"""Where a command takes the services' descriptors from: files, modules, or the server itself."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callmethod import _core
from callmethod.cli.failure import Exit, Failure
from callmethod.cli.terminal import printable
from callmethod.errors import ProtoError
from callmethod.loading import places
from callmethod.schema import files_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Method:
    """A method, and what its messages are.

    Attributes:
        service: full name.
        name: bare name.
        index: place in the service.
        input: full name of the request's type.
        output: full name of the response's type.
    """

    service: str
    name: str
    index: int
    input: str
    output: str

    def __str__(self) -> str:
        """Return the full name."""
        return f"{self.service}.{self.name}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where descriptors are."""
    group = parser.add_argument_group("where the descriptors are (else the server is asked)")
    group.add_argument(
        "--proto", action="append", default=[], metavar="FILE",
        help="a .proto file; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "-I", "--include", action="append", default=[], metavar="FOLDER",
        help="where --proto and its imports are looked for (default: the folder of each file)",
    )  # fmt: skip
    group.add_argument(
        "--module", action="append", default=[], metavar="NAME",
        help="a module of Python: a generated one, or one with services in it",
    )  # fmt: skip
    group.add_argument(
        "--descriptor-set", action="append", default=[], metavar="FILE",
        help="a FileDescriptorSet, as protoc --include_imports --descriptor_set_out=FILE writes it",
    )  # fmt: skip


def are_given(args: argparse.Namespace) -> bool:
    """Say whether the command line says where descriptors are."""
    return bool(args.proto or args.module or args.descriptor_set)


def given(args: argparse.Namespace, *, comments: bool = False) -> _core.MessagePool:
    """Return the types and services that the command line names.

    Raises:
        Failure: they cannot be had.
    """
    files: dict[bytes, None] = {}
    for path in args.proto:
        files |= dict.fromkeys(_compiled(path, args.include, comments=comments))
    for name in args.module:
        files |= dict.fromkeys(_of_module(name))
    for path in args.descriptor_set:
        files |= dict.fromkeys(_of_set(path))
    return linked(files)


def linked(files: Iterable[bytes]) -> _core.MessagePool:
    """Link serialized files.

    Raises:
        Failure: they do not link.
    """
    try:
        return _core.MessagePool([*files])
    except ValueError as error:
        raise Failure(Exit.DESCRIPTORS, printable(str(error))) from None


def _compiled(path: str, include: list[str], *, comments: bool) -> list[bytes]:
    file, folders = places(path, include or None)
    try:
        _, files = _core.compile_protos([file], folders, comments)
    except ProtoError as error:
        raise Failure(Exit.DESCRIPTORS, str(error)) from None
    return files


def _of_set(path: str) -> list[bytes]:
    try:
        return _core.split_set(Path(path).read_bytes())
    except OSError as error:
        raise Failure(Exit.DESCRIPTORS, f"{path}: {error.strerror}") from None
    except ValueError:
        raise Failure(Exit.DESCRIPTORS, f"{path} is no FileDescriptorSet") from None


def find_here() -> None:
    """Have modules found in the current folder, as `python -m` does."""
    here = os.getcwd()  # noqa: PTH109  (an entry of sys.path)
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)


def _of_module(name: str) -> list[bytes]:
    find_here()
    try:
        module = importlib.import_module(name)
    except Exception as error:  # noqa: BLE001  (an import runs code of the user's)
        text = f"module {name} cannot be imported: {type(error).__name__}: {error}"
        raise Failure(Exit.DESCRIPTORS, text) from None
    files: dict[str, bytes] = {}
    for thing in (module, *vars(module).values()):
        descriptor: Any = getattr(thing, "DESCRIPTOR", None)
        file = descriptor if hasattr(descriptor, "services_by_name") else None
        if hasattr(descriptor, "methods_by_name"):
            file = descriptor.file
        if file is not None:
            # Two pools may each have a common.proto; the first one stands.
            files = {**files_of(file), **files}
    if not files:
        raise Failure(Exit.DESCRIPTORS, f"module {name} has no services and no messages in it")
    return [*files.values()]


def find_method(pool: _core.MessagePool, name: str) -> Method:
    """Find a method by its full name, `game.GameService.connect_server`; a `/` is taken, too.

    Raises:
        Failure: there is none.
    """
    service, _, bare = name.replace("/", ".").rpartition(".")
    known = [service for service, _ in pool.services]
    if name in known:
        methods = printable(", ".join(method for method, *_ in pool.methods(name))) or "none"
        raise Failure(Exit.NAME, f"{name} is a service, and its method is wanted: {methods}")
    if service not in known:
        raise Failure(Exit.NAME, f"no service {service or name}{_nearest(service, known)}")
    names: list[str] = []
    for index, (method, request, response, *_) in enumerate(pool.methods(service)):
        if method == bare:
            return Method(service, method, index, request, response)
        names.append(method)
    raise Failure(Exit.NAME, f"{service} has no method {bare}{_nearest(bare, names)}")


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"; did you mean {printable(near[0])}?"
    return f"; there is {printable(', '.join(known))}" if known else "; there is none at all"


def to_bytes(pool: _core.MessagePool, message: str, text: str) -> bytes:
    """Return a message that is given as JSON.

    Raises:
        Failure: it is none.
    """
    try:
        return pool.parse_json(message, text)
    except ValueError as error:
        status = _what_is_wrong(text, str(error))
        raise Failure(status, printable(f"the request is no {message}: {error}")) from None


def _what_is_wrong(text: str, told: str) -> Exit:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return Exit.JSON
    return Exit.FIELD if told.startswith("unrecognized field name") else Exit.VALUE
