"""The server."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING, Any

from callmethod import _core, _process
from callmethod._binding import check_service
from callmethod._running import Offer, Running, StopSummary
from callmethod.options import check_seconds
from callmethod.protocols import Indexed
from callmethod.stats import nothing_yet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FrameType

    from typing_extensions import Self

    from callmethod.peer_channel import PeerChannel
    from callmethod.stats import Stats

__all__ = ["Server", "StopSummary"]


class Server:
    """Serves services to whoever connects. `with` starts and stops it."""

    def __init__(
        self,
        bind: str | socket.socket = "127.0.0.1:0",
        *,
        protocols: Sequence[Indexed] | None = None,
        max_workers: int | None = None,
        reuse_port: bool = False,
    ) -> None:
        """Make a server; nothing is bound yet.

        Args:
            bind: `host:port` (port 0: any free one), `[v6]:port`, `unix:path`, or a socket that
                listens; that stays yours.
            protocols: what is spoken; the indexed protocol in its default layout if not given.
            max_workers: handlers that run at once; cores + 4, at most 32, if not given. With 1,
                all handlers run on one and the same thread.
            reuse_port: whether other processes may listen at the same port (SO_REUSEPORT).

        Raises:
            TypeError: something of the wrong kind.
            ValueError: a number out of range, or a layout with answers.
        """
        if not isinstance(bind, (str, socket.socket)):
            raise TypeError(f"bind must be an address or a socket, not {type(bind).__name__}")
        self._bind = bind
        self._protocol = _one_protocol(protocols)
        self._max_workers = _process.default_workers() if max_workers is None else max_workers
        if not isinstance(self._max_workers, int):
            raise TypeError(f"max_workers must be a number of threads, not {max_workers!r}")
        if self._max_workers < 1:
            raise ValueError(f"max_workers must be 1 or more, not {max_workers!r}")
        self._reuse_port = reuse_port
        self._services: list[Any] = []
        self._factories: list[Callable[[PeerChannel], Any]] = []
        self._made_in = _process.generation
        self._running: Running | None = None
        # Re-entrant: a signal handler may stop the server on the thread that holds it.
        self._lock = threading.RLock()
        self._stopper: threading.Thread | None = None
        self._over = threading.Event()
        self._summary: StopSummary | None = None

    def add_service(
        self, service: Any = None, *, factory: Callable[[PeerChannel], Any] | None = None
    ) -> None:
        """Add a service: one object for all connections, or one a connection from `factory`.

        `factory` is called with the connection's channel, on a worker, before anything else.
        Services with `on_connected(channel)` and `on_disconnected(channel, reason)` are told.

        Raises:
            TypeError: neither or both were given; a class, a stub, or no service.
            RuntimeError: the server was started.
        """
        if (service is None) == (factory is None):
            raise TypeError("add_service takes a service or factory=, one of the two")
        if self._running is not None or self._stopper is not None:
            raise RuntimeError("services are added before start()")
        if factory is not None:
            if not callable(factory):
                raise TypeError(f"factory must be callable, not {type(factory).__name__}")
            self._factories.append(factory)
            return
        check_service(service)
        self._services.append(service)

    def start(self) -> None:
        """Bind and serve.

        `async def` handlers run on the event loop that runs here, if one does.

        Raises:
            OSError: it cannot listen, EADDRINUSE for one.
            ValueError: the address is none; there is no service, or several and no
                `Indexed(service=...)` that says which one.
            RuntimeError: it was started before.
        """
        _process.check(self._made_in, "server")
        with self._lock:
            if self._running is not None or self._stopper is not None:
                raise RuntimeError("a server starts once")
            offer = self._offer()
            self._running = Running(
                self._bind, self._protocol, offer, self._max_workers, self._reuse_port
            )

    def _offer(self) -> Offer:
        """Return the one service or factory that the indexed protocol serves."""
        services = [Offer(service=service) for service in self._services]
        factories = [Offer(factory=factory) for factory in self._factories]
        wanted = self._protocol.service
        if wanted is not None:
            names = [service.GetDescriptor().full_name for service in self._services]
            if wanted in names:
                return services[names.index(wanted)]
            # What a factory makes is known when it has made it.
            if not factories:
                raise ValueError(f"Indexed(service={wanted!r}): there are only {names}")
            services = []
        offers = services + factories
        if not offers:
            raise ValueError("there is nothing to serve; call add_service() first")
        if len(offers) > 1:
            raise ValueError(
                "the indexed protocol serves one service; name it by Indexed(service=...)"
            )
        return offers[0]

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose.

        Raises:
            RuntimeError: it was not started.
        """
        return self._started().core.address

    def _started(self) -> Running:
        _process.check(self._made_in, "server")
        if self._running is None:
            raise RuntimeError("the server was not started")
        return self._running

    def stats(self) -> Stats:
        """Return the counters; also before the server started and after it stopped."""
        _process.check(self._made_in, "server")
        return nothing_yet() if self._running is None else self._running.core.stats()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server has stopped, at most `timeout` seconds; say whether it has."""
        _process.check(self._made_in, "server")
        return self._over.wait(timeout)

    def stop(self, grace: float = 5.0) -> StopSummary:
        """Stop: nothing new is accepted, what runs may end for `grace` seconds, the rest is cut.

        A second call waits for the first and returns the same. One that comes on the same thread,
        from a signal handler, makes the first one cut at once.

        Raises:
            ValueError: `grace` is no time.
        """
        _process.check(self._made_in, "server")
        check_seconds("grace", grace)
        with self._lock:
            mine = self._stopper is None
            if mine:
                self._stopper = threading.current_thread()
        running = self._running
        if not mine:
            if self._stopper is threading.current_thread() and not self._over.is_set():
                if running is not None:
                    running.core.abandon()
                return StopSummary()
            self._over.wait()
            return self._summary or StopSummary()
        try:
            self._summary = StopSummary() if running is None else running.stop(grace)
        finally:
            self._over.set()
        return self._summary

    def serve_forever(self, grace: float = 5.0) -> None:
        """Serve until SIGINT or SIGTERM: the first one stops with `grace`, the second one now.

        Starts the server if it was not. The signals' own handlers are put back in the end.

        Raises:
            RuntimeError: not on the main thread, where alone signals can be had.
        """
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError("serve_forever() handles signals, which only the main thread can")
        if self._running is None:
            self.start()
        running = self._started()
        stopping = False

        def on_signal(_signal: int, _frame: FrameType | None) -> None:
            nonlocal stopping
            if stopping:
                running.core.abandon()
                return
            stopping = True
            threading.Thread(target=self.stop, args=(grace,), name="callmethod-stop").start()

        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, on_signal) for number in numbers]
        try:
            self.wait()
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server."""
        self.stop()

    def __repr__(self) -> str:
        """Return where it listens, or that it does not."""
        if self._stopper is not None:
            state = "stopped"
        elif self._running is None:
            state = "not started"
        else:
            state = self._running.core.address
        return f"<{type(self).__name__} {state}>"


def _one_protocol(protocols: Sequence[Indexed] | None) -> Indexed:
    if protocols is None:
        return Indexed()
    if isinstance(protocols, Indexed):
        raise TypeError("protocols is a list: protocols=[callmethod.Indexed()]")
    given = list(protocols)
    for protocol in given:
        if not isinstance(protocol, Indexed):
            raise TypeError(f"protocols are callmethod.Indexed(...) and the like, not {protocol!r}")
    if len(given) != 1:
        raise ValueError(f"one protocol is served for now; {len(given)} were given")
    (protocol,) = given
    _core.check_one_way(protocol)
    return protocol
