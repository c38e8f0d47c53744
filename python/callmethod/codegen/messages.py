"""Messages and enums as a `.pyi` declares them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.descriptor_pb2 import FieldDescriptorProto

from callmethod.codegen.names import can_be_declared

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from google.protobuf.descriptor_pb2 import (
        DescriptorProto,
        EnumDescriptorProto,
        FileDescriptorProto,
    )

    from callmethod.codegen.names import Imports

__all__ = ["message_lines"]

INDENT = "    "
CONTAINERS = "google.protobuf.internal.containers"
ENUMS = "google.protobuf.internal.enum_type_wrapper"
EXTENSIONS = "google.protobuf.internal.extension_dict"

MESSAGES = {FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP}
SCALARS = {
    FieldDescriptorProto.TYPE_DOUBLE: "float",
    FieldDescriptorProto.TYPE_FLOAT: "float",
    FieldDescriptorProto.TYPE_BOOL: "bool",
    FieldDescriptorProto.TYPE_STRING: "str",
    FieldDescriptorProto.TYPE_BYTES: "bytes",
}
"""All others are integers."""


def message_lines(file: FileDescriptorProto, imports: Imports, hidden: set[str]) -> Iterator[str]:
    """Give the messages, enums and extensions of a file, without those that are hidden."""
    scope = f".{file.package}" if file.package else ""
    for enum in file.enum_type:
        yield from _enum(enum, scope, imports)
    for message in file.message_type:
        if message.name in hidden:
            yield f"# {message.name}: the class of a service has its name."
        else:
            yield from _message(message, scope, imports)
    yield from _extensions(file.extension, imports, qualifier="Final")


def _enum(enum: EnumDescriptorProto, scope: str, imports: Imports) -> Iterator[str]:
    if not can_be_declared(enum.name):
        yield f"# {enum.name}: its name is a keyword of Python."
        return
    values = [value.name for value in enum.value if can_be_declared(value.name)]
    kind = imports.type(f"{scope}.{enum.name}")
    wrapper = f"{imports.module(ENUMS)}.EnumTypeWrapper"
    yield ""
    yield f"class {enum.name}({imports.builtin('int')}, metaclass={wrapper}):"
    for value in values:
        yield f"{INDENT}{value}: {imports.module('typing')}.ClassVar[{kind}]"
    if not values:
        yield f"{INDENT}..."
    # Also where the enum stands.
    yield from (f"{value}: {kind}" for value in values)


def _message(message: DescriptorProto, scope: str, imports: Imports) -> Iterator[str]:
    if not can_be_declared(message.name):
        yield f"# {message.name}: its name is a keyword of Python."
        return
    yield ""
    yield f"class {message.name}({imports.module('google.protobuf.message')}.Message):"
    for line in _inside(message, f"{scope}.{message.name}", imports):
        yield INDENT + line if line else line


def _inside(message: DescriptorProto, scope: str, imports: Imports) -> Iterator[str]:
    for enum in message.enum_type:
        yield from _enum(enum, scope, imports)
    for nested in message.nested_type:
        if not nested.options.map_entry:
            yield from _message(nested, scope, imports)
    yield from (_number(field, imports, qualifier="ClassVar") for field in message.field)
    fields = [field for field in message.field if can_be_declared(field.name)]
    yield from (f"{field.name}: {_held(field, imports)}" for field in fields)
    yield from _extensions(message.extension, imports, qualifier="ClassVar")
    parameters = [f"{field.name}: {_taken(field, imports)} = ..." for field in fields]
    if parameters:
        parameters.insert(0, "*")
    if len(fields) < len(message.field):
        # Those whose names are keywords, which can be given by `**` only.
        parameters.append(f"**fields: {imports.any()}")
    me = "self"
    while any(field.name == me for field in fields):
        me = f"_{me}"
    yield "def __init__("
    yield from (f"{INDENT}{parameter}," for parameter in [me, *parameters])
    yield ") -> None: ..."


def _extensions(
    fields: Sequence[FieldDescriptorProto], imports: Imports, *, qualifier: str
) -> Iterator[str]:
    for field in fields:
        yield _number(field, imports, qualifier=qualifier)
        if can_be_declared(field.name):
            kind = f"{imports.module(EXTENSIONS)}._ExtensionFieldDescriptor"
            kind = f"{kind}[{imports.type(field.extendee)}, {_held(field, imports)}]"
            # The stubs of protobuf have no other name for it.
            ignore = "  # pyright: ignore[reportPrivateUsage]"
            yield f"{field.name}: {imports.module('typing')}.{qualifier}[{kind}]{ignore}"


def _number(field: FieldDescriptorProto, imports: Imports, *, qualifier: str) -> str:
    kind = f"{imports.module('typing')}.{qualifier}[{imports.builtin('int')}]"
    return f"{field.name.upper()}_FIELD_NUMBER: {kind}"


def _single(field: FieldDescriptorProto, imports: Imports) -> str:
    if field.type in MESSAGES or field.type == FieldDescriptorProto.TYPE_ENUM:
        return imports.type(field.type_name)
    return imports.builtin(SCALARS.get(field.type, "int"))


def _entry(field: FieldDescriptorProto, imports: Imports) -> Sequence[FieldDescriptorProto] | None:
    """Return the key and the value of a map field, or None for others."""
    entry = imports.map_entry(field.type_name) if field.type in MESSAGES else None
    return None if entry is None else entry.field


def _held(field: FieldDescriptorProto, imports: Imports) -> str:
    """Return what is read of a message."""
    if (entry := _entry(field, imports)) is not None:
        key, value = (_single(part, imports) for part in entry)
        kind = "MessageMap" if entry[1].type in MESSAGES else "ScalarMap"
        return f"{imports.module(CONTAINERS)}.{kind}[{key}, {value}]"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        kind = "Composite" if field.type in MESSAGES else "Scalar"
        kind = f"{imports.module(CONTAINERS)}.Repeated{kind}FieldContainer"
        return f"{kind}[{_single(field, imports)}]"
    return _single(field, imports)


def _taken(field: FieldDescriptorProto, imports: Imports) -> str:
    """Return what the constructor of a message takes; None leaves the field out."""
    if (entry := _entry(field, imports)) is not None:
        key, value = (_single(part, imports) for part in entry)
        return f"{_abc(imports)}.Mapping[{key}, {value}] | None"
    one = _single(field, imports)
    if field.type in MESSAGES:
        one = f"{one} | {_abc(imports)}.Mapping[{imports.builtin('str')}, {imports.any()}]"
    elif field.type == FieldDescriptorProto.TYPE_ENUM:
        one = f"{one} | {imports.builtin('str')}"
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        one = f"{_abc(imports)}.Iterable[{one}]"
    return f"{one} | None"


def _abc(imports: Imports) -> str:
    return imports.module("collections.abc")
