"""What passes between a supervisor and a worker, over a pair of sockets.

The worker is started with a `Task`. It says one `Report`: that it accepts, or why it never will.
The supervisor says `CLOSE`, which is answered with `CLOSED`, `DRAIN`, and `NOW` to those that it
does not want to wait for; the end of the stream says that the supervisor is gone.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import signal
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callmethod._factory import Name
from callmethod.tls import ServerTls

if TYPE_CHECKING:
    from types import TracebackType

CLOSE = b"c"
CLOSED = b"closed"
DRAIN = b"d"
NOW = b"n"
QUIET = (signal.SIGINT, signal.SIGHUP)
"""Signals that a terminal sends to all processes at once. Only the supervisor heeds them."""
PATIENCE_SECONDS = 5.0
"""Time beyond the grace for a worker to end."""
REASON_CHARACTERS = 1024
TRACEBACK_CHARACTERS = 16 * 1024
"""A report must fit into the socket's buffer, whether somebody reads it or not."""
OWN = str(Path(__file__).parent)
IMPORTLIB = str(Path(importlib.__file__).parent)


@dataclasses.dataclass(frozen=True)
class Task:
    """What a worker is to do. Times are seconds.

    Attributes:
        factory: what makes its services.
        listener: number of the socket to accept from.
        control: number of the socket to the supervisor.
        supervisor: number of the supervisor's process.
        grace: for calls under way when it is told to drain.
        argv: `sys.argv` of the supervisor.
        tls: fields of the `ServerTls` by which services are served.
    """

    factory: Name
    listener: int
    control: int
    supervisor: int
    grace: float
    argv: list[str]
    tls: dict[str, Any] | None

    def to_text(self) -> str:
        """Return it as an argument of a command."""
        return json.dumps(dataclasses.asdict(self))

    def server_tls(self) -> ServerTls | None:
        """Return how services are to speak TLS; files are read now.

        Raises:
            OSError: a file cannot be read.
            ValueError: what is in the files will not do.
        """
        fields: dict[str, Any] | None = self.tls
        return None if fields is None else ServerTls(**fields)

    @classmethod
    def from_text(cls, text: str) -> Task:
        """Return the task that was written as `text`."""
        fields = json.loads(text)
        fields["factory"] = Name(**fields["factory"])
        return cls(**fields)


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback from the first line on that is not ours or of an import."""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((OWN, IMPORTLIB, "<frozen importlib")):
            break
        trace = trace.tb_next
    return trace


@dataclasses.dataclass(frozen=True)
class Report:
    """How the start of a worker ended.

    Attributes:
        reason: why it failed, in one line; empty when the worker accepts.
        traceback: the same at length.
    """

    reason: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException) -> Report:
        """Return what is to be said of `error`."""
        # In front of it are lines of a SyntaxError, and behind it notes.
        lines = traceback.format_exception_only(error)
        reason = next(line for line in lines if not line.startswith(" "))
        if isinstance(error, SyntaxError):
            # With the file and the line.
            reason = f"{type(error).__name__}: {error}"
        seen = traceback.format_exception(type(error), error, _users_part(error.__traceback__))
        text = "".join(seen)
        return cls(reason.strip()[:REASON_CHARACTERS], text[-TRACEBACK_CHARACTERS:])

    def to_line(self) -> bytes:
        """Return it as a line, without its end."""
        return json.dumps(dataclasses.asdict(self)).encode()

    @classmethod
    def from_line(cls, line: bytes) -> Report:
        """Return the report that was written as `line`."""
        return cls(**json.loads(line))
