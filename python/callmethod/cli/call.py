"""`callmethod call`: one call, or one for each line that is read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from callmethod.cli import arguments, connecting, descriptors
from callmethod.cli.failure import Exit, Failure
from callmethod.cli.reflecting import Reflected
from callmethod.cli.terminal import Style, is_terminal, printable
from callmethod.controller import Compression, Controller
from callmethod.protocols import traits_of

if TYPE_CHECKING:
    import argparse

    from callmethod import _core
    from callmethod.channel import Channel
    from callmethod.cli.descriptors import Method

TEXT = """\
Call a method: JSON goes in, JSON comes out, one message a line unless it is a terminal.

The request is protobuf's JSON; without one, an empty message is sent. With -, a request is read
from each line of standard input, and the calls are made one after the other: what fails is told on
standard error with its line, the rest goes on, and the exit code is that of the first failure."""

EXAMPLES = """\
  callmethod call 127.0.0.1:8000 game.GameService.connect_server '{"message": "hi"}'
  callmethod call 127.0.0.1:8000 game.GameService.connect_server '{"message": "hi"}' \\
      --proto game_service.proto --protocol indexed
  callmethod call unix:/run/game.sock game.GameService.connect_server - < requests.jsonl"""


def add(commands: arguments.Commands) -> None:
    """Add the command."""
    parser = arguments.command(commands, "call", "call a method with JSON", TEXT, EXAMPLES)
    parser.set_defaults(run=run)
    parser.add_argument("target", help="host:port, [v6]:port or unix:path")
    parser.add_argument("method", help="full name: package.Service.method")
    parser.add_argument("json", nargs="?", default="{}", help="the request, or - for many")
    connecting.add_arguments(parser)
    descriptors.add_arguments(parser)
    group = parser.add_argument_group("what goes and comes beside the messages")
    group.add_argument("--attach", metavar="FILE", help="send the file's bytes as attachment")
    group.add_argument(
        "--save-attachment", metavar="FILE", help="write the answer's attachment to a file"
    )
    group.add_argument(
        "--metadata", action="append", default=[], type=arguments.pair, metavar="KEY=VALUE",
        help="send it along; may be given several times",
    )  # fmt: skip
    group.add_argument(
        "--compression", choices=get_args(Compression), default="none", help="of the requests"
    )


def run(args: argparse.Namespace) -> int:
    """Make the calls."""
    with connecting.connect(args) as channel:
        if descriptors.are_given(args):
            pool = descriptors.given(args)
        else:
            pool = Reflected(channel, args.protocol).method(args.method)
        method = descriptors.find_method(pool, args.method)
        calls = Calls(args, channel, pool, method)
        if args.json == "-":
            return calls.each_line()
        calls.one(args.json)
        return Exit.OK


class Calls:
    """Calls of one method."""

    def __init__(
        self,
        args: argparse.Namespace,
        channel: Channel,
        pool: _core.MessagePool,
        method: Method,
    ) -> None:
        """Read what goes along.

        Raises:
            Failure: the attachment cannot be read.
        """
        self._channel, self._pool, self._method = channel, pool, method
        self._save = args.save_attachment
        self._answers = traits_of(args.protocol).answers
        self._pretty = is_terminal(sys.stdout) and args.json != "-"
        self._controller = Controller(
            metadata=dict(args.metadata),
            request_attachment=b"" if args.attach is None else _read(args.attach),
            compression=args.compression,
        )

    def one(self, text: str) -> None:
        """Make one call and print its answer.

        Raises:
            Failure: there is none.
        """
        body = descriptors.to_bytes(self._pool, self._method.input, text)
        answer = connecting.call(self._channel, self._method, body, self._controller)
        attachment = self._controller.response_attachment
        if self._save is not None:
            _write(self._save, attachment)
        elif attachment:
            _remark(f"an attachment of {len(attachment)} bytes came along; see --save-attachment")
        if answer is None:
            if not self._answers and is_terminal(sys.stderr):
                _remark("sent; this protocol has no answers")
            return
        try:
            shown = self._pool.to_json(self._method.output, answer)
        except ValueError as error:
            text = f"the answer is no {self._method.output}: {error}"
            raise Failure(Exit.JSON, printable(text)) from None
        if self._pretty:
            shown = json.dumps(json.loads(shown), indent=2, ensure_ascii=False)
        sys.stdout.write(shown + "\n")
        sys.stdout.flush()

    def each_line(self) -> int:
        """Make a call for each line of standard input; return the exit code."""
        status: int = Exit.OK
        for number, line in enumerate(sys.stdin, 1):
            if not line.strip():
                continue
            try:
                self.one(line.strip())
            except Failure as failure:
                _remark(Style(sys.stderr).bad(f"line {number}: {failure.text}"))
                status = status or failure.status
        return status


def _remark(text: str) -> None:
    sys.stderr.write(f"callmethod: {text}\n")


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise Failure(Exit.USAGE, f"--attach {path}: {error.strerror}") from None


def _write(path: str, data: bytes) -> None:
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise Failure(Exit.USAGE, f"--save-attachment {path}: {error.strerror}") from None
