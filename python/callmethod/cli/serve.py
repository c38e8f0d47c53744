"""`callmethod serve`: any service class or factory, without a program around it."""

from __future__ import annotations

import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any

from callmethod import _factory, reflection, workers
from callmethod.aio import Server as AioServer
from callmethod.cli import arguments, tls
from callmethod.cli.descriptors import find_here
from callmethod.cli.failure import Exit, Failure
from callmethod.cli.reloading import Watch
from callmethod.server import Server

if TYPE_CHECKING:
    import argparse

TEXT = """\
Serve services in worker processes at one port, until Ctrl-C or SIGTERM; a second one stops at once.

Each SERVICE is the name of a service class, or of a function without arguments that gives a
service, a list of services, or a callmethod.Server; it may be a coroutine function. Modules are
looked for in the current folder first. SIGHUP renews the workers one after the other, and so does
--reload when a file changes: no call is lost, and while the new code does not start, the old one
goes on."""

EXAMPLES = """\
  callmethod serve game:Game
  callmethod serve game:Game chat:make --bind 0.0.0.0:8000 --workers 4 --reflection
  callmethod serve game:Game --reload
  callmethod serve game:Game --bind 0.0.0.0:8443 --tls server.pem --key server.key"""


MADE_BY = f"{__name__}:in_worker"


def add(commands: arguments.Commands) -> None:
    """Add the command."""
    parser = arguments.command(commands, "serve", "serve service classes", TEXT, EXAMPLES)
    parser.set_defaults(run=run)
    parser.add_argument("service", nargs="+", metavar="MODULE:SERVICE", help="what is served")
    parser.add_argument(
        "--bind", default="127.0.0.1:8000", metavar="ADDRESS",
        help="host:port (port 0: any free one), [v6]:port or unix:path (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--workers", type=arguments.count, default=1, metavar="N",
        help="processes (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--protocol", action="append", type=arguments.protocol, metavar="NAME[:KEY=VALUE,...]",
        help="what is spoken; may be given several times (default: all there are)",
    )  # fmt: skip
    parser.add_argument(
        "--threads", type=arguments.count, metavar="N",
        help="handlers that run at once in each process (default: cores + 4, at most 32)",
    )  # fmt: skip
    parser.add_argument(
        "--reflection", action="store_true", help="tell clients what is served, and its types"
    )
    parser.add_argument(
        "--grace", type=arguments.seconds, default=5.0, metavar="SECONDS",
        help="for calls under way when a worker is to end (default: %(default)g)",
    )  # fmt: skip
    parser.add_argument(
        "-v", "--verbose", action="store_true", help="log connections and workers, too"
    )
    parser.add_argument(
        "--reload", action="store_true", help="renew the workers when a .py or .proto file changes"
    )
    parser.add_argument(
        "--reload-dir", action="append", metavar="FOLDER",
        help="what --reload looks at; may be given several times (default: the current folder)",
    )  # fmt: skip
    tls.add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Serve until a signal ends it."""
    for name in args.service:
        try:
            _factory.name_of(name)
        except ValueError as error:
            raise Failure(Exit.USAGE, str(error)) from None
    # Read by each worker; what is wrong with it is told here.
    tls.of_server(args)
    # A worker finds its options there.
    sys.argv[1:] = args.words
    find_here()
    _log(args)
    watch = Watch(args.reload_dir or ["."], _say_changed) if args.reload else None
    start = Start(", ".join(args.service))

    def say(address: str) -> None:
        start.is_over()
        processes = f"{args.workers} processes" if args.workers > 1 else "1 process"
        sys.stdout.write(f"serving {', '.join(args.service)} at {address}, {processes}\n")
        sys.stdout.flush()
        if watch is not None:
            watch.start()

    try:
        workers.serve(MADE_BY, args.bind, workers=args.workers, grace=args.grace, on_ready=say)
    except (OSError, RuntimeError, ValueError) as error:
        start.has_failed()
        status = Exit.MISTAKE if isinstance(error, RuntimeError) else Exit.USAGE
        text = error.strerror if isinstance(error, OSError) else None
        # In a worker's report our own name stands where the user's should.
        text = text or str(error).replace(f"{MADE_BY}: ", "")
        if not args.traceback and 'File "' in str(error.__cause__):
            text += "; callmethod --traceback serve shows where"
        raise Failure(status, text) from error.__cause__ or error
    finally:
        start.is_over()
        if watch is not None:
            watch.stop()
    return Exit.OK


class Start(logging.Filter):
    """What the log says of workers, for a reader who did not write `in_worker`.

    Until a worker has come up, errors are kept back: if none does, the program ends with the
    reason, which need not be in the log as well.
    """

    def __init__(self, served: str) -> None:
        """Begin; `served` is what the user calls the factory."""
        super().__init__()
        self._served = served
        self._kept: list[logging.LogRecord] | None = []
        self._logger = logging.getLogger("callmethod")
        self._logger.addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep an error, let everything else pass."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                self._served if str(each) == MADE_BY else each for each in record.args
            )
        if self._kept is None or record.levelno < logging.ERROR:
            return True
        self._kept.append(record)
        return False

    def has_failed(self) -> None:
        """Forget what was kept."""
        self._kept = None

    def is_over(self) -> None:
        """Say what was kept, and keep nothing from now on."""
        kept, self._kept = self._kept, None
        for record in kept or []:
            self._logger.handle(record)


def _log(args: argparse.Namespace) -> None:
    level = logging.INFO if args.verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")


def _say_changed(files: list[str]) -> None:
    sys.stdout.write(f"renewing: {', '.join(files)} changed\n")
    sys.stdout.flush()


def in_worker() -> Any:
    """Return the server of a worker, or what can be awaited for it."""
    from callmethod.cli.main import parser  # noqa: PLC0415  (it imports this module)

    args = parser().parse_args(sys.argv[1:])
    _log(args)
    made = [_factory.find(_factory.name_of(name))() for name in args.service]
    if any(inspect.isawaitable(each) for each in made):
        return _awaited(args, made)
    return _server(args, made)


async def _awaited(args: argparse.Namespace, made: list[Any]) -> Any:
    return _server(args, [await each if inspect.isawaitable(each) else each for each in made])


def _server(args: argparse.Namespace, made: list[Any]) -> Any:
    """Return the server that was made, or one for the services that were.

    Raises:
        TypeError: something else was made.
        ValueError: several servers; or options for one that has its own.
    """
    servers = [each for each in made if isinstance(each, (Server, AioServer))]
    if servers:
        if len(made) > 1:
            raise ValueError(f"a server was made, and more than that: {made}")
        if args.protocol or args.threads or args.tls:
            raise ValueError("the server that was made has its own protocols, threads and TLS")
        (server,) = servers
        served: Any = server.server if isinstance(server, AioServer) else server
    else:
        served = server = Server(
            None, protocols=args.protocol, max_workers=args.threads, tls=tls.of_server(args)
        )
        for each in made:
            services: list[Any] = [*each] if isinstance(each, (list, tuple)) else [each]
            for service in services:
                served.add_service(service)
    if args.reflection:
        served.add_service(reflection.service(served))
    return server
