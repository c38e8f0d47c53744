"""The same channels and servers for asyncio: what waits is awaited.

Any event loop will do, asyncio's and uvloop's, and any number of them in as many threads: a channel
belongs to none.
"""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any

from callmethod._mistakes import made_by_init
from callmethod.channel import HASTE_SECONDS
from callmethod.channel import Channel as _Channel
from callmethod.options import ChannelOptions, ServerOptions
from callmethod.peer_channel import PeerChannel
from callmethod.protocols import BaiduStd, Protocol
from callmethod.server import Server as _Server
from callmethod.server import hurry, on_stop
from callmethod.service import RpcChannel

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from callmethod._authentication import AuthContext
    from callmethod._running import StopSummary
    from callmethod.stats import Stats
    from callmethod.tls import ClientTls, ServerTls

__all__ = ["AwaitableChannel", "Channel", "Server", "awaitable"]


class AwaitableChannel(RpcChannel):
    """A channel whose calls are awaited: `response = await stub.Method(controller, request)`.

    Cancelling the task that awaits cancels the call.
    """

    _channel: _Channel | PeerChannel = made_by_init()

    def __init__(self, channel: _Channel | PeerChannel) -> None:
        """Let the calls of `channel` be awaited; it stays what it is for others.

        Raises:
            TypeError: it is none of ours, or has a `CallMethod` of its own.
        """
        if isinstance(channel, AwaitableChannel):
            raise TypeError(f"the calls of {channel!r} are awaited already")
        if not isinstance(channel, (_Channel, PeerChannel)):
            raise TypeError(
                "awaitable() takes a callmethod.Channel or a controller's rpc_channel, not "
                f"{channel!r}; callmethod.aio.Channel(target) makes one of a target"
            )
        own = getattr(channel.CallMethod, "__func__", None)
        if own not in (_Channel.CallMethod, PeerChannel.CallMethod):
            raise TypeError(
                f"{type(channel).__name__} overrides CallMethod, through which awaited calls would "
                "not go; override that of callmethod.aio.Channel instead"
            )
        self._channel = channel

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Callable[..., Any] | None,
    ) -> Any:
        """Call a method and return an `asyncio.Future` of the response.

        The call is under way when this returns, awaited or not. With `done` it is called back as
        by `callmethod.Channel`, and there is nothing to await.

        Raises:
            RuntimeError: no event loop runs on this thread; the controller is in use or a
                handler's; the channel was made before a fork.
            TypeError: the request is not the method's.
            ValueError: the request is larger than a frame may be, or the protocol cannot carry
                what is to go along.
            google.protobuf.message.EncodeError: the request lacks required fields.
        """
        channel = self._channel
        if done is not None:
            return channel.CallMethod(
                method_descriptor, rpc_controller, request, response_class, done
            )
        # Asked once for each call: before Python 3.12 each answer takes a system call.
        loop = _get_running_loop()
        if loop is None:
            raise RuntimeError(
                "no event loop runs on this thread; await the call in a coroutine, "
                "or use callmethod.Channel"
            )
        return channel._await_method(  # noqa: SLF001  (two coats of one channel)
            loop, method_descriptor, rpc_controller, request, response_class
        )

    def __repr__(self) -> str:
        """Return the channel's own, as awaited."""
        return f"<{type(self).__name__} of {self._channel!r}>"


def awaitable(channel: _Channel | PeerChannel) -> AwaitableChannel:
    """Return a channel over the same connection whose calls are awaited.

    For `controller.rpc_channel` in an `async def` handler, above all.

    Raises:
        TypeError: it is none of ours, or has a `CallMethod` of its own.
    """
    return AwaitableChannel(channel)


class Channel(AwaitableChannel):
    """`callmethod.Channel`, awaited. Loops may come and go, and share it."""

    _own: _Channel = made_by_init()

    def __init__(
        self,
        target: str | _Server | Server,
        *,
        protocol: Protocol = BaiduStd(),  # noqa: B008  (frozen)
        options: ChannelOptions = ChannelOptions(),  # noqa: B008  (frozen)
        service: Any = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Make a channel; arguments and errors are those of `callmethod.Channel`.

        `async def` methods of `service` run on the loop that runs here.
        """
        self._own = _Channel(target, protocol=protocol, options=options, service=service, tls=tls)
        super().__init__(self._own)

    @property
    def target(self) -> str:
        """Where it leads, as it was given."""
        return self._own.target

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        return self._own.connected

    async def connect(self, timeout: float | None = 5.0) -> None:
        """Connect now instead of at the first call.

        Raises:
            RpcError: as for `callmethod.Channel.connect`.
        """
        await asyncio.to_thread(self._own.connect, timeout)

    async def close(self, grace: float = 1.0) -> None:
        """Write what waits and await answers for at most `grace` seconds, and close."""
        await asyncio.to_thread(self._own.close, grace)

    def reload_tls(self, tls: ClientTls | None = None) -> None:
        """Read the files of `tls` again; arguments and errors are those of `Channel.reload_tls`."""
        self._own.reload_tls(tls)

    def stats(self) -> Stats:
        """Return the counters of all connections of this channel."""
        return self._own.stats()

    async def __aenter__(self) -> Self:
        """Return the channel itself."""
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the channel; in haste when the task was cancelled."""
        haste = kind is not None and not issubclass(kind, Exception)
        await self.close(HASTE_SECONDS if haste else 1.0)


class Server:
    """`callmethod.Server`, awaited. `async def` handlers run on the loop that starts it.

    Attributes:
        server: the server itself.
    """

    server: _Server = made_by_init()

    def __init__(
        self,
        bind: str | socket.socket | None = "127.0.0.1:0",
        *,
        protocols: Sequence[Protocol] | None = None,
        max_workers: int | None = None,
        options: ServerOptions = ServerOptions(),  # noqa: B008  (frozen)
        authenticate: Callable[[AuthContext], object] | Callable[[bytes, str], bool] | None = None,
        expose_errors: bool = True,
        reuse_port: bool = False,
        tls: ServerTls | None = None,
    ) -> None:
        """Make a server; arguments and errors are those of `callmethod.Server`."""
        self.server = _Server(
            bind,
            protocols=protocols,
            max_workers=max_workers,
            options=options,
            authenticate=authenticate,
            expose_errors=expose_errors,
            reuse_port=reuse_port,
            tls=tls,
        )

    def add_service(
        self, service: Any = None, *, factory: Callable[[PeerChannel], Any] | None = None
    ) -> None:
        """Add a service, as `callmethod.Server.add_service` does."""
        self.server.add_service(service, factory=factory)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose."""
        return self.server.address

    def reload_tls(self, tls: ServerTls | None = None) -> None:
        """Read the files of `tls` again; arguments and errors are those of `Server.reload_tls`."""
        self.server.reload_tls(tls)

    def stats(self) -> Stats:
        """Return the counters."""
        return self.server.stats()

    async def start(self) -> None:
        """Bind and serve; errors are those of `callmethod.Server.start`."""
        self.server.start()

    async def wait(self) -> None:
        """Wait until the server has stopped."""
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        on_stop(self.server, lambda: loop.call_soon_threadsafe(stopped.set))
        await stopped.wait()

    async def stop(self, grace: float = 5.0) -> StopSummary:
        """Stop, as `callmethod.Server.stop` does; handlers on this loop go on meanwhile."""
        return await asyncio.to_thread(self.server.stop, grace)

    async def __aenter__(self) -> Self:
        """Start the server."""
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the server; at once when the task was cancelled, as Ctrl-C does."""
        if kind is not None and not issubclass(kind, Exception):
            hurry(self.server)
        await self.stop()
