"""A server between start and stop: its threads, and its place among what is shared."""

from __future__ import annotations

import contextvars
import dataclasses
import os
from typing import TYPE_CHECKING, Any

from callmethod import _core, _process
from callmethod._binding import bind, runs_on_loop
from callmethod._loop import AsyncRunner

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from callmethod.options import ServerOptions
    from callmethod.peer_channel import PeerChannel
    from callmethod.protocols import Protocol
    from callmethod.tls import ServerTls


@dataclasses.dataclass(frozen=True)
class StopSummary:
    """What a stop did not let end.

    Attributes:
        connections_cut: still open when the grace ended.
        calls_cut: came in and were never started.
        calls_running: handlers that still ran when all was over.
    """

    connections_cut: int = 0
    calls_cut: int = 0
    calls_running: int = 0


@dataclasses.dataclass(frozen=True)
class Offer:
    """What is served: one object, or what a factory makes for each connection."""

    service: Any = None
    factory: Callable[[PeerChannel], Any] | None = None

    def for_core(self) -> _core.Binding | Callable[[PeerChannel], _core.Binding]:
        """Return what the core takes: a binding, or what makes one for each connection."""
        factory = self.factory
        return bind(self.service) if factory is None else lambda channel: bind(factory(channel))

    def runs_on_loop(self) -> bool:
        """Say whether all that is called is known to be made by `async def`."""
        return self.factory is None and runs_on_loop(self.service)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a server was given, beside where it listens and what it serves."""

    max_workers: int
    options: ServerOptions
    authenticate: Callable[[PeerChannel, bytes, Mapping[str, str]], bool] | None
    expose_errors: bool
    reuse_port: bool
    tls: ServerTls | None


class Running:
    """A server between start and stop: its threads, and its place among what is shared."""

    def __init__(
        self,
        bind: str | socket.socket | None,
        protocols: Sequence[Protocol],
        offers: Sequence[Offer],
        nameless: str | None,
        settings: Settings,
    ) -> None:
        self._hasty = False
        services = [offer.for_core() for offer in offers]
        self._runner = AsyncRunner()
        self._threads = _process.Threads([])
        self._shared = _process.join(self)
        self._workers = _core.Workers(self._shared.core)
        try:
            self._threads = _process.start_threads(
                "callmethod-worker", self._workers.run, count=settings.max_workers
            )
            where = bind if bind is None or isinstance(bind, str) else os.dup(bind.fileno())
            self.core = _core.Server.start(
                self._shared.core,
                self._workers,
                where,
                protocols,
                settings.options,
                offers={"services": services, "nameless": nameless},
                authenticate=settings.authenticate,
                expose_errors=settings.expose_errors,
                reuse_port=settings.reuse_port,
                context=contextvars.copy_context(),
                runner=self._runner,
                tls=settings.tls,
            )
            # Handshakes take milliseconds, which workers have.
            quick = settings.authenticate is None and settings.tls is None
            if quick and all(offer.runs_on_loop() for offer in offers):
                self._runner.host(self._workers, self._shared.core)
        except BaseException:
            self._leave(_process.JOIN_SECONDS)
            raise

    def stop(self, grace: float) -> StopSummary:
        """Drain for `grace` seconds, cut the rest, end all threads."""
        summary = StopSummary()
        try:
            if not self._hasty:
                self.core.drain(grace)
                # Coroutines can be ended, and are then no handlers that still run. Not those that
                # only say farewell to what is being cut.
                cancel_handlers = self._runner.under_way()
                connections, calls = self.core.cut()
                cancel_handlers()
                summary = StopSummary(connections, calls, self.core.farewell())
            self._leave(0.0 if self._hasty else _process.JOIN_SECONDS)
        except BaseException:
            # Ctrl-C: whoever pressed it does not want to wait.
            self.hurry()
            self._leave(0.0)
            raise
        finally:
            self.core.release()
        return summary

    def hurry(self) -> None:
        """Cut everything, and have a stop, under way or to come, wait for nobody."""
        self._hasty = True
        self.core.abandon()

    def _leave(self, patience: float) -> None:
        # First the coroutines, for which connections wait; then what their connections still have
        # to say, which may be coroutines again; then the loop.
        self._runner.cancel(patience)
        self._workers.stop()
        self._threads.join(patience)
        self._runner.close(patience)
        _process.leave(self._shared, self)

    def at_exit(self) -> Callable[[], object]:
        """Cut everything; return what waits for workers that have nothing to do."""
        self.core.abandon()
        self._workers.stop()
        return lambda: self._threads.join(_process.JOIN_SECONDS / 5)
