"""Service and stub classes, made of descriptors.

They are those that protobuf makes for `option py_generic_services = true`, attribute by attribute,
and may be swapped for them in both directions. They need neither that option nor the modules that
protobuf makes its own with.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple, overload
from weakref import WeakValueDictionary

from callmethod.service import Service
from callmethod.stubs import Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
    from google.protobuf.message import Message

__all__ = ["ServiceClasses", "Services", "services"]


class ServiceClasses(NamedTuple):
    """The two classes of one service."""

    service: Any
    """What is subclassed to serve."""
    stub: Any
    """What calls through a channel."""


class Services:
    """The classes of all services of one file by name: `GameService`, `GameService_Stub`.

    Each is an attribute, and an item too; iteration gives the names. Where a service is called like
    the stub of another one, the name is the service's; `services(descriptor)` has both pairs.
    """

    # Special methods only, and no attribute beside the classes: a service may have any name.

    def __init__(self, file: FileDescriptor, module: str) -> None:
        pairs = {
            name: _classes(descriptor, module) for name, descriptor in file.services_by_name.items()
        }
        classes = {name: pair.service for name, pair in pairs.items()}
        for name, pair in pairs.items():
            classes.setdefault(f"{name}_Stub", pair.stub)
        vars(self).update(classes)

    def __getattr__(self, name: str) -> Any:
        """Say that there is no such class, by AttributeError; those that there are, are found."""
        raise AttributeError(_missing(name, vars(self)))

    def __getitem__(self, name: str) -> Any:
        """Return a class, also one whose name is a keyword.

        Raises:
            KeyError: there is no such class.
        """
        try:
            return vars(self)[name]
        except KeyError:
            raise KeyError(_missing(name, vars(self))) from None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the classes."""
        return iter(vars(self))

    def __len__(self) -> int:
        """Count the classes, two for each service."""
        return len(vars(self))

    def __contains__(self, name: object) -> bool:
        """Say whether there is a class of that name."""
        return name in vars(self)

    def __repr__(self) -> str:
        """Return the names of the classes."""
        return f"<services: {', '.join(self) or 'none'}>"


def _missing(name: str, classes: Iterable[str]) -> str:
    return f"there is no class {name} of a service; there are: {', '.join(classes) or 'none'}"


