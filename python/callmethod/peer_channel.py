"""The way back to whoever called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callmethod import _process
from callmethod._calling import OutgoingCall, awaited, core_method
from callmethod._mistakes import check_done, refuse_on_loop, serialized
from callmethod.options import ChannelOptions
from callmethod.service import RpcChannel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from callmethod import _core
    from callmethod.tls import TlsInfo

__all__ = ["PeerChannel"]

TIMEOUT = ChannelOptions().timeout
"""Seconds for calls whose controller names none."""


class PeerChannel(RpcChannel):
    """The way back to a caller, on the connection that the call came by.

    There is one for a connection; it may be kept and used from any thread. Its calls never wait for
    room: where more than 4 MiB are unread by the peer they fail. On a one-way wire they wait for
    nothing at all.
    """

    def __init__(self, link: _core.Link) -> None:
        """Not for users: handlers find theirs in `controller.rpc_channel`."""
        self._link = link
        self._caller = link.caller
        self._shared = _process.current()
        self._answers = link.answers
        self._made_in = _process.generation
        # The core reads both from a handler's controller, as they stand here.
        self._tls = link.tls
        self._identity: Any = None

    @property
    def peer(self) -> str:
        """Where the peer is, `127.0.0.1:40001` for one."""
        return self._link.peer

    @property
    def protocol(self) -> str:
        """Name of the protocol spoken."""
        return self._link.protocol

    @property
    def tls(self) -> TlsInfo | None:
        """How the connection is secured, and whom the peer has proven to be; None without TLS."""
        return self._tls

    @property
    def peer_identity(self) -> Any:
        """What `authenticate` gave for the peer; None where it gave True, or is not asked."""
        return self._identity

    def _be_known_as(self, identity: Any) -> None:
        self._identity = identity

    @property
    def connected(self) -> bool:
        """Whether calls can still be sent."""
        _process.check(self._made_in, "channel")
        return self._link.connected

    def close(self) -> None:
        """Write what waits, then close the connection."""
        _process.check(self._made_in, "channel")
        self._link.close()

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Callable[..., Any] | None,
    ) -> Any:
        """Call a method of the peer's service; as `Channel.CallMethod`.

        Raises:
            RpcError: RESOURCE_EXHAUSTED (too much is unread), UNAVAILABLE (the connection is
                gone), UNIMPLEMENTED (the peer did not say that it serves calls, where calls and
                answers could be confused), and what the peer answers; with `done`, the controller
                is told instead.
            RuntimeError: it would block a thread that runs an event loop.
            TypeError: the request is not the method's.
            ValueError: the request is larger than a frame may be.
            google.protobuf.message.EncodeError: the request lacks required fields.
        """
        check_done(done)
        if done is None and self._answers:
            refuse_on_loop("the call")
        if rpc_controller is None:
            _process.check(self._made_in, "channel")
            method = core_method(method_descriptor, response_class)
            if done is None:
                return self._caller.block(method, request, TIMEOUT)
            self._caller.call_back(method, request, TIMEOUT, done, self)
            if self._shared.closed:
                self._shared.rescue()
            return None
        call, body = self._begin(method_descriptor, rpc_controller, request, response_class)
        if done is None:
            return call.block(method_descriptor, body, TIMEOUT)
        return call.call_back(method_descriptor, body, TIMEOUT, done)

    def _begin(
        self, method_descriptor: Any, rpc_controller: Any, request: Any, response_class: Any
    ) -> tuple[OutgoingCall, bytes]:
        _process.check(self._made_in, "channel")
        body = serialized(method_descriptor, request)
        call = OutgoingCall(
            self._shared,
            self._caller,
            self.peer,
            rpc_controller,
            response_class,
            answers=self._answers,
            channel=self,
        )
        return call, body

    def _await_method(
        self,
        loop: asyncio.AbstractEventLoop,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
    ) -> asyncio.Future[Any]:
        if rpc_controller is None:
            _process.check(self._made_in, "channel")
            method = core_method(method_descriptor, response_class)
            return awaited(loop, self._shared, self._caller, method, request, TIMEOUT, self)
        call, body = self._begin(method_descriptor, rpc_controller, request, response_class)
        return call.awaited(loop, method_descriptor, body, TIMEOUT)

    def __repr__(self) -> str:
        """Return the peer and whether it is still there."""
        if self._made_in != _process.generation:
            state = " of the parent process"
        else:
            state = "" if self._link.connected else " gone"
        return f"<{type(self).__name__} {self.peer}{state}>"
