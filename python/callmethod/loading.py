"""`.proto` files without protoc: compiled in this process, ready to be used."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any

from callmethod import _core
from callmethod.errors import ProtoError
from callmethod.service_classes import services

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from google.protobuf.descriptor import FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool

__all__ = ["Loaded", "load"]

WELL_KNOWN = "google/protobuf/"
"""Where the files lie that protobuf itself brings along."""


class Loaded(ModuleType):
    """What protoc's module for a `.proto` file has in it, made in this process.

    Message classes, enums and their values, extensions, and for each service its class and its
    stub, under the names that they have in generated code. Of imported files there is what
    `import public` passes on; the rest is in `imports`.

    Attributes:
        DESCRIPTOR: the `FileDescriptor`.
        imports: what the files that this one imports have in them, by their names.
    """

    DESCRIPTOR: FileDescriptor
    imports: Mapping[str, Loaded]

    def __getattr__(self, name: str) -> Any:
        """Say that there is no such thing, by AttributeError; what there is, is found."""
        raise AttributeError(f"{self.__name__}.proto declares no {name}")

    def __repr__(self) -> str:
        """Return the name of the file."""
        return f"<callmethod.load of {self.DESCRIPTOR.name!r}>"


def load(
    file: str | os.PathLike[str],
    *,
    include: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None = None,
    pool: DescriptorPool | None = None,
) -> Loaded:
    """Compile a `.proto` file and all it imports, and return what its generated module would have.

    No protoc is needed and nothing is written. The well-known types can be imported.

    Args:
        file: a path; or, if no such file is there, a name as an `import` would have it.
        include: folders that imports are looked for in; `file` must lie in one of them. Its own
            folder, if not given.
        pool: takes the descriptors. One of its own, if not given: then what is loaded never
            clashes with generated modules or with what was loaded before, and message classes of
            two loads are two, even if they have one name.

    Raises:
        ProtoError: a file was not found, or is wrong: the exception says where. It uses editions.
        TypeError: `pool` has another file of one of the names, or other types of one name.
        ModuleNotFoundError: protobuf is not installed.
    """
    from google.protobuf import descriptor_pool  # noqa: PLC0415  (not every program has it)

    path, folders = places(file, include)
    (name, *_), files = _core.compile_protos([path], folders, comments=False)
    if pool is not None:
        return Modules(pool, files).of(name)
    try:
        return Modules(descriptor_pool.DescriptorPool(), files).of(name)
    except TypeError as error:
        # protobuf has a few rules of its own.
        raise ProtoError(f"protobuf refuses it: {error}", name) from None


def places(
    file: str | os.PathLike[str],
    include: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | None,
) -> tuple[Path, list[Path]]:
    """Return where a file is, and the folders that it and its imports are looked for in."""
    path = Path(file)
    if include is None:
        folders = [path.parent]
    elif isinstance(include, (str, os.PathLike)):
        folders = [Path(include)]
    else:
        folders = [Path(folder) for folder in include]
    if not path.is_absolute() and path.exists():
        # Folders may be named in another way than the file in them is.
        path, folders = path.absolute(), [folder.absolute() for folder in folders]
    return path, folders


class Modules:
    """Modules of the files in one pool, each made once."""

    def __init__(self, pool: DescriptorPool, files: Iterable[bytes]) -> None:
        """Add serialized files to `pool`, imported ones first.

        Raises:
            TypeError: it has another file of one of the names, or other types of one name.
        """
        for file in files:
            _add(pool, file)
        self._pool = pool
        self._made: dict[str, Loaded] = {}

    def of(self, name: str) -> Loaded:
        """Return the module of the file called `name`."""
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._make(self._pool.FindFileByName(name))
        return made

    def _make(self, file: FileDescriptor) -> Loaded:
        module = Loaded(Path(file.name).stem)
        module.DESCRIPTOR = file
        module.imports = MappingProxyType(
            {each.name: self.of(each.name) for each in file.dependencies}
        )
        contents: dict[str, Any] = {}
        for public in file.public_dependencies:
            contents |= _contents(self.of(public.name))
        contents |= _made_of(file)
        vars(module).update(contents)
        module.__all__ = sorted(contents)  # type: ignore[attr-defined]
        return module


def _add(pool: DescriptorPool, serialized: bytes) -> None:
    from google.protobuf import descriptor_pool  # noqa: PLC0415  (not every program has it)
    from google.protobuf.descriptor_pb2 import FileDescriptorProto  # noqa: PLC0415

    file = FileDescriptorProto.FromString(serialized)
    well_known = file.name.startswith(WELL_KNOWN)
    if well_known and pool is descriptor_pool.Default():
        # Its own module must come first: it could not add itself beside another edition of it.
        stem = file.name.removesuffix(".proto").replace("/", ".")
        importlib.import_module(f"{stem}_pb2")
    try:
        present = pool.FindFileByName(file.name)
    except KeyError:
        pool.AddSerializedFile(serialized)
        return
    other = FileDescriptorProto.FromString(present.serialized_pb)
    if not well_known and _plain(file) != _plain(other):
        raise TypeError(
            f"the pool has another {file.name}, with other contents; leave pool= out for one of "
            "its own"
        )


def _plain(file: Any) -> Any:
    """Return a file without what generated modules leave out: names that follow from names."""

    def strip(message: Any) -> None:
        for field in (*message.field, *message.extension):
            field.ClearField("json_name")
        for inner in message.nested_type:
            strip(inner)

    for message in file.message_type:
        strip(message)
    for extension in file.extension:
        extension.ClearField("json_name")
    return file


def _contents(module: Loaded) -> dict[str, Any]:
    return {name: vars(module)[name] for name in module.__all__}


def _made_of(file: FileDescriptor) -> dict[str, Any]:
    from google.protobuf import message_factory  # noqa: PLC0415  (not every program has it)
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper  # noqa: PLC0415

    made: dict[str, Any] = {}
    for name, message in file.message_types_by_name.items():
        made[name] = message_factory.GetMessageClass(message)
    for name, enum in file.enum_types_by_name.items():
        made[name] = EnumTypeWrapper(enum)
        made |= {value.name: value.number for value in enum.values}
    for name, extension in file.extensions_by_name.items():
        made[name] = extension
        made[f"{name.upper()}_FIELD_NUMBER"] = extension.number
    for name, service in file.services_by_name.items():
        made[name], made[f"{name}_Stub"] = services(service)
    return made
