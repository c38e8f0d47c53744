"""What several commands have in common on the command line."""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

from callmethod.protocols import BaiduStd, Hulu, Indexed, Sofa

if TYPE_CHECKING:
    from callmethod.protocols import Protocol

    # argparse has no public name for it.
    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001

PROTOCOLS: dict[str, type[Any]] = {kind.name: kind for kind in (BaiduStd, Hulu, Sofa, Indexed)}


class Parser(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def __init__(self, **options: Any) -> None:
        """Show help texts as they are written."""
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message: str) -> NoReturn:
        """End the program with exit code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def command(commands: Commands, name: str, line: str, text: str, examples: str) -> Parser:
    """Add a command: a line for the list of commands, a text and examples for its own help."""
    return commands.add_parser(
        name, help=line, description=text, epilog=f"examples:\n{examples.rstrip()}"
    )


def seconds(text: str) -> float:
    """Read a time.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return value


def count(text: str) -> int:
    """Read a whole number from 1 on.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def pair(text: str) -> tuple[str, str]:
    """Read KEY=VALUE.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value


def protocol(text: str) -> Protocol:
    """Read a protocol: `indexed`, or with options `indexed:reply=by_id,id_width=4`.

    Raises:
        argparse.ArgumentTypeError: there is none of that name, or an option is wrong.
    """
    name, _, rest = text.partition(":")
    kind = PROTOCOLS.get(name)
    if kind is None:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(PROTOCOLS)}")
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    options: dict[str, Any] = {}
    for part in filter(None, rest.split(",")):
        key, value = pair(part)
        if key not in defaults:
            raise argparse.ArgumentTypeError(f"{name} has no {key}; it has {', '.join(defaults)}")
        options[key] = _value(value, defaults[key])
    try:
        made: Protocol = kind(**options)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return made


def _value(text: str, default: object) -> Any:
    if isinstance(default, bool):
        return text == "true" if text in {"true", "false"} else text
    # What is to be a number and is none is refused by the protocol.
    return int(text) if text.isascii() and text.isdigit() else text


PROTOCOL_NAMES = (
    f"one of {', '.join(PROTOCOLS)}; options follow a colon, as in indexed:reply=by_id,id_width=4"
)
PROTOCOL_HELP = f"{PROTOCOL_NAMES} (default: %(default)s)"
