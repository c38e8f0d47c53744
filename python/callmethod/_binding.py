"""What the core needs to know of a service object: looked up once instead of for each call."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from callmethod import _core
from callmethod.schema import MethodTable
from callmethod.service_classes import is_left_out
from callmethod.stubs import Stub

if TYPE_CHECKING:
    from callmethod._core import _BoundParts, _ParserParts
    from callmethod.protocols import Indexed

REFLECTION = "google.protobuf.service_reflection"
"""The module whose functions stand in the classes that protobuf makes."""

_tables: WeakKeyDictionary[type, MethodTable] = WeakKeyDictionary()


def check_service(service: Any, *, or_else: str = "") -> None:
    """Raise TypeError for what is no service, saying what was probably meant.

    `or_else` names what else there is where the service is given.
    """
    if isinstance(service, type):
        name = service.__name__
        raise TypeError(f"{name} is a class; pass an instance, {name}(){or_else}")
    kind: type[Any] = service.__class__
    if isinstance(service, Stub) or type(kind).__name__ == "GeneratedServiceStubType":
        raise TypeError(
            f"{kind.__name__} is a stub, which calls; pass an object of the service class, "
            "which is called"
        )
    for name in ("GetDescriptor", "CallMethod", "GetRequestClass", "GetResponseClass"):
        if not callable(getattr(service, name, None)):
            raise TypeError(f"{kind.__name__} is no service: it has no {name}()")


def table_of(service: Any) -> MethodTable:
    """Return the method table of a service's class, made once."""
    kind: type[Any] = service.__class__
    table = _tables.get(kind)
    if table is None:
        table = _tables[kind] = MethodTable(service.GetDescriptor())
    return table


def check_width(table: MethodTable, protocol: Indexed) -> None:
    """Raise ValueError when the layout has no room for the service's methods."""
    if protocol.index_width == 0 and len(table) != 1:
        raise ValueError(
            f"index_width=0 is for a service with one method; {table.service} has {len(table)}"
        )


def bind(service: Any) -> _core.Binding:
    """Bind a service object.

    Raises:
        TypeError: it is none.
    """
    check_service(service)
    table = table_of(service)
    generic = service.CallMethod if not _is_reflected(service.CallMethod) else None
    methods: list[_BoundParts] = []
    for method in service.GetDescriptor().methods:
        request_class = service.GetRequestClass(method)
        response_class = service.GetResponseClass(method)
        handler = (
            functools.partial(generic, method)
            if generic is not None
            else _handler(service, method.name)
        )
        methods.append(
            (
                handler,
                parser_of(request_class),
                response_class,
                # A function of the class: asking an object for its method costs as much as calling.
                response_class.SerializeToString,
                has_required(response_class.DESCRIPTOR),
            )
        )
    hooks = (_hook(service, "on_connected"), _hook(service, "on_disconnected"))
    return _core.Binding(service, table, methods, *hooks)


def runs_on_loop(service: Any) -> bool:
    """Say whether all that is called of a service is made by `async def`."""
    if not _is_reflected(service.CallMethod):
        return inspect.iscoroutinefunction(service.CallMethod)
    names = [method.name for method in service.GetDescriptor().methods]
    called = [_handler(service, name) for name in names]
    called += [_hook(service, "on_connected"), _hook(service, "on_disconnected")]
    return any(called) and all(
        inspect.iscoroutinefunction(one) for one in called if one is not None
    )


def parser_of(message_class: Any) -> _ParserParts:
    """Return what makes messages of bytes, and what tells whether they are complete."""
    complete = message_class.IsInitialized if has_required(message_class.DESCRIPTOR) else None
    return message_class.FromString, complete, required_tags(message_class.DESCRIPTOR)


def _is_reflected(function: Any) -> bool:
    """Say whether a method is the generated class's own."""
    function = getattr(function, "__func__", function)
    return is_left_out(function) or getattr(function, "__module__", None) == REFLECTION


def _handler(service: Any, name: str) -> Any:
    """Return the user's method, or None where the user left it out."""
    method = getattr(service, name, None)
    return None if method is None or _is_reflected(method) else method


def _hook(service: Any, name: str) -> Any:
    hook = getattr(service, name, None)
    if hook is not None and not callable(hook):
        raise TypeError(f"{type(service).__name__}.{name} is not callable")
    return hook


def has_required(message: Any) -> bool:
    """Say whether a message can lack required fields, its own or those of messages in it."""
    seen: set[str] = set()

    def visit(message: Any) -> bool:
        if message.full_name in seen:
            return False
        seen.add(message.full_name)
        # Extensions are not known here, and may have required fields.
        return message.is_extendable or any(
            _is_required(field) or (field.message_type is not None and visit(field.message_type))
            for field in message.fields
        )

    return visit(message)


def required_tags(message: Any) -> list[int] | None:
    """Return the tags of a message's required fields; None where these do not tell all.

    The other messages in it may lack fields of their own, and a number that an enum does not know
    counts as no value.
    """
    required = [field for field in message.fields if _is_required(field)]
    inner = [field.message_type for field in message.fields if field.message_type is not None]
    if (
        message.is_extendable
        or any(has_required(other) for other in inner)
        or any(field.type not in _WIRE_TYPES for field in required)
    ):
        return None
    return [field.number << 3 | _WIRE_TYPES[field.type] for field in required]


_WIRE_TYPES = {
    **dict.fromkeys((3, 4, 5, 8, 13, 17, 18), 0),
    **dict.fromkeys((1, 6, 16), 1),
    **dict.fromkeys((9, 11, 12), 2),
    **dict.fromkeys((2, 7, 15), 5),
}
"""Wire types by `FieldDescriptor.TYPE_*`, of all but enums and groups."""


def _is_required(field: Any) -> bool:
    """Ask a field in whichever way its protobuf has: `label` is gone from 7."""
    required = getattr(field, "is_required", None)
    return field.label == field.LABEL_REQUIRED if required is None else bool(required)
