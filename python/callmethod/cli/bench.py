"""`callmethod bench`: load on a server, and how long calls took."""

from __future__ import annotations

import dataclasses
import json
import socket
import sys
from typing import TYPE_CHECKING

from callmethod import _core
from callmethod.cli import arguments, connecting, descriptors, tls
from callmethod.cli.failure import Exit, Failure, status_of
from callmethod.cli.reflecting import Reflected
from callmethod.cli.terminal import Style, is_terminal
from callmethod.errors import Code
from callmethod.protocols import BaiduStd, Indexed

if TYPE_CHECKING:
    import argparse

    from callmethod._core import _LoadReport
    from callmethod.protocols import Protocol
    from callmethod.tls import ClientTls

TEXT = """\
Call one method as often as the server answers: on each connection so many calls are kept in flight,
and the next one is sent when an answer has come. Calls that fail are counted, and take part in the
times. The load is made by one thread, which does not wait for Python.

The protocol is baidu_std, or indexed:id_width=4,reply=by_id. No deadline is sent."""

EXAMPLES = """\
  callmethod bench 127.0.0.1:8000 greeter.Greeter.Greet '{"name": "ada"}' --proto greeter.proto
  callmethod bench 127.0.0.1:8000 greeter.Greeter.Greet '{}' --connections 8 --in-flight 64 \\
      --duration 10 --json"""

LAYOUT = Indexed(id_width=4, reply="by_id")
"""The layout of indexed frames that the load generator has."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which calls are made. Times are seconds.

    Attributes:
        target: as it was given.
        connect: numeric address and port.
        tls: how TLS is spoken to it; None: not at all.
        connections: how many there are.
        in_flight: calls under way on each.
        measured: how long it is measured.
        warmup: how long there are calls before that.
        calls: it ends after so many measured calls; None for no bound.
        stall: it fails when no answer comes for so long.
    """

    target: str
    connect: str
    tls: ClientTls | None
    connections: int
    in_flight: int
    measured: float
    warmup: float
    calls: int | None
    stall: float


