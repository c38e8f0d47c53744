"""`callmethod stubs`: types for modules that protoc has written."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from callmethod.cli import arguments
from callmethod.cli.descriptors import find_here
from callmethod.cli.failure import Exit, Failure

if TYPE_CHECKING:
    import argparse

TEXT = """\
Write .pyi files for modules that protoc has written: their messages and enums, and their services
and stubs with typed methods. Each lies beside its module, unless --out says where.

protoc itself writes them with the plugin protoc-gen-callmethod."""

EXAMPLES = """\
  callmethod stubs game_service_pb2 common_pb2
  callmethod stubs game.player_pb2 --out typings"""


def add(commands: arguments.Commands) -> None:
    """Add the command."""
    parser = arguments.command(
        commands, "stubs", "write types for generated modules", TEXT, EXAMPLES
    )
    parser.set_defaults(run=run)
    parser.add_argument("module", nargs="+", metavar="MODULE", help="name of a generated module")
    parser.add_argument("--out", metavar="FOLDER", help="where the files are written")


def run(args: argparse.Namespace) -> int:
    """Write the files and print their names."""
    find_here()
    try:
        from callmethod.codegen import write_stubs  # noqa: PLC0415  (it needs protobuf)

        written = write_stubs(args.module, args.out)
    except (ImportError, TypeError, ValueError) as error:
        raise Failure(Exit.DESCRIPTORS, str(error)) from error
    except OSError as error:
        raise Failure(Exit.USAGE, f"{error.filename}: {error.strerror}") from None
    sys.stdout.writelines(f"{path}\n" for path in written)
    return Exit.OK
