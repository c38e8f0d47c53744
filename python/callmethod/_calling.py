"""What all channels do with a call, whatever carries it and whoever waits: three faces."""

from __future__ import annotations

import asyncio
import functools
import threading
from typing import TYPE_CHECKING, Any

from callmethod import _core, _deadline
from callmethod._binding import parser_of
from callmethod._mailbox import mailbox_of
from callmethod._mistakes import check_controller, serialized
from callmethod.controller import UNSET, Controller, Unset
from callmethod.errors import Code, RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod._process import Shared

    _Extras = _core.CallExtras | None
    _Settle = Callable[[RpcError | None, bytes | None, _Extras], None]

METHODS = 4096
"""Methods whose names are kept; more are looked up again."""


@functools.lru_cache(METHODS)
def core_method(method_descriptor: Any, response_class: Any) -> _core.Method:
    """Return what the core knows of a method and of the class of its responses."""
    service = method_descriptor.containing_service.full_name
    # A one-way wire needs no class.
    name = "response" if response_class is None else response_class.DESCRIPTOR.full_name
    return _core.Method(
        service,
        method_descriptor.name,
        method_descriptor.index,
        functools.partial(serialized, method_descriptor),
        (_no_class, None, None) if response_class is None else parser_of(response_class),
        name,
    )


def _no_class(_body: bytes) -> Any:
    raise TypeError("no response_class was given")


class Awaited(asyncio.Future[Any]):
    """What is awaited of a call without a controller; cancelling it cancels the call."""

    __slots__ = ("delivery",)

    delivery: _core.Delivery

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the call; as `asyncio.Future.cancel`."""
        cancelled = super().cancel(msg)
        if cancelled:
            self.delivery.cancel()
        return cancelled


def awaited(
    loop: asyncio.AbstractEventLoop,
    shared: Shared,
    caller: _core.Caller,
    method: _core.Method,
    request: Any,
    timeout: float | None,
    channel: object,
) -> Awaited:
    """Make a call without a controller and return what can be awaited on `loop`, which runs here.

    Raises:
        TypeError: the request is not the method's.
        ValueError: it cannot be sent.
    """
    mailbox = mailbox_of(loop, shared.core)
    future = Awaited(loop=loop)
    future.delivery = caller.call_soon(method, request, timeout, future, mailbox, channel)
    if (flush := mailbox.cork()) is not None:
        # Calls that are made in one turn of the loop leave in one write.
        loop.call_soon(flush)
    return future


def conclude(future: asyncio.Future[Any], response: Any, error: RpcError | None) -> None:
    """Tell whoever awaits `future` how the call ended."""
    if error is None:
        future.set_result(response)
    else:
        future.set_exception(error)


class OutgoingCall:
    """One call: whatever controller it was given, ours, another's or none, and what it is to."""

    def __init__(
        self,
        shared: Shared,
        caller: _core.Caller,
        peer: str,
        controller: Any,
        response_class: Any,
        *,
        answers: bool,
        channel: object,
    ) -> None:
        """Begin a call; it keeps `channel` until its end.

        Raises:
            TypeError: the controller is none.
            RuntimeError: the controller is a handler's, or its call is under way.
        """
        check_controller(controller)
        # Held by CallMethod until it returns, so that no callback comes before that.
        self.being_made = threading.Lock()
        self._caller = caller
        self._shared = shared
        self._peer = peer
        self._response_class = response_class
        self._answers = answers
        self._channel = channel
        self._controller = controller
        self._ours = controller if isinstance(controller, Controller) else None
        if self._ours is not None:
            self._ours._begin()

    def _timeout(self, default: float | None) -> float | None:
        """Return the seconds that the call may take."""
        if self._ours is not None:
            named = self._ours._timeout
        else:
            named = getattr(self._controller, "timeout", UNSET)
        return _deadline.bounded(default if isinstance(named, Unset) else named)

    def _parts(self, default: float | None) -> tuple[float | None, _Extras]:
        """Return the time for the call and what goes along."""
        extras = None if self._ours is None else self._ours._extras()
        return self._timeout(default), extras

    def block(self, method: Any, body: bytes, default: float | None) -> Any:
        """Make the call and wait for its end: the response, or None where there are none.

        Raises:
            RpcError: it failed.
            ValueError: it cannot be sent.
        """
        try:
            delivery = self._caller.call(
                core_method(method, self._response_class), body, *self._parts(default)
            )
            self._cancel_by(delivery.cancel)
            response, error = self._settled(method, *delivery.wait())
        except KeyboardInterrupt:
            self.end(RpcError(Code.CANCELLED, "interrupted", self._peer))
            raise
        except BaseException:
            self.withdraw()
            raise
        self.end(error)
        if error is not None:
            raise error
        return response

    def call_back(
        self, method: Any, body: bytes, default: float | None, done: Callable[..., Any]
    ) -> None:
        """Make the call and have `done` called on the thread of callbacks.

        Raises:
            ValueError: it cannot be sent.
        """

        def settle(error: RpcError | None, body: bytes | None, extras: _Extras) -> None:
            with self.being_made:
                pass
            response, error = self._settled(method, error, body, extras)
            try:
                self.end(error)
            finally:
                done(response)

        with self.being_made:
            self._start(method, body, default, settle, None)
            self._shared.rescue()

    def awaited(
        self,
        loop: asyncio.AbstractEventLoop,
        method: Any,
        body: bytes,
        default: float | None,
    ) -> asyncio.Future[Any]:
        """Make the call and return what can be awaited on `loop`, which runs here.

        Raises:
            ValueError: it cannot be sent.
        """
        future: asyncio.Future[Any] = loop.create_future()
        ended = False

        def end(error: RpcError | None) -> None:
            nonlocal ended
            if not ended:
                ended = True
                self.end(error)

        def settle(error: RpcError | None, body: bytes | None, extras: _Extras) -> None:
            response, error = self._settled(method, error, body, extras)
            try:
                end(error)
            finally:
                # Of a loop that is closed, nobody waits for the future.
                if not (future.done() or loop.is_closed()):
                    conclude(future, response, error)

        mailbox = mailbox_of(loop, self._shared.core)
        delivery = self._start(method, body, default, settle, mailbox)
        if (flush := mailbox.cork()) is not None:
            # Calls that are made in one turn of the loop leave in one write.
            loop.call_soon(flush)

        def cancel(future: asyncio.Future[Any]) -> None:
            if future.cancelled():
                delivery.cancel()
                end(RpcError(Code.CANCELLED, "the caller cancelled the call", self._peer))

        future.add_done_callback(cancel)
        return future

    def _start(
        self,
        method: Any,
        body: bytes,
        default: float | None,
        settle: _Settle,
        mailbox: _core.Mailbox | None,
    ) -> _core.Delivery:
        try:
            parts = self._parts(default)
            known = core_method(method, self._response_class)
            delivery = self._caller.call_then(known, body, *parts, settle, mailbox)
        except BaseException:
            self.withdraw()
            raise
        self._cancel_by(delivery.cancel)
        return delivery

    def _settled(
        self, method: Any, error: RpcError | None, body: bytes | None, extras: _Extras
    ) -> tuple[Any, RpcError | None]:
        """Return the response or the failure, one of the two; where there are none, neither."""
        if extras is not None and self._ours is not None:
            self._ours._take(extras)
        if error is not None or body is None or not self._answers:
            return None, error
        try:
            known = core_method(method, self._response_class)
            return known.response(body, self._peer), None
        except RpcError as mistake:
            return None, mistake

    def _cancel_by(self, cancel: Callable[[], object]) -> None:
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