def add(commands: arguments.Commands) -> None:
    """Add the command."""
    parser = arguments.command(commands, "bench", "measure how long calls take", TEXT, EXAMPLES)
    parser.set_defaults(run=run)
    parser.add_argument("target", help="host:port or [v6]:port")
    parser.add_argument("method", help="full name: package.Service.method")
    parser.add_argument("json", nargs="?", default="{}", help="the request of all calls")
    group = parser.add_argument_group("how much")
    group.add_argument("--connections", type=arguments.count, default=1, metavar="N",
                       help="(default: %(default)s)")  # fmt: skip
    group.add_argument("--in-flight", type=arguments.count, default=1, metavar="N",
                       help="calls on each connection (default: %(default)s)")  # fmt: skip
    group.add_argument("--duration", type=arguments.seconds, default=5.0, metavar="SECONDS",
                       help="measured (default: %(default)g)")  # fmt: skip
    group.add_argument("--warmup", type=arguments.seconds, default=0.5, metavar="SECONDS",
                       help="before that (default: %(default)g)")  # fmt: skip
    group.add_argument("--calls", type=arguments.count, metavar="N",
                       help="end after so many")  # fmt: skip
    parser.add_argument(
        "--json", dest="as_json", action="store_true", help="print one line of JSON"
    )
    connecting.add_arguments(parser)
    descriptors.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the calls and print what they took."""
    name = _spoken(args.protocol)
    pool, body_of = _described(args)
    method = descriptors.find_method(pool, args.method)
    body = descriptors.to_bytes(pool, method.input, body_of)
    plan = Plan(
        args.target, _address(args.target), tls.of_client(args), args.connections, args.in_flight,
        args.duration, args.warmup, args.calls, max(args.timeout, 1.0),
    )  # fmt: skip
    line = Line(plan)
    try:
        report = _core.generate_load(
            name, (method.service, method.name, method.index), body, plan, line.show
        )
    except ValueError as error:
        raise Failure(Exit.USAGE, str(error)) from None
    except ConnectionError as error:
        text = str(error)
        # What is said before the first call, and what after it.
        refused = text.startswith(plan.connect)
        raise Failure(status_of(Code.UNAVAILABLE) if refused else Exit.STREAM, text) from None
    finally:
        line.wipe()
    if args.as_json:
        sys.stdout.write(json.dumps(_as_json(args, report)) + "\n")
    else:
        sys.stdout.write(_as_table(report))
    return Exit.OK


def _spoken(protocol: Protocol) -> str:
    if isinstance(protocol, BaiduStd) or protocol == LAYOUT:
        return protocol.name
    text = "the load is for baidu_std or indexed:id_width=4,reply=by_id"
    raise Failure(Exit.USAGE, text)


def _described(args: argparse.Namespace) -> tuple[_core.MessagePool, str]:
    if descriptors.are_given(args):
        return descriptors.given(args), args.json
    with connecting.connect(args) as channel:
        return Reflected(channel, args.protocol).method(args.method), args.json


def _address(target: str) -> str:
    """Return a target with the number of its host.

    Raises:
        Failure: it is none, or nobody knows the host.
    """
    host, colon, port = target.rpartition(":")
    if not colon or target.startswith("unix:") or not port.isdigit():
        raise Failure(Exit.USAGE, f"the load goes to host:port or [v6]:port, not {target}")
    try:
        found = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)
    except (OSError, OverflowError) as error:
        raise Failure(status_of(Code.UNAVAILABLE), f"{target}: {error}") from None
    number = found[0][4][0]
    return f"[{number}]:{port}" if ":" in str(number) else f"{number}:{port}"


class Line:
    """A line that tells how far it is, on a terminal only."""

    def __init__(self, plan: Plan) -> None:
        """Show nothing yet."""
        self._plan = plan
        self._style = Style(sys.stderr)
        self._on = is_terminal(sys.stderr)

    def show(self, measured: float | None, calls: int, failed: int) -> None:
        """Write over what was there."""
        if not self._on:
            return
        if measured is None:
            text = "warming up"
        else:
            rate = calls / measured if measured else 0.0
            text = f"{measured:5.1f} of {self._plan.measured:g} s  {calls:,} calls  {rate:,.0f}/s"
        if failed:
            text += self._style.bad(f"  {failed:,} failed")
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def wipe(self) -> None:
        """Leave nothing behind."""
        if self._on:
            sys.stderr.write("\r\x1b[K")


def _as_json(args: argparse.Namespace, report: _LoadReport) -> dict[str, object]:
    return {
        "target": args.target,
        "method": args.method,
        "protocol": args.protocol.name,
        "connections": args.connections,
        "in_flight": args.in_flight,
        **report,
        "failed": sum(report["failures"].values()),
        "calls_per_s": report["calls"] / report["seconds"],
        "quantiles_us": {f"{part:g}": micros for part, micros in report["quantiles_us"]},
    }


def _as_table(report: _LoadReport) -> str:
    style = Style(sys.stdout)
    calls, seconds = report["calls"], report["seconds"]
    lines = [f"{calls:,} calls in {seconds:.2f} s: {style.strong(f'{calls / seconds:,.0f}/s')}"]
    lines += [f"  {'mean':>8}  {_time(report['mean_us'])}"]
    lines += [f"  {part:8.2%}  {_time(micros)}" for part, micros in report["quantiles_us"]]
    lines += [f"  {'longest':>8}  {_time(report['max_us'])}"]
    for text, times in sorted(report["failures"].items(), key=lambda item: -item[1]):
        lines.append(style.bad(f"  {times:,} failed: {text}"))
    busy = (report["cpu_seconds"] or 0.0) / seconds
    if busy > BUSY:
        lines.append(f"the load itself kept a core busy for {busy:.0%}: it may be what is slow")
    return "".join(f"{line}\n" for line in lines)


BUSY = 0.9
"""From here on the load generator may be slower than the server."""


def _time(micros: float) -> str:
    if micros < 1000:  # noqa: PLR2004  (the next unit)
        return f"{micros:9.1f} us"
    return f"{micros / 1000:9.2f} ms"
