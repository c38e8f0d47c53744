"""What a call on a stub is given and returns, for type checkers.

protobuf's stubs take and give `Any`. The `.pyi` files that callmethod writes say it with the names
in this module; at run time, `Stub` is the base of the stubs that callmethod makes, and the rest is
for annotations only.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, cast, overload

from callmethod.service import RpcChannel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

__all__ = ["Awaited", "Blocking", "OneWay", "OneWayChannel", "Stub", "one_way"]


class Blocking:
    """A stub's calls return the response."""


class Awaited:
    """A stub's calls return an `asyncio.Future` of the response."""


class OneWay:
    """A stub's calls return None: a wire without answers, such as `callmethod.Indexed()`."""


class OneWayChannel(RpcChannel):
    """A channel whose calls have no answers: what `one_way` says, and a base for one's own."""


def one_way(channel: AnyChannel) -> OneWayChannel:
    """Return `channel` as it is, and say that its wire has no answers: its calls return None.

    Raises:
        ValueError: it is one of callmethod's, and its calls have answers.
    """
    if getattr(channel, "_answers", False):
        raise ValueError(f"the calls of {channel!r} have answers; it is not one-way")
    return cast("OneWayChannel", channel)


class AnyChannel(Protocol):
    """What stubs call through: an `RpcChannel` of whatever base."""

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Any,
        /,
    ) -> Any: ...


class AnyController(Protocol):
    """What calls take as a controller, of whatever base."""

    def SetFailed(self, reason: str, /) -> object: ...


_Request_contra = TypeVar("_Request_contra", contravariant=True)
_Response_co = TypeVar("_Response_co", covariant=True)
_Response = TypeVar("_Response")


class BlockingMethod(Protocol[_Request_contra, _Response_co]):
    """A method of a stub that blocks, or calls back."""

    @overload
    def __call__(
        self,
        rpc_controller: AnyController | None,
        request: _Request_contra,
        callback: None = None,
    ) -> _Response_co: ...
    @overload
    def __call__(
        self,
        rpc_controller: AnyController | None,
        request: _Request_contra,
        callback: Callable[[_Response_co | None], object],
    ) -> None: ...


class AwaitedMethod(Protocol[_Request_contra, _Response]):
    """A method of a stub that is awaited, or calls back."""

    @overload
    def __call__(
        self,
        rpc_controller: AnyController | None,
        request: _Request_contra,
        callback: None = None,
    ) -> asyncio.Future[_Response]: ...
    @overload
    def __call__(
        self,
        rpc_controller: AnyController | None,
        request: _Request_contra,
        callback: Callable[[_Response | None], object],
    ) -> None: ...


class OneWayMethod(Protocol[_Request_contra]):
    """A method of a stub whose calls have no answers; that they were sent is told."""

    def __call__(
        self,
        rpc_controller: AnyController | None,
        request: _Request_contra,
        callback: Callable[[None], object] | None = None,
    ) -> None: ...


class Method(Protocol[_Request_contra, _Response]):
    """A method in a stub class; how it is called on a stub is for the stub's face to say."""

    @overload
    def __get__(
        self, stub: Stub[Blocking], owner: type[Any], /
    ) -> BlockingMethod[_Request_contra, _Response]: ...
    @overload
    def __get__(
        self, stub: Stub[Awaited], owner: type[Any], /
    ) -> AwaitedMethod[_Request_contra, _Response]: ...
    @overload
    def __get__(self, stub: Stub[OneWay], owner: type[Any], /) -> OneWayMethod[_Request_contra]: ...


if TYPE_CHECKING:
    import typing_extensions

    Face = typing_extensions.TypeVar("Face", default=Blocking)

    class Stub(Generic[Face]):
        """Calls the methods of a service through a channel, which is all it has.

        The channel says what calls return. With one of `callmethod.aio` they are awaited, with one
        that went through `one_way` they return None, with any other they block.
        """

        rpc_channel: AnyChannel

        def __init__(self, rpc_channel: AnyChannel) -> None: ...

else:
    Face = TypeVar("Face")

    class Stub:
        """What the stubs that callmethod makes have in common."""

        def __init__(self, rpc_channel: AnyChannel) -> None:
            self.rpc_channel = rpc_channel

        # `GameService_Stub[Awaited]` may stand where it is evaluated.
        __class_getitem__ = classmethod(types.GenericAlias)
