"""The way back to whoever called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callmethod import _process
from callmethod._calling import OutgoingCall, check_done, serialized, settling
from callmethod.errors import RpcError
from callmethod.service import RpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod import _core

__all__ = ["PeerChannel"]


class PeerChannel(RpcChannel):
    """The way back to a caller, on the connection that the call came by.

    There is one for a connection; it may be kept and used from any thread. Its calls never wait:
    where more than 4 MiB are unread by the peer they fail.
    """

    def __init__(self, link: _core.Link) -> None:
        """Not for users: handlers find theirs in `controller.rpc_channel`."""
        self._link = link
        self._made_in = _process.generation
        self._shared = _process.current()

    @property
    def peer(self) -> str:
        """Where the peer is, `127.0.0.1:40001` for one."""
        return self._link.peer

    @property
    def protocol(self) -> str:
        """Name of the protocol spoken."""
        return self._link.protocol

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
    ) -> None:
        """Call a method of the peer's service.

        Raises:
            RpcError: RESOURCE_EXHAUSTED (too much is unread), UNAVAILABLE (the connection is
                gone); with `done`, the controller is told instead.
            TypeError: the request is not the method's.
            ValueError: the request is larger than a frame may be.
            google.protobuf.message.EncodeError: the request lacks required fields.
        """
        _process.check(self._made_in, "channel")
        check_done(done)
        body = serialized(method_descriptor, request)
        call = OutgoingCall(rpc_controller)
        error: RpcError | None = None
        try:
            self._link.call(method_descriptor.index, body)
        except RpcError as failure:
            error = failure
        except BaseException:
            call.withdraw()
            raise
        if done is not None:
            with call.being_made:
                self._shared.post(settling(call, done), error)
            return
        call.end(error)
        if error is not None:
            raise error

    def __repr__(self) -> str:
        """Return the peer and whether it is still there."""
        if self._made_in != _process.generation:
            state = " of the parent process"
        else:
            state = "" if self._link.connected else " gone"
        return f"<{type(self).__name__} {self.peer}{state}>"
