"""How a command ends: its exit code, and the one line that it says."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from callmethod.errors import Code

CALL_FAILED = 64
"""A call that failed ends the program with this and the number of its status, as grpcurl does."""


class Exit(enum.IntEnum):
    """Exit codes, but for those of calls that failed."""

    OK = 0
    MISTAKE = 1
    USAGE = 2
    DESCRIPTORS = 3
    NAME = 4
    JSON = 5
    STREAM = 6
    FIELD = 7
    VALUE = 8
    INTERRUPTED = 130
    PIPE = 141


EXIT_CODES = """\
exit codes:
  0    it went well
  1    a mistake in callmethod itself (--traceback shows where), or in what it was to serve
  2    an option or argument is wrong
  3    the services' descriptors could not be had: no such file or module, a syntax
       error, or a server without reflection
  4    there is no service, method or message of that name
  5    the request is no JSON, or the answer no message of its type
  6    decode: the bytes are no frames; bench: a connection was lost
  7    the request has a field that its message does not have
  8    the request has a value that its field cannot have, or lacks a required one
  64+n the call failed with status n of gRPC: 68 no answer in time (DEADLINE_EXCEEDED),
       76 the server has no such method (UNIMPLEMENTED), 77 INTERNAL, 78 no server
       there (UNAVAILABLE), ...
  130  interrupted"""


class Failure(Exception):  # noqa: N818  (how a command ends, not an error of the program)
    """Ends a command."""

    def __init__(self, status: int, text: str) -> None:
        """End with the exit code `status`, and say `text`."""
        super().__init__(status, text)
        self.status = status
        self.text = text

    def __str__(self) -> str:
        """Return the text."""
        return self.text


def status_of(code: Code) -> int:
    """Return the exit code of a call that failed."""
    return CALL_FAILED + code.value
