"""The program `callmethod`."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from typing import TYPE_CHECKING

import callmethod
from callmethod.cli import bench, call, completion, decode, listing, serve, stubs
from callmethod.cli.arguments import Parser
from callmethod.cli.failure import EXIT_CODES, Exit, Failure
from callmethod.cli.terminal import Style

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = """\
Serve, call and look at protobuf services.

The protocols are baidu_std, hulu_pbrpc and sofa_pbrpc of brpc, and indexed frames. Descriptors
come from .proto files, modules, descriptor sets, or from a server that has reflection."""


def parser() -> Parser:
    """Return the parser of the whole command line."""
    made = Parser(prog="callmethod", description=TEXT, epilog=EXIT_CODES)
    made.add_argument("--version", action="version", version=f"callmethod {callmethod.__version__}")
    made.add_argument(
        "--traceback", action="store_true", help="of a mistake, show where it happened"
    )
    commands = made.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    for module in (serve, call, listing, bench, decode, stubs):
        module.add(commands)
    completion.add(commands, parser)
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    words = sys.argv[1:] if words is None else [*words]
    args = parser().parse_args(words)
    args.words = words
    # What the core has to say of a connection is in the failure, too.
    logging.getLogger("callmethod").addHandler(logging.NullHandler())
    try:
        status: int = args.run(args)
        sys.stdout.flush()
    except Failure as failure:
        if args.traceback and failure.__cause__ is not None:
            traceback.print_exception(failure.__cause__)
        return _told(failure.status, failure.text)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has read enough. What is left in the buffer must not be tried again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE
    except BaseException as error:  # a panic of the core is no Exception
        if isinstance(error, SystemExit):
            raise
        if args.traceback:
            traceback.print_exc()
        return _told(Exit.MISTAKE, f"{type(error).__name__}: {error}")
    return status


def _told(status: int, text: str) -> int:
    first, *rest = text.splitlines() or [""]
    sys.stderr.write(f"callmethod: {Style(sys.stderr).bad(first)}\n")
    sys.stderr.writelines(f"{line}\n" for line in rest)
    return status
