"""`callmethod list` and `callmethod describe`: what there is to call."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from callmethod.cli import arguments, connecting, descriptors
from callmethod.cli.failure import Exit, Failure
from callmethod.cli.reflecting import SERVICE, Reflected
from callmethod.cli.terminal import Style, printable

if TYPE_CHECKING:
    import argparse

    from callmethod import _core

LIST_TEXT = """\
List services and their methods, each with its index, which is what the indexed protocol calls it
by. They are those of a server that has reflection, or of files and modules."""

LIST_EXAMPLES = """\
  callmethod list 127.0.0.1:8000
  callmethod list --proto game_service.proto
  callmethod list --module game_service_pb2"""

DESCRIBE_TEXT = """\
Show declarations as .proto text: of messages, enums, services, methods and extensions by their full
names, and of files by theirs. A method is shown with its messages. Without names, all files are
shown but those of google.protobuf. Comments are there with --proto."""

DESCRIBE_EXAMPLES = """\
  callmethod describe 127.0.0.1:8000 game.GameService
  callmethod describe --proto game_service.proto game.GameService.connect_server
  callmethod describe --descriptor-set all.bin common.proto"""


def add(commands: arguments.Commands) -> None:
    """Add the commands."""
    parser = arguments.command(
        commands, "list", "services and methods of a server or file", LIST_TEXT, LIST_EXAMPLES
    )
    parser.set_defaults(run=run_list)
    parser.add_argument("target", nargs="?", help="a server: host:port, [v6]:port or unix:path")
    connecting.add_arguments(parser)
    descriptors.add_arguments(parser)
    parser = arguments.command(
        commands, "describe", "declarations as .proto text", DESCRIBE_TEXT, DESCRIBE_EXAMPLES
    )
    parser.set_defaults(run=run_describe)
    parser.add_argument(
        "names", nargs="*", metavar="[TARGET] NAME",
        help="a server, unless descriptors are given; then what is to be shown",
    )  # fmt: skip
    connecting.add_arguments(parser)
    descriptors.add_arguments(parser)


def run_list(args: argparse.Namespace) -> int:
    """Print services and methods."""
    if descriptors.are_given(args):
        if args.target is not None:
            raise Failure(Exit.USAGE, "list takes a server or descriptors, not both")
        pool = descriptors.given(args)
        names = [service for service, _ in pool.services]
    else:
        if args.target is None:
            raise Failure(Exit.USAGE, "list takes a server, --proto, --module or --descriptor-set")
        with connecting.connect(args) as channel:
            server = Reflected(channel, args.protocol)
            # Everybody's, and of no use to a caller who has it.
            names = [name for name in server.services() if name != SERVICE]
            pool = server.pool(names)
    if not names:
        raise Failure(Exit.NAME, "there is no service")
    style = Style(sys.stdout)
    for service in names:
        try:
            methods = pool.methods(service)
        except KeyError:
            text = f"the server says that it has {printable(service)}, and shows no file with it"
            raise Failure(Exit.DESCRIPTORS, text) from None
        sys.stdout.write(style.strong(printable(service)) + "\n")
        for index, (name, takes, gives, many, much) in enumerate(methods):
            number = style.weak(f"{index:5}")
            messages = f"({'stream ' * many}{takes}) returns ({'stream ' * much}{gives})"
            sys.stdout.write(f"{number}  {printable(name + messages)}\n")
    return Exit.OK


def run_describe(args: argparse.Namespace) -> int:
    """Print declarations."""
    if descriptors.are_given(args):
        pool = descriptors.given(args, comments=True)
        names = args.names or _own_files(pool)
    else:
        if not args.names:
            raise Failure(
                Exit.USAGE, "describe takes a server, --proto, --module or --descriptor-set"
            )
        args.target, *names = args.names
        with connecting.connect(args) as channel:
            server = Reflected(channel, args.protocol)
            services = [name for name in server.services() if name != SERVICE]
            pool = server.pool(services)
            known = {name for name in names if _is_known(pool, name)}
            # What no service uses is asked for by its name.
            if len(known) < len(names):
                pool = server.pool([*services, *(name for name in names if name not in known)])
            names = names or _own_files(pool)
    texts = [text for name in names for text in _described(pool, name.lstrip("."))]
    sys.stdout.write(printable("\n".join(dict.fromkeys(texts)), keep="\n\t"))
    return Exit.OK


def _own_files(pool: _core.MessagePool) -> list[str]:
    return [file for file in pool.files if not file.startswith("google/protobuf/")]


def _is_known(pool: _core.MessagePool, name: str) -> bool:
    try:
        pool.describe(name.lstrip("."))
    except KeyError:
        return False
    return True


def _described(pool: _core.MessagePool, name: str) -> list[str]:
    """Return declarations; a method's messages come after it."""
    try:
        texts = [pool.describe(name)]
    except KeyError:
        raise Failure(Exit.NAME, f"nothing is called {name}") from None
    service, _, bare = name.rpartition(".")
    try:
        methods = pool.methods(service)
    except KeyError:
        return texts
    for method, takes, gives, *_ in methods:
        if method == bare:
            texts += [pool.describe(takes), pool.describe(gives)]
    return texts
