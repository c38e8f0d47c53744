"""The method table of a service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callmethod import _core

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["MethodTable"]


class MethodTable(_core.MethodTable):
    """Names, order and types of a service's methods, read once from its own descriptor.

    Raises:
        TypeError: not a `ServiceDescriptor`.
    """

    def __new__(cls, service_descriptor: Any) -> Self:
        """Read the files of the service, with what they import."""
        try:
            name, file = service_descriptor.full_name, service_descriptor.file
            _ = service_descriptor.methods_by_name
        except AttributeError:
            kind = type(service_descriptor).__name__
            raise TypeError(f"a ServiceDescriptor is needed, not {kind}") from None
        return super().__new__(cls, name, [*files_of(file).values()])


def files_of(file: Any) -> dict[str, bytes]:
    """Return a file and all it imports, serialized, by their names, imported ones first."""
    found: dict[str, bytes] = {}

    def visit(file: Any) -> None:
        if file.name in found:
            return
        for imported in file.dependencies:
            visit(imported)
        found[file.name] = file.serialized_pb

    visit(file)
    return found
