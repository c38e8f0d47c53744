"""The server."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from callmethod import _process
from callmethod._authentication import checked, takes_context
from callmethod._binding import check_service
from callmethod._mistakes import made_by_init
from callmethod._running import Offer, Running, Settings, StopSummary
from callmethod._signals import until_signal
from callmethod._speaking import nameless_service, spoken
from callmethod.options import ServerOptions, brief, check_seconds
from callmethod.stats import nothing_yet
from callmethod.tls import check_server

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from typing_extensions import Self

    from callmethod import _core
    from callmethod._authentication import AuthContext
    from callmethod.peer_channel import PeerChannel
    from callmethod.protocols import Protocol
    from callmethod.stats import Stats
    from callmethod.tls import ServerTls

__all__ = ["Server", "StopSummary"]

MAX_WORKERS = 4096
"""Each is a thread."""

DEFAULT_BIND = "127.0.0.1:0"
WAIT_SECONDS = 0.2
"""How long a signal may go unheard while a server is waited for."""


class Server:
    """Serves services to whoever connects. `with` starts and stops it."""

    _made_in: int = made_by_init()

    def __init__(
        self,
        bind: str | socket.socket | None = DEFAULT_BIND,
        *,
        protocols: Sequence[Protocol] | None = None,
        max_workers: int | None = None,
        options: ServerOptions = ServerOptions(),  # noqa: B008  (frozen)
        authenticate: Callable[[AuthContext], object] | Callable[[bytes, str], bool] | None = None,
        expose_errors: bool = True,
        reuse_port: bool = False,
        tls: ServerTls | None = None,
    ) -> None:
        """Make a server; nothing is bound yet.

        Args:
            bind: `host:port` (port 0: any free one), `[v6]:port`, `unix:path`, or a socket that
                listens; that stays yours. None for channels of this process only.
            protocols: what is spoken; all there are, if not given. With `authenticate`, those that
                can carry a credential.
            max_workers: handlers that run at once, at most 4096; cores + 4, at most 32, if not
                given. With 1, all handlers run on one and the same thread.
            options: how much the server takes on.
            authenticate: called on a worker for the first call of each connection, with an
                `AuthContext`, or with the credential and the peer's address if it takes two
                arguments; a plain function. A caller for whom it returns a falsehood or raises is
                answered UNAUTHENTICATED, with the text of an `RpcError`, and disconnected. What
                else it returns, other than True, is the caller's `peer_identity`.
            expose_errors: whether callers learn type and message of what a handler raised; if not,
                they learn "internal error".
            reuse_port: whether other processes may listen at the same port (SO_REUSEPORT).
            tls: how TLS is spoken at the port; nothing else is then, unless that says so.

        Raises:
            TypeError: something of the wrong kind.
            ValueError: a number out of range; protocols that cannot share a port, or cannot carry
                a credential where one is asked for.
        """
        if bind is not None and not isinstance(bind, (str, socket.socket)):
            raise TypeError(f"bind must be an address or a socket, not {type(bind).__name__}")
        if not isinstance(options, ServerOptions):
            raise TypeError(f"options must be callmethod.ServerOptions(...), not {options!r}")
        check_server(tls)
        check = None if authenticate is None else checked(authenticate)
        by_certificate = tls is not None and tls.client_ca is not None
        self._bind = bind
        self._protocols = spoken(
            protocols,
            credentials=check is not None and not (by_certificate and takes_context(authenticate)),
            sniffed=tls is not None and tls.also_plain,
        )
        workers: object = _process.default_workers() if max_workers is None else max_workers
        if not isinstance(workers, int) or isinstance(workers, bool):
            raise TypeError(f"max_workers must be a number of threads, not {max_workers!r}")
        if not 1 <= workers <= MAX_WORKERS:
            raise ValueError(f"max_workers must be from 1 to {MAX_WORKERS}, not {brief(workers)}")
        self._settings = Settings(workers, options, check, expose_errors, reuse_port, tls)
        self._services: list[Any] = []
        self._factories: list[Callable[[PeerChannel], Any]] = []
        self._made_in = _process.generation
        self._running: Running | None = None
        # Re-entrant: a signal handler may stop the server on the thread that holds it.
        self._lock = threading.RLock()
        self._stopper: threading.Thread | None = None
        self._over = threading.Event()
        self._told_of_stop: list[Callable[[], object]] = []
        self._summary: StopSummary | None = None

    def add_service(
        self, service: Any = None, *, factory: Callable[[PeerChannel], Any] | None = None
    ) -> None:
        """Add a service: one object for all connections, or one a connection from `factory`.

        `factory` is called with the connection's channel, on a worker, before anything else.
        Services with `on_connected(channel)` and `on_disconnected(channel, reason)` are told.

        Raises:
            TypeError: neither or both were given; a class, a stub, or no service.
            ValueError: it was added already; or its name without the package is that of another
                one, which callers that leave the package out could not tell from it.
            RuntimeError: the server was started.
        """
        _process.check(self._made_in, "server")
        if (service is None) == (factory is None):
            raise TypeError("add_service takes a service or factory=, one of the two")
        if self._running is not None or self._stopper is not None:
            raise RuntimeError("services are added before start()")
        if factory is not None:
            if not callable(factory):
                raise TypeError(f"factory must be callable, not {type(factory).__name__}")
            self._factories.append(factory)
            return
        check_service(service, or_else=", or factory=")
        descriptor = service.GetDescriptor()
        for other in (added.GetDescriptor() for added in self._services):
            if other.full_name == descriptor.full_name:
                raise ValueError(f"{other.full_name} was added already; one object serves it")
            if other.name == descriptor.name:
                raise ValueError(
                    f"{other.full_name} and {descriptor.full_name} have one name without the "
                    f"package, {descriptor.name}, by which callers may call them"
                )
        self._services.append(service)

    def start(self) -> None:
        """Bind and serve.

        `async def` handlers run on the event loop that runs here, if one does.

        Raises:
            OSError: it cannot listen, EADDRINUSE for one.
            ValueError: the address is none; there is no service, or several and no
                `Indexed(service=...)` that says which one the indexed protocol means.
            RuntimeError: it was started before.
        """
        _process.check(self._made_in, "server")
        with self._lock:
            if self._running is not None or self._stopper is not None:
                raise RuntimeError("a server starts once")
            offers = [Offer(service=service) for service in self._services]
            offers += [Offer(factory=factory) for factory in self._factories]
            if not offers:
                raise ValueError("there is nothing to serve; call add_service() first")
            nameless = nameless_service(
                self._protocols, self._services, factories=len(self._factories)
            )
            self._running = Running(self._bind, self._protocols, offers, nameless, self._settings)

    def reload_tls(self, tls: ServerTls | None = None) -> None:
        """Read the files of `tls` again, for connections made from now on.

        With an argument, that is spoken from now on. Connections that are there stay as they are.

        Raises:
            OSError: a file cannot be read; all stays as it was, here and below.
            RuntimeError: the server speaks no TLS.
            TypeError: it is no `ServerTls`.
            ValueError: what is in the files will not do, see `ServerTls`.
        """
        _process.check(self._made_in, "server")
        check_server(tls)
        with self._lock:
            spoken = self._settings.tls
            if spoken is None:
                raise RuntimeError("the server speaks no TLS; give it tls=ServerTls(...)")
            tls = spoken if tls is None else tls
            if tls.also_plain != spoken.also_plain:
                raise ValueError("also_plain cannot change while the server runs")
            if self._running is not None:
                self._running.core.reload_tls(tls)
            self._settings = dataclasses.replace(self._settings, tls=tls)

    @property
    def address(self) -> str:
        """Where it listens, with the port that the system chose.

        Raises:
            RuntimeError: it was not started, or has no address.
        """
        address = self._started().core.address
        if address is None:
            raise RuntimeError("the server has no address: it serves channels of this process")
        return address

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
        end = None if timeout is None else time.monotonic() + timeout
        # In slices: a signal that another thread caught would not wake this one.
        while not self._over.is_set():
            left = WAIT_SECONDS if end is None else min(WAIT_SECONDS, end - time.monotonic())
            if left <= 0:
                break
            self._over.wait(left)
        return self._over.is_set()

    def _has_stopped(self) -> None:
        with self._lock:
            self._over.set()
            waiting, self._told_of_stop = self._told_of_stop, []
        for told in waiting:
            # Whoever waited on a loop that is closed waits no more.
            with contextlib.suppress(RuntimeError):
                told()

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
                    running.hurry()
                return StopSummary()
            self.wait()
            return self._summary or StopSummary()
        try:
            self._summary = StopSummary() if running is None else running.stop(grace)
        finally:
            self._has_stopped()
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
        until_signal(self.wait, stop=lambda: self.stop(grace), stop_now=running.hurry)

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop the server; at once when Ctrl-C or an exit is under way."""
        if kind is not None and not issubclass(kind, Exception):
            hurry(self)
        self.stop()

    def __repr__(self) -> str:
        """Return where it listens, or that it does not."""
        if self._stopper is not None:
            state = "stopped"
        elif self._running is None:
            state = "not started"
        else:
            state = self._running.core.address or "in this process"
        return f"<{type(self).__name__} {state}>"


