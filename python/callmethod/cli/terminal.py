"""What looks different on a terminal."""

from __future__ import annotations

import os
from typing import TextIO


def is_terminal(stream: TextIO) -> bool:
    """Say whether a person sees what is written to `stream`."""
    return stream.isatty()


def has_colours(stream: TextIO) -> bool:
    """Say whether colours are wanted: on a terminal that has them, unless NO_COLOR is set."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return is_terminal(stream) and not plain


class Style:
    """Marks text for one stream; where there are no colours, it does nothing."""

    def __init__(self, stream: TextIO) -> None:
        """Look at the stream."""
        self._on = has_colours(stream)

    def _marked(self, number: int, text: str) -> str:
        return f"\x1b[{number}m{text}\x1b[0m" if self._on else text

    def strong(self, text: str) -> str:
        """Return a name that is to be found at once."""
        return self._marked(1, text)

    def weak(self, text: str) -> str:
        """Return what is said by the way."""
        return self._marked(2, text)

    def bad(self, text: str) -> str:
        """Return what went wrong."""
        return self._marked(31, text)


def printable(text: str, keep: str = "") -> str:
    """Return somebody else's text without what would move the cursor, but for `keep`."""
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
