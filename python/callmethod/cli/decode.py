"""`callmethod decode`: a recorded stream, frame by frame."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from callmethod import _core
from callmethod.cli import arguments, descriptors
from callmethod.cli.descriptors import Method
from callmethod.cli.failure import Exit, Failure
from callmethod.cli.terminal import Style, printable
from callmethod.protocols import Indexed, traits_of

if TYPE_CHECKING:
    import argparse

    from callmethod._core import _Frame

CHUNK = 64 * 1024
SHOWN_BYTES = 32
"""So many bytes of a message of unknown type are shown."""

TEXT = """\
Show the frames of a recorded stream, one a line: where it begins, what it is, its method, its id,
and its message as JSON. The stream is what one end of a connection sent, or both ends, where frames
tell calls from answers (baidu_std, hulu_pbrpc, sofa_pbrpc).

An answer is of the method whose call with its id came before it in the stream; where there is none,
--method says it. Without descriptors, or for a method that they do not have, bytes are shown."""

EXAMPLES = """\
  callmethod decode baidu_std capture.bin --proto game_service.proto
  callmethod decode indexed --module game_service_pb2 < from_client.bin
  callmethod decode indexed:id_width=4,reply=by_id --replies --proto game_service.proto \\
      --method game.GameService.connect_server < from_server.bin"""


def add(commands: arguments.Commands) -> None:
    """Add the command."""
    parser = arguments.command(commands, "decode", "show recorded frames", TEXT, EXAMPLES)
    parser.set_defaults(run=run)
    parser.add_argument(
        "protocol", type=arguments.protocol, metavar="PROTOCOL", help=arguments.PROTOCOL_NAMES
    )
    parser.add_argument("file", nargs="?", default="-", help="the stream; - for standard input")
    parser.add_argument(
        "--replies", action="store_true",
        help="they are answers, where frames do not tell (indexed)",
    )  # fmt: skip
    parser.add_argument("--service", help="what indices count in; needed where there are several")
    parser.add_argument("--method", help="what answers answer whose calls are not there")
    descriptors.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Print the frames."""
    pool = descriptors.given(args) if descriptors.are_given(args) else _core.MessagePool([])
    decoding = Decoding(pool, args)
    if args.file == "-":
        return decoding.read(sys.stdin.buffer)
    try:
        with Path(args.file).open("rb") as stream:
            return decoding.read(stream)
    except OSError as error:
        raise Failure(Exit.USAGE, f"{args.file}: {error.strerror}") from None


class Decoding:
    """One stream."""

    def __init__(self, pool: _core.MessagePool, args: argparse.Namespace) -> None:
        """Look up what indices and answers are of.

        Raises:
            Failure: there is no service or method of that name.
        """
        self._pool = pool
        self._services = [service for service, _ in pool.services]
        self._answered = None if args.method is None else descriptors.find_method(pool, args.method)
        self._indexed = self._service_of_indices(args)
        self._called: dict[int, Method] = {}
        self._style = Style(sys.stdout)
        if not isinstance(args.protocol, Indexed):
            reads = "both"
        elif args.replies and not traits_of(args.protocol).answers:
            raise Failure(Exit.USAGE, "this layout has no answers; say reply=by_id or in_order")
        else:
            reads = "replies" if args.replies else "calls"
        self._reader = _core.FrameReader(args.protocol, reads)

    def _service_of_indices(self, args: argparse.Namespace) -> str | None:
        if args.service is not None:
            if args.service not in self._services:
                raise Failure(Exit.NAME, f"no service {args.service}")
            service: str = args.service
            return service
        if isinstance(args.protocol, Indexed) and len(self._services) > 1 and not args.replies:
            names = ", ".join(self._services)
            raise Failure(Exit.USAGE, f"--service must say what indices count in: {names}")
        return self._services[0] if self._services else None

    def read(self, stream: BinaryIO) -> int:
        """Print the frames of `stream` as they come.

        Raises:
            Failure: the bytes are no frames, or end inside one.
        """
        read = getattr(stream, "read1", stream.read)
        while data := read(CHUNK):
            frames, wrong = self._reader.feed(data)
            sys.stdout.writelines(self._line(frame) + "\n" for frame in frames)
            sys.stdout.flush()
            if wrong is not None:
                raise Failure(Exit.STREAM, wrong)
        wrong = self._reader.end()
        if wrong is not None:
            raise Failure(Exit.STREAM, wrong)
        return Exit.OK

    def _line(self, frame: _Frame) -> str:
        number = frame.get("id")
        name, method = self._method(frame)
        if method is not None and number is not None and frame["kind"] == "call":
            self._called[number] = method
        parts = [self._style.weak(f"{frame['offset']:8}"), f"{frame['kind']:5}"]
        parts.append(self._style.strong(name))
        if number is not None:
            parts.append(f"id={number}")
        timeout = frame.get("timeout")
        if timeout is not None:
            parts.append(f"timeout={timeout:g}s")
        attachment = frame.get("attachment", 0)
        if attachment:
            parts.append(f"attachment={attachment}")
        parts += [f"{key}={value!r}" for key, value in frame.get("metadata", {}).items()]
        parts.append(self._content(frame, method))
        return "  ".join(parts)

    def _method(self, frame: _Frame) -> tuple[str, Method | None]:
        """Return the name under which a frame's method is shown, and what it is, if known."""
        if frame["kind"] == "reply":
            number = frame.get("id")
            method = self._answered if number is None else self._called.pop(number, self._answered)
            return ("?" if method is None else str(method)), method
        service, index = frame.get("service"), frame.get("index")
        if service is None:
            known = self._indexed
        else:
            alike = [name for name in self._services if name.rpartition(".")[2] == service]
            known = service if service in self._services else next(iter(alike), None)
        bare = frame.get("method")
        for place, (name, takes, gives, *_) in enumerate(self._methods(known)):
            if name == bare or (bare is None and place == index):
                method = Method(known or "", name, place, takes, gives)
                return str(method), method
        called = f"[{index}]" if bare is None else bare
        return (called if service is None else f"{service}.{called}"), None

    def _methods(self, service: str | None) -> list[_core._Rpc]:
        return [] if service is None else self._pool.methods(service)

    def _content(self, frame: _Frame, method: Method | None) -> str:
        if "code" in frame:
            native = frame.get("native")
            number = "" if native is None else f" ({native})"
            text = printable(frame.get("text", ""))
            return self._style.bad(f"{frame['code']}{number}: {text}")
        if "fault" in frame:
            return self._style.bad(frame["fault"])
        body = frame.get("body", b"")
        if method is None:
            more = "..." if len(body) > SHOWN_BYTES else ""
            return f"{len(body)} bytes {body[:SHOWN_BYTES].hex()}{more}"
        try:
            return self._pool.to_json(
                method.input if frame["kind"] == "call" else method.output, body
            )
        except ValueError as error:
            return self._style.bad(str(error))
