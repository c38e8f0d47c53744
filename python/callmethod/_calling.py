"""What all channels do with a call, whatever carries it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from callmethod.controller import UNSET, Controller, ServerController, Unset

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod.errors import RpcError


def serialized(method_descriptor: Any, request: Any) -> bytes:
    """Return the request's bytes.

    Raises:
        TypeError: the request is not the method's.
        google.protobuf.message.EncodeError: it lacks required fields.
    """
    wanted = method_descriptor.input_type.full_name
    given = getattr(getattr(request, "DESCRIPTOR", None), "full_name", None)
    if given != wanted or isinstance(request, type):
        name = f"class {given}" if isinstance(request, type) else given or type(request).__name__
        raise TypeError(f"{method_descriptor.full_name} takes a {wanted}, not a {name}")
    body: bytes = request.SerializeToString()
    return body


def check_done(done: Any) -> None:
    """Raise TypeError for a `done` that cannot be called."""
    if done is not None and not callable(done):
        raise TypeError(f"done must be callable or None, not {type(done).__name__}")


class OutgoingCall:
    """What a channel does with whatever controller it was given: ours, another's or none."""

    def __init__(self, controller: Any) -> None:
        """Begin a call.

        Raises:
            RuntimeError: the controller is a handler's, or its call is under way.
        """
        if isinstance(controller, ServerController):
            raise RuntimeError(  # noqa: TRY004  (the type is right, its use is not)
                "this is the controller of the call being handled; "
                "pass None or a new callmethod.Controller() to call out"
            )
        # Held by CallMethod until it returns, so that no callback comes before that.
        self.being_made = threading.Lock()
        self._controller = controller
        self._ours = controller if isinstance(controller, Controller) else None
        if self._ours is not None:
            self._ours._begin()

    def timeout(self, default: float | None) -> float | None:
        """Return the controller's timeout, or `default` where it names none."""
        if self._ours is not None:
            named = self._ours._timeout
        else:
            named = getattr(self._controller, "timeout", UNSET)
        return default if isinstance(named, Unset) else named

    def cancel_by(self, cancel: Callable[[], object]) -> None:
        """Let the controller cancel the call."""
        if self._ours is not None:
            self._ours._cancel_by(cancel)

    def end(self, error: RpcError | None) -> None:
        """Tell the controller how the call ended."""
        if self._ours is not None:
            self._ours._end(error)
        elif error is not None and self._controller is not None:
            self._controller.SetFailed(error.text)

    def withdraw(self) -> None:
        """Forget the call: it could not even be made."""
        if self._ours is not None:
            self._ours._end(None)
            self._ours.code = None


def settling(call: OutgoingCall, done: Callable[..., Any]) -> Callable[[RpcError | None], None]:
    """Return what ends `call` and calls `done`, for the thread of callbacks."""

    def settle(error: RpcError | None) -> None:
        with call.being_made:
            pass
        try:
            call.end(error)
        finally:
            done(None)

    return settle