def core_of(server: Server) -> _core.Server:
    """Return what serves, for channels of this process.

    Raises:
        RuntimeError: it was not started, or has stopped.
    """
    running = server._started()
    if server._stopper is not None:
        raise RuntimeError("the server has stopped")
    return running.core


def services_of(server: Server) -> list[Any]:
    """Return the services that were added, but for those that factories make."""
    return [*server._services]


def hurry(server: Server) -> None:
    """Cut everything; the stop that follows waits for nobody."""
    if server._running is not None:
        server._running.hurry()


def on_stop(server: Server, told: Callable[[], object]) -> None:
    """Have `told` called when the server has stopped; at once when it has."""
    with server._lock:
        if not server._over.is_set():
            server._told_of_stop.append(told)
            return
    told()


def close(server: Server) -> None:
    """Have a server accept nothing more, and serve on."""
    server._started().core.close()


def cut(server: Server) -> None:
    """Have a stop wait for nothing more, whether it is under way or still to come."""
    server._started().core.abandon()


def listen_at(server: Server, listener: socket.socket) -> None:
    """Have a server that is not started listen at `listener`.

    Raises:
        RuntimeError: it was started.
        ValueError: it was given another place to listen at.
    """
    if server._running is not None or server._stopper is not None:
        raise RuntimeError("the server was started; who serves it starts it")
    if server._bind not in {None, DEFAULT_BIND}:
        raise ValueError(f"the server names a place of its own to listen at, bind={server._bind!r}")
    server._bind = listener
