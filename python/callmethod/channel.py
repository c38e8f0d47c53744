"""The channel to a server."""

from __future__ import annotations

import contextvars
import functools
import weakref
from typing import TYPE_CHECKING, Any

from callmethod import _core, _process
from callmethod._binding import bind, check_width, table_of
from callmethod._calling import OutgoingCall, awaited, core_method
from callmethod._loop import AsyncRunner
from callmethod._mistakes import check_done, made_by_init, refuse_on_loop, serialized
from callmethod.options import ChannelOptions, check_seconds
from callmethod.protocols import BaiduStd, Indexed, Protocol, check_protocol, traits_of
from callmethod.server import Server, core_of
from callmethod.service import RpcChannel
from callmethod.tls import check_client

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from typing_extensions import Self

    from callmethod import aio
    from callmethod.stats import Stats
    from callmethod.tls import ClientTls

__all__ = ["Channel"]

HASTE_SECONDS = 0.1
"""Time for what was sent to leave when somebody is waiting for more than the channel."""


class Channel(RpcChannel):
    """An `RpcChannel` to a server: what generated stubs take. Any thread may use it.

    It connects at the first call, and again after a loss; a call made while the server is away
    waits for it up to its own deadline.
    """

    _made_in: int = made_by_init()

    def __init__(
        self,
        target: str | Server | aio.Server,
        *,
        protocol: Protocol = BaiduStd(),  # noqa: B008  (frozen)
        options: ChannelOptions = ChannelOptions(),  # noqa: B008  (frozen)
        service: Any = None,
        tls: ClientTls | None = None,
    ) -> None:
        """Make a channel; nothing is connected yet.

        Args:
            target: `host:port`, `[v6]:port` or `unix:path`; or a running server of this process,
                which is then reached without a port.
            protocol: what the server speaks.
            options: times, and what a call does while the server is away.
            service: serves the calls that the server makes back. A channel with one connects
                again by itself after a loss, to hear them.
            tls: how TLS is spoken; without it none is.

        Raises:
            TypeError: `protocol` is no protocol, or `service` no service.
            ValueError: `target` is none; the protocol has no way for calls in both directions and
                there is a `service`; it carries no credential and the options have one; a server of
                this process is reached without TLS.
            RuntimeError: `target` is a server that does not run.
        """
        protocol = check_protocol(protocol)
        # A callmethod.aio.Server is a coat over one.
        target = getattr(target, "server", target)
        if not isinstance(target, (str, Server)):
            raise TypeError(f'target must be "host:port" or the like, not {target!r}')
        if not isinstance(options, ChannelOptions):
            raise TypeError(f"options must be callmethod.ChannelOptions(...), not {options!r}")
        check_client(tls)
        if tls is not None and not isinstance(target, str):
            raise ValueError("a server of this process is reached without a socket, hence no tls=")
        _check_options(protocol, options, service)
        self._target = target if isinstance(target, str) else "memory"
        self._timeout = options.timeout
        self._tls = tls
        self._answers = traits_of(protocol).answers
        self._made_in = _process.generation
        offers = None if service is None else _offers(service, protocol)
        runner = AsyncRunner()
        token = _Token()
        self._shared = _process.join(token)
        try:
            self._core = _core.Channel(
                self._shared.core,
                None if offers is None else self._shared.workers(),
                target if isinstance(target, str) else core_of(target),
                protocol,
                options,
                offers=offers,
                context=contextvars.copy_context(),
                runner=runner,
                tls=tls,
            )
        except BaseException:
            _process.leave(self._shared, token)
            raise
        self._caller = self._core.caller
        token.hold(self._core, runner)
        self._token = token
        # A channel that nobody keeps is closed; what it sent is given a moment to leave.
        self._closing = weakref.finalize(self, token.let_go, self._shared, self._made_in)
        self._closing.atexit = False

    @property
    def target(self) -> str:
        """Where it leads, as it was given."""
        return self._target

    @property
    def connected(self) -> bool:
        """Whether there is a connection now."""
        _process.check(self._made_in, "channel")
        return self._core.connected

    def connect(self, timeout: float | None = 5.0) -> None:
        """Connect now instead of at the first call.

        Raises:
            RpcError: DEADLINE_EXCEEDED after `timeout` seconds; UNAVAILABLE when the channel is
                closed, or at the first failure if calls are not to wait.
        """
        _process.check(self._made_in, "channel")
        if timeout is not None:
            check_seconds("timeout", timeout)
        refuse_on_loop("connect()")
        error, _, _ = self._core.connect(timeout).wait()
        if error is not None:
            raise error

    def close(self, grace: float = 1.0) -> None:
        """Write what waits for at most `grace` seconds and close; a second time does nothing.

        Later calls fail UNAVAILABLE.
        """
        _process.check(self._made_in, "channel")
        check_seconds("grace", grace)
        if self._closing.detach() is not None:
            self._token.close(self._shared, self._made_in, grace)

    def stats(self) -> Stats:
        """Return the counters of all connections of this channel."""
        _process.check(self._made_in, "channel")
        return self._core.stats()

    def set_credential(self, credential: bytes) -> None:
        """Say who calls, on the connections made from now on.

        Raises:
            TypeError: it is no bytes.
        """
        _process.check(self._made_in, "channel")
        self._core.set_credential(credential)

    def reload_tls(self, tls: ClientTls | None = None) -> None:
        """Read the files of `tls` again, for connections made from now on.

        With an argument, that is spoken from now on. The connection that is there stays as it is.

        Raises:
            OSError: a file cannot be read; all stays as it was, here and below.
            RuntimeError: the channel speaks no TLS.
            TypeError: it is no `ClientTls`.
            ValueError: what is in the files will not do, see `ClientTls`.
        """
        _process.check(self._made_in, "channel")
        check_client(tls)
        if self._tls is None:
            raise RuntimeError("the channel speaks no TLS; give it tls=ClientTls(...)")
        tls = self._tls if tls is None else tls
        self._core.reload_tls(tls)
        self._tls = tls

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Callable[..., Any] | None,
    ) -> Any:
        """Call a method of the server's service.

        Without `done` it returns the response; with it, `done` is called once on a thread of its
        own, with the response, or with None when the controller says that the call failed.

        On a one-way wire a call has succeeded once its frame was handed to the connection, and
        the response is None.

        Raises:
            RpcError: the call failed; with `done`, the controller is told instead.
            RuntimeError: it would block a thread that runs an event loop; the controller is in
                use or a handler's; the channel was made before a fork.
            TypeError: the request is not the method's.
            ValueError: the request is larger than a frame may be, or the protocol cannot carry
                what is to go along.
            google.protobuf.message.EncodeError: the request lacks required fields.
        """
        if done is None:
            refuse_on_loop("the call")
        else:
            check_done(done)
        if rpc_controller is None:
            if self._made_in != _process.generation:
                _process.check(self._made_in, "channel")
            method = core_method(method_descriptor, response_class)
            if done is None:
                return self._caller.block(method, request, self._timeout)
            self._caller.call_back(method, request, self._timeout, done, self)
            if self._shared.closed:
                self._shared.rescue()
            return None
        call, body = self._begin(method_descriptor, rpc_controller, request, response_class)
        if done is None:
            return call.block(method_descriptor, body, self._timeout)
        return call.call_back(method_descriptor, body, self._timeout, done)

    def _begin(
        self, method_descriptor: Any, rpc_controller: Any, request: Any, response_class: Any
    ) -> tuple[OutgoingCall, bytes]:
        _process.check(self._made_in, "channel")
        body = serialized(method_descriptor, request)
        call = OutgoingCall(
            self._shared,
            self._caller,
            self._target,
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
            if self._made_in != _process.generation:
                _process.check(self._made_in, "channel")
            method = core_method(method_descriptor, response_class)
            return awaited(loop, self._shared, self._caller, method, request, self._timeout, self)
        call, body = self._begin(method_descriptor, rpc_controller, request, response_class)
        return call.awaited(loop, method_descriptor, body, self._timeout)

    def __enter__(self) -> Self:
        """Return the channel itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the channel; in haste when Ctrl-C or an exit is under way."""
        haste = kind is not None and not issubclass(kind, Exception)
        self.close(HASTE_SECONDS if haste else 1.0)

    def __repr__(self) -> str:
        """Return the target and whether it is connected."""
        if self._made_in != _process.generation:
            state = "of the parent process"
        else:
            state = "connected" if self._core.connected else "not connected"
        return f"<{type(self).__name__} {self._target} {state}>"


class _Token:
    """What of a channel is left when nobody keeps the channel itself."""

    def __init__(self) -> None:
        self._core: _core.Channel | None = None
        self._runner: AsyncRunner | None = None
        self._closing: _core.Delivery | None = None

    def hold(self, core: _core.Channel, runner: AsyncRunner) -> None:
        self._core, self._runner = core, runner

    def close(self, shared: _process.Shared, made_in: int, grace: float) -> None:
        if made_in != _process.generation or shared.closed:
            return
        try:
            if self._core is not None:
                self._core.close(grace).wait()
        finally:
            self._leave(shared)

    def let_go(self, shared: _process.Shared, made_in: int) -> None:
        """Close without waiting: the garbage collector may come by on any thread."""
        if made_in == _process.generation and not shared.closed and self._core is not None:
            leave = functools.partial(self._leave, shared)
            self._closing = self._core.close(HASTE_SECONDS, leave)

    def _leave(self, shared: _process.Shared) -> None:
        if self._runner is not None:
            self._runner.close()
        if self._core is not None:
            self._core.release()
        _process.leave(shared, self)

    def at_exit(self) -> Callable[[], object]:
        if self._core is None:
            return lambda: None
        # One that is being closed already has its time from that.
        return (self._closing or self._core.close(_process.EXIT_SECONDS)).wait


def _check_options(protocol: Protocol, options: ChannelOptions, service: Any) -> None:
    traits = traits_of(protocol)
    if service is not None and not traits.push:
        raise ValueError(
            f"service= needs a protocol on which both ends can call; on {protocol} a call could be "
            "taken for an answer"
        )
    if options.credential is not None and not traits.credentials:
        raise ValueError(f"{protocol} has no place for a credential")
    if options.pool_size is not None and (service is not None or not traits.answers):
        raise ValueError("pool_size= is for channels whose calls have answers, without service=")


def _offers(service: Any, protocol: Protocol) -> _core._Offers:
    binding = bind(service)
    if isinstance(protocol, Indexed):
        check_width(table_of(service), protocol)
    return {"services": [binding], "nameless": None}
