"""Types for modules that protoc has written, with the classes of their services."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from callmethod.codegen.messages import message_lines
from callmethod.codegen.names import Imports, Names
from callmethod.codegen.service_types import class_lines, stub_name, written
from callmethod.schema import files_of
from callmethod.service_classes import module_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

__all__ = ["stub_text", "write_stubs"]


def write_stubs(
    modules: Iterable[ModuleType | str], folder: str | Path | None = None
) -> list[Path]:
    """Write the `.pyi` of generated modules: messages, enums, and services with typed methods.

    They take the place of what `protoc --pyi_out` writes.

    Args:
        modules: modules, or their names, which are imported.
        folder: where to write `game/player_pb2.pyi` for `game.player_pb2`; beside each module, if
            not given.

    Returns:
        The files, in the order of the modules. Nothing is written unless all can be made.

    Raises:
        ImportError: there is no such module.
        TypeError: it is none that protoc has written.
        ValueError: a module lies in no file, and no folder is given.
        OSError: a file cannot be written.
    """
    files: dict[Path, str] = {}
    for each in modules:
        module = importlib.import_module(each) if isinstance(each, str) else each
        files[_place(module, folder)] = stub_text(module)
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return list(files)


def _place(module: ModuleType, folder: str | Path | None) -> Path:
    if folder is not None:
        return Path(folder, *module.__name__.split(".")).with_suffix(".pyi")
    place = getattr(module, "__file__", None)
    if place is None:
        raise ValueError(f"{module.__name__} lies in no file; say in which folder to write")
    return Path(place).with_suffix(".pyi")


def stub_text(module: ModuleType) -> str:
    """Return the text of a `.pyi`.

    Raises:
        TypeError: protoc has not written the module.
    """
    file = getattr(module, "DESCRIPTOR", None)
    if not isinstance(file, FileDescriptor):
        raise TypeError(f"{module.__name__} is no generated module: it has no file descriptor")
    protos = [FileDescriptorProto.FromString(data) for data in files_of(file).values()]
    # protobuf has made no classes where the file does not ask for them.
    services = [each for each in protos[-1].service if hasattr(module, each.name)]
    hidden = {name for each in services for name in (each.name, stub_name(each.name))}
    imports = Imports(Names(protos), ((module.__name__, name) for name in hidden))
    body = [f"DESCRIPTOR: {imports.module('google.protobuf.descriptor')}.FileDescriptor"]
    public = (protos[-1].dependency[index] for index in protos[-1].public_dependency)
    body += (f"from {module_name(proto)} import *" for proto in public)
    body += message_lines(protos[-1], imports, hidden)
    body += class_lines(services, imports)
    return written(file.name, imports.lines() + body)
