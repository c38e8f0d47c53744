"""One port, several processes."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

from callmethod import _factory
from callmethod._child import Plan
from callmethod._listening import Listening
from callmethod._supervisor import ServeSummary, Supervisor
from callmethod.options import check_count, check_seconds
from callmethod.server import DEFAULT_BIND
from callmethod.tls import check_server, to_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from callmethod.tls import ServerTls

__all__ = ["ServeSummary", "serve"]


def serve(
    factory: str | Callable[[], Any],
    bind: str | socket.socket = DEFAULT_BIND,
    *,
    workers: int | None = None,
    grace: float = 5.0,
    start_timeout: float = 60.0,
    on_ready: Callable[[str], object] | None = None,
    tls: ServerTls | None = None,
) -> ServeSummary:
    """Serve from several processes at one port, until SIGINT or SIGTERM.

    This process listens and looks after the workers; it starts no thread and runs no handler.

    SIGINT or SIGTERM lets the workers end their calls, and this returns when all have ended; a
    second one stops them now. SIGHUP renews the workers, one after the other. The signals' own
    handlers are put back in the end.

    Args:
        factory: called without arguments in each worker: `"module:name"`, or a function or class
            that can be found by its name. It gives a service, a list of services, or a `Server`
            that was not started and names no address; it may be a coroutine function.
        bind: `host:port` (port 0: any free one), `[v6]:port`, `unix:path`, or a socket that
            listens; that stays yours, and does not block from now on.
        workers: how many processes; one for each core, if not given.
        grace: seconds for calls under way when a worker is to end.
        start_timeout: seconds for a worker to come up.
        on_ready: called once, here, with the address, when the workers have come up.
        tls: how the workers speak TLS, by names of files, which each reads when it starts; for a
            factory of services. A `Server` of a factory's brings its own.

    Raises:
        OSError: it cannot listen, EADDRINUSE for one.
        RuntimeError: not on the main thread, where alone signals can be had; in a worker; no worker
            came up.
        TypeError: something of the wrong kind.
        ValueError: the address is none, a number is out of range, the factory has no name by
            which a worker could find it, or `tls` holds PEM instead of names of files.
    """
    if _factory.in_worker:
        raise RuntimeError(
            'serve() was called in a worker; in a program, put it under if __name__ == "__main__":'
        )
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("serve() handles signals, which only the main thread can")
    if not isinstance(bind, (str, socket.socket)):
        raise TypeError(f"bind must be an address or a socket, not {type(bind).__name__}")
    count = _cores() if workers is None else workers
    check_count("workers", count, 1)
    check_seconds("grace", grace)
    check_seconds("start_timeout", start_timeout)
    if on_ready is not None and not callable(on_ready):
        raise TypeError(f"on_ready must be callable, not {type(on_ready).__name__}")
    check_server(tls)
    spoken = None if tls is None else to_fields(tls)
    plan = Plan(_factory.name_of(factory), grace, start_timeout, spoken)
    return Supervisor(plan, Listening(bind), count, on_ready).run()


def _cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))
