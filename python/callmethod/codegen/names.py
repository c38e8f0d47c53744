"""What a type of a `.proto` is called in Python, and from which module it comes."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callmethod.service_classes import module_name

if TYPE_CHECKING:
    from collections.abc import Iterable

    from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto

__all__ = ["Imports", "Names", "can_be_declared"]

ANY = "_typing.Any"


def can_be_declared(name: str) -> bool:
    """Say whether Python takes a name as it stands; those that are keywords need `getattr`."""
    return name.isidentifier() and not keyword.iskeyword(name)


@dataclass(frozen=True)
class Type:
    """A message or an enum."""

    module: str
    path: tuple[str, ...]
    map_entry: DescriptorProto | None = None
    """Of the message that protoc makes for a map field: what it is made of."""


class Names:
    """The types of some files and of those that they import, by full name: `.game.Player`."""

    def __init__(self, files: Iterable[FileDescriptorProto]) -> None:
        self._types: dict[str, Type] = {}
        for file in files:
            scope = f".{file.package}" if file.package else ""
            module = module_name(file.name)
            for message in file.message_type:
                self._add(message, module, scope, ())
            for enum in file.enum_type:
                self._types[f"{scope}.{enum.name}"] = Type(module, (enum.name,))

    def _add(
        self, message: DescriptorProto, module: str, scope: str, path: tuple[str, ...]
    ) -> None:
        scope, path = f"{scope}.{message.name}", (*path, message.name)
        entry = message if message.options.map_entry else None
        self._types[scope] = Type(module, path, entry)
        for nested in message.nested_type:
            self._add(nested, module, scope, path)
        for enum in message.enum_type:
            self._types[f"{scope}.{enum.name}"] = Type(module, (*path, enum.name))

    def __getitem__(self, full_name: str) -> Type:
        """Return a type by its name with the leading dot, as descriptors give it."""
        return self._types[full_name]


class Imports:
    """The imports of one `.pyi`: each module gets a name that begins with an underscore.

    Every name in the file goes through one of them, that of its own module too, so that nothing is
    hidden by what a field, a method or a message is called.
    """

    def __init__(self, names: Names, hidden: Iterable[tuple[str, str]] = ()) -> None:
        """Begin without any.

        Args:
            names: all types there are.
            hidden: module and name of messages that cannot be reached, since something else in
                their module has their name.
        """
        self._names = names
        self._hidden = frozenset(hidden)
        self._modules: dict[str, str] = {}

    def module(self, name: str) -> str:
        """Import a module and return what it is called here."""
        if name not in self._modules:
            wanted = alias = "_" + name.rpartition(".")[2]
            number = 2
            while alias in self._modules.values():
                alias = f"{wanted}_{number}"
                number += 1
            self._modules[name] = alias
        return self._modules[name]

    def builtin(self, name: str) -> str:
        """Return a builtin, which a field may be called like."""
        return f"{self.module('builtins')}.{name}"

    def type(self, full_name: str) -> str:
        """Return a message or an enum, or `Any` where it has no name that can be written."""
        kind = self._names[full_name]
        parts = (*kind.module.split("."), *kind.path)
        if not all(map(can_be_declared, parts)) or (kind.module, kind.path[0]) in self._hidden:
            return self.any()
        return f"{self.module(kind.module)}.{'.'.join(kind.path)}"

    def any(self) -> str:
        """Return `Any`."""
        self.module("typing")
        return ANY

    def map_entry(self, full_name: str) -> DescriptorProto | None:
        """Return what a map field is made of, or None for any other message."""
        return self._names[full_name].map_entry

    def lines(self) -> list[str]:
        """Return the import statements."""
        return [f"import {name} as {alias}" for name, alias in sorted(self._modules.items())]
