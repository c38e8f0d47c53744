"""The channel to a server."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import weakref
from typing import TYPE_CHECKING, Any

from callmethod import _core, _process
from callmethod._binding import bind
from callmethod._calling import OutgoingCall, check_done, serialized, settling
from callmethod._loop import AsyncRunner
from callmethod.errors import Code, RpcError
from callmethod.options import ChannelOptions, check_seconds
from callmethod.protocols import Indexed
from callmethod.service import RpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from callmethod.stats import Stats

__all__ = ["Channel"]

HASTE_SECONDS = 0.1
"""Time for what was sent to leave when somebody is waiting for more than the channel."""


class Channel(RpcChannel):
    """An `RpcChannel` to a server: what generated stubs take. Any thread may use it.

    It connects at the first call, and again after a loss; a call made while the server is away
    waits for it up to its own deadline.
    """

    def __init__(
        self,
        target: str,
        *,
        protocol: Indexed,
        options: ChannelOptions = ChannelOptions(),  # noqa: B008  (frozen)
        service: Any = None,
    ) -> None:
        """Make a channel; nothing is connected yet.

        Args:
            target: `host:port`, `[v6]:port` or `unix:path`.
            protocol: what the server speaks.
            options: times, and what a call does while the server is away.
            service: serves the calls that the server makes back. A channel with one connects
                again by itself after a loss, to hear them.

        Raises:
            TypeError: `protocol` is no protocol, or `service` no service.
            ValueError: `target` is none, or the protocol's layout has answers.
        """
        if not isinstance(protocol, Indexed):
            raise TypeError(f"protocol must be callmethod.Indexed(...), not {protocol!r}")
        if not isinstance(target, str):
            raise TypeError(f'target must be "host:port" or the like, not {target!r}')
        if not isinstance(options, ChannelOptions):
            raise TypeError(f"options must be callmethod.ChannelOptions(...), not {options!r}")
        self._target = target
        self._options = options
        self._made_in = _process.generation
        binding = None if service is None else bind(service, protocol)
        runner = AsyncRunner()
        token = _Token()
        self._shared = _process.join(token)
        try:
            self._core = _core.Channel(
                self._shared.core,
                None if binding is None else self._shared.workers(),
                target,
                protocol,
                options,
                binding=binding,
                context=contextvars.copy_context(),
                submit=runner.submit,
            )
        except BaseException:
            _process.leave(self._shared, token)
            raise
        token.hold(self._core, runner)
        self._token = token
        # A channel that nobody keeps is closed; what it sent is given a moment to leave. On another
        # thread, since the garbage collector may find it on any and must not wait.
        close = functools.partial(token.close, self._shared, self._made_in)
        self._closing = weakref.finalize(self, self._shared.post, close)
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
        _refuse_on_loop("connect()")
        self._core.connect(timeout).wait()

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

    def CallMethod(
        self,
        method_descriptor: Any,
        rpc_controller: Any,
        request: Any,
        response_class: Any,
        done: Callable[..., Any] | None,
    ) -> None:
        """Call a method of the server's service.

        On a one-way wire a call has succeeded once its frame was handed to the connection; it
        returns None then, or `done(None)` is called, on a thread of its own, with the controller
        not failed.

        Raises:
            RpcError: the call failed; with `done`, the controller is told instead.
            RuntimeError: it would block a thread that runs an event loop; the controller is in
                use or a handler's; the channel was made before a fork.
            TypeError: the request is not the method's.
            ValueError: the request is larger than a frame may be.
            google.protobuf.message.EncodeError: the request lacks required fields.
        """
        _process.check(self._made_in, "channel")
        check_done(done)
        if done is None:
            _refuse_on_loop("a call without done=")
        body = serialized(method_descriptor, request)
        call = OutgoingCall(rpc_controller)
        try:
            if done is None:
                self._call_blocking(call, method_descriptor.index, body)
            else:
                self._call_back(call, method_descriptor.index, body, done)
        except RpcError as error:
            call.end(error)
            raise
        except KeyboardInterrupt:
            call.end(RpcError(Code.CANCELLED, "interrupted", self._target))
            raise
        except BaseException:
            call.withdraw()
            raise

    def _call_blocking(self, call: OutgoingCall, index: int, body: bytes) -> None:
        if not self._core.call_now(index, body):
            delivery = self._core.call(index, body, call.timeout(self._options.timeout))
            call.cancel_by(delivery.cancel)
            delivery.wait()
        call.end(None)

    def _call_back(
        self, call: OutgoingCall, index: int, body: bytes, done: Callable[..., Any]
    ) -> None:
        settle = settling(call, done)
        with call.being_made:
            try:
                sent = self._core.call_now(index, body)
            except RpcError as error:
                self._shared.post(settle, error)
                return
            if sent:
                self._shared.post(settle, None)
                return
            timeout = call.timeout(self._options.timeout)
            delivery = self._core.call_then(index, body, timeout, settle)
            call.cancel_by(delivery.cancel)

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

    def hold(self, core: _core.Channel, runner: AsyncRunner) -> None:
        self._core, self._runner = core, runner

    def close(self, shared: _process.Shared, made_in: int, grace: float = HASTE_SECONDS) -> None:
        if made_in != _process.generation:
            return
        try:
            if self._core is not None:
                self._core.close(grace).wait()
        finally:
            if self._runner is not None:
                self._runner.close()
            if self._core is not None:
                self._core.release()
            _process.leave(shared, self)

    def at_exit(self) -> Callable[[], object]:
        if self._core is None:
            return lambda: None
        return self._core.close(_process.EXIT_SECONDS).wait


def _refuse_on_loop(what: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{what} would block the event loop that runs on this thread; pass done=, "
        "or use callmethod.aio once it is there"
    )
