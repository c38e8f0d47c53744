"""Mistakes of those who call, found before anything is sent."""

from __future__ import annotations

from asyncio import _get_running_loop
from typing import Any

from callmethod.controller import ServerController


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


def refuse_on_loop(what: str) -> None:
    """Raise RuntimeError on a thread that runs an event loop."""
    # It raises nothing to say that there is none, which would take longer than the call.
    if _get_running_loop() is None:
        return
    raise RuntimeError(
        f"{what} would block the event loop that runs on this thread; pass a third "
        "argument, the callback, or use callmethod.aio"
    )


def check_controller(controller: Any) -> None:
    """Raise for what cannot be the controller of an outgoing call, saying what was meant.

    Raises:
        TypeError: it is no controller.
        RuntimeError: it is a handler's.
    """
    if isinstance(controller, ServerController):
        raise RuntimeError(  # noqa: TRY004  (the type is right, its use is not)
            "this is the controller of the call being handled; "
            "pass None or a new callmethod.Controller() to call out"
        )
    if controller is None:
        return
    if isinstance(controller, type):
        name = controller.__name__
        raise TypeError(f"the controller {name} is a class; pass an instance, {name}()")
    if isinstance(controller, (int, float)):
        raise TypeError(
            f"{controller!r} is no controller; a time for the call is said by "
            f"callmethod.Controller(timeout={controller!r})"
        )
    # A failure is told by that, and only then would its lack be seen.
    if not callable(getattr(controller, "SetFailed", None)):
        name = type(controller).__name__
        raise TypeError(
            f"the controller is a callmethod.Controller, one of your own or None; {name} has no "
            "SetFailed()"
        )


class _MadeByInit:
    # It has no `__set__`, so that what `__init__` makes comes first.
    def __get__(self, thing: object, kind: type[Any]) -> Any:
        if thing is None:
            raise AttributeError("it is an attribute of instances")
        raise RuntimeError(f"{kind.__name__}.__init__() did not call super().__init__()")


def made_by_init() -> Any:
    """Return what stands in a class for an attribute that its `__init__` makes.

    Where that was not called, asking for the attribute raises RuntimeError and says so.
    """
    return _MadeByInit()
