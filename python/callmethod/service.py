"""The four base classes that protobuf 6.30 dropped.

`from callmethod import service` takes the place of `from google.protobuf import service`. The
contract is the one that protobuf documented. Nothing here asks for these bases: services, channels
and controllers are known by their methods.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RpcChannel", "RpcController", "RpcException", "Service", "install"]


class RpcException(Exception):  # noqa: N818  (protobuf's name)
    """What a blocking call raises when it fails."""


class Service:
    """A service: what generated service classes look like."""

    @staticmethod
    def GetDescriptor() -> Any:
        """Return the `ServiceDescriptor`."""
        raise NotImplementedError

    def CallMethod(
        self, method_descriptor: Any, rpc_controller: Any, request: Any, done: Callable[..., Any]
    ) -> Any:
        """Call the method that `method_descriptor` names with `request`.

        `done` is called exactly once with the response, or with None when the call failed.
        """
        raise NotImplementedError

    def GetRequestClass(self, method_descriptor: Any) -> Any:
        """Return the class of the method's requests."""
        raise NotImplementedError

    def GetResponseClass(self, method_descriptor: Any) -> Any:
        """Return the class of the method's responses."""
        raise NotImplementedError


class RpcController:
    """One call as its two ends see it: settings on the way in, the outcome on the way out."""

    def Reset(self) -> None:
        """Make it ready for another call (client side)."""
        raise NotImplementedError

    def Failed(self) -> bool:
        """Say whether the call failed (client side)."""
        raise NotImplementedError

    def ErrorText(self) -> str | None:
        """Return why the call failed (client side)."""
        raise NotImplementedError

    def StartCancel(self) -> None:
        """Give the call up (client side)."""
        raise NotImplementedError

    def SetFailed(self, reason: str) -> None:
        """Say that the call failed, and why (server side)."""
        raise NotImplementedError

    def IsCanceled(self) -> bool:
        """Say whether the caller gave up (server side)."""
        raise NotImplementedError

    def NotifyOnCancel(self, callback: Callable[[], Any]) -> None:
        """Have `callback` called exactly once, on cancellation or after the call (server side)."""
        raise NotImplementedError


class RpcChannel:
    """A way to a service; what generated stubs call."""

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Callable[..., Any] | None,
    ) -> Any:
        """Call the method that `method_descriptor` names on the other end.

        With `done` None it blocks and returns the response; else it returns at once, and `done`
        is called exactly once with the response, or with None when the call failed.
        """
        raise NotImplementedError


def install() -> bool:
    """Put this module in the place of `google.protobuf.service`, for code that cannot be edited.

    Where protobuf still has a module of that name, nothing is changed.

    Returns:
        Whether this module was put there, now or before.
    """
    name = "google.protobuf.service"
    here = sys.modules[__name__]
    if sys.modules.get(name) is here:
        return True
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return False
    sys.modules[name] = here
    package = importlib.import_module("google.protobuf")
    package.service = here  # type: ignore[attr-defined]
    return True