@overload
def services(of: ModuleType | FileDescriptor) -> Services: ...
@overload
def services(of: ServiceDescriptor) -> ServiceClasses: ...
def services(of: Any) -> Services | ServiceClasses:
    """Return service and stub classes, with or without `option py_generic_services`.

        services = callmethod.services(game_service_pb2)

        class Game(services.GameService): ...

        stub = services.GameService_Stub(channel)

    The same descriptor gives the same classes, for as long as somebody keeps them.

    Args:
        of: a generated module or a `FileDescriptor`, for all of its services by name; or a
            `ServiceDescriptor`, for the pair `(service, stub)`.

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(of, ModuleType):
        file: Any = getattr(of, "DESCRIPTOR", None)
        if not hasattr(file, "services_by_name"):
            raise TypeError(f"{of.__name__} is no generated module: it has no file descriptor")
        return Services(file, of.__name__)
    if hasattr(of, "services_by_name"):
        return Services(of, module_name(of.name))
    if hasattr(of, "methods_by_name"):
        return _classes(of, module_name(of.file.name))
    kind = f"the class {of.__name__}" if isinstance(of, type) else type(of).__name__
    raise TypeError(
        f"services() takes a generated module, a FileDescriptor or a ServiceDescriptor, not {kind}"
    )


def module_name(proto: str) -> str:
    """Return the name that protoc gives to the module of a file."""
    return proto.removesuffix(".proto").replace("-", "_").replace("/", ".") + "_pb2"


def is_left_out(function: Any) -> bool:
    """Say whether a function is what stands in our classes where the user has put nothing."""
    return getattr(function, "__module__", None) == __name__


# By descriptor, and only as long as somebody keeps a class, which keeps its descriptor.
_made: WeakValueDictionary[ServiceDescriptor, type[Service]] = WeakValueDictionary()
_stubs: WeakValueDictionary[ServiceDescriptor, type[Stub]] = WeakValueDictionary()
_lock = threading.RLock()


def _classes(descriptor: ServiceDescriptor, module: str) -> ServiceClasses:
    with _lock:
        service = _made.get(descriptor)
        if service is None:
            service = _made[descriptor] = _service_class(descriptor, module)
        stub = _stubs.get(descriptor)
        if stub is None:
            stub = _stubs[descriptor] = _stub_class(descriptor, service)
        return ServiceClasses(service, stub)


def _service_class(descriptor: ServiceDescriptor, module: str) -> type[Service]:
    """Make the class to be subclassed; where protobuf's derives from anything, it is `Service`."""
    requests = {method: _message_class(method.input_type) for method in descriptor.methods}
    responses = {method: _message_class(method.output_type) for method in descriptor.methods}

    def GetDescriptor() -> ServiceDescriptor:
        return descriptor

    def CallMethod(
        self: Service, method_descriptor: Any, rpc_controller: Any, request: Any, done: Any
    ) -> Any:
        _check_method(method_descriptor, descriptor, "CallMethod")
        return getattr(self, method_descriptor.name)(rpc_controller, request, done)

    def GetRequestClass(self: Service, method_descriptor: Any) -> type[Message]:
        _check_method(method_descriptor, descriptor, "GetRequestClass")
        return requests[method_descriptor]

    def GetResponseClass(self: Service, method_descriptor: Any) -> type[Message]:
        _check_method(method_descriptor, descriptor, "GetResponseClass")
        return responses[method_descriptor]

    # The methods first. protobuf lets one that is called GetDescriptor or the like hide its own, so
    # that no server can make anything of the service; here, that one method cannot be served.
    namespace: dict[str, Any] = {
        method.name: _named(_left_out(method), method, descriptor.name)
        for method in descriptor.methods
    }
    for function in (GetDescriptor, CallMethod, GetRequestClass, GetResponseClass):
        function.__qualname__ = f"{descriptor.name}.{function.__name__}"
        function.__doc__ = getattr(Service, function.__name__).__doc__
        namespace[function.__name__] = function
    namespace |= {
        "__module__": module,
        "__doc__": f"The service {descriptor.full_name}: to be subclassed.",
        "GetDescriptor": staticmethod(GetDescriptor),
        "DESCRIPTOR": descriptor,
    }
    return type(descriptor.name, (Service,), namespace)


def _stub_class(descriptor: ServiceDescriptor, service: type[Service]) -> type[Stub]:
    name = f"{descriptor.name}_Stub"
    namespace: dict[str, Any] = {
        method.name: _named(_calling(method), method, name) for method in descriptor.methods
    }
    namespace |= {
        "__module__": service.__module__,
        "__doc__": f"Calls the service {descriptor.full_name} through a channel.",
        "DESCRIPTOR": descriptor,
    }
    # protobuf's stubs derive from their service, too.
    return type(name, (Stub, service), namespace)


def _left_out(method: MethodDescriptor) -> Callable[..., None]:
    """Return the method of a service class that the user has yet to write."""
    text = f"Method {method.name} not implemented."

    # protobuf calls the last argument so, here and in stubs.
    def left_out(self: object, rpc_controller: Any, request: Any, callback: Any) -> None:
        rpc_controller.SetFailed(text)
        callback(None)

    return left_out


def _calling(method: MethodDescriptor) -> Callable[..., Any]:
    """Return the method of a stub."""
    response_class = _message_class(method.output_type)

    def calling(self: Stub, rpc_controller: Any, request: Any, callback: Any = None) -> Any:
        return self.rpc_channel.CallMethod(
            method, rpc_controller, request, response_class, callback
        )

    return calling


def _named(function: Any, method: MethodDescriptor, owner: str) -> Any:
    """Give a function the name and the text that a traceback and `help()` should show."""
    function.__name__ = method.name
    function.__qualname__ = f"{owner}.{method.name}"
    function.__doc__ = (
        f"Take a {method.input_type.full_name}, give a {method.output_type.full_name}."
    )
    return function


def _check_method(method: Any, descriptor: ServiceDescriptor, name: str) -> None:
    if method.containing_service != descriptor:
        raise RuntimeError(f"{name}() given method descriptor for wrong service type.")


def _message_class(descriptor: Any) -> type[Message]:
    # Not imported above: callmethod can be imported where no protobuf is.
    found: type[Message] = import_module("google.protobuf.message_factory").GetMessageClass(
        descriptor
    )
    return found


def _after_fork_in_child() -> None:
    global _lock
    # Whoever held it is not here.
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_after_fork_in_child)
