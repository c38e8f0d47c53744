"""What can go wrong, and its vocabulary.

    Exception
    +-- RpcException          protobuf's name for it
    |   +-- RpcError          a call failed: code, text, peer
    +-- ValueError
        +-- WireError         a peer's bytes are no frames: reason, frames
        +-- ProtoError        a .proto file is wrong: reason, file, line, column, source

All of them can be pickled.
"""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from callmethod.service import RpcException

if TYPE_CHECKING:
    from callmethod.codec import Frame

__all__ = ["Code", "Disconnect", "ProtoError", "RpcError", "RpcException", "WireError"]


class Code(enum.Enum):
    """How a call ended; names and numbers are gRPC's, whatever the protocol."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(RpcException):
    """A call failed. Handlers raise it to choose code and text.

    Attributes:
        code: what kind of failure it is.
        text: who, what and how much.
        peer: whom the call was to, where that is known.
        native_code: the protocol's own number: brpc's error_code on its protocols. In a handler,
            the one to send instead of that for `code`.
    """

    def __init__(
        self,
        code: Code,
        text: object = "",
        peer: str | None = None,
        native_code: int | None = None,
    ) -> None:
        """Fail with `code`; of a `text` that is none, an exception for one, `str(text)` is told.

        Raises:
            ValueError: `code` is none, or OK; `native_code` is 0, or no int32.
        """
        text = str(text)
        super().__init__(code, text, peer, native_code)
        self.code = Code(code)
        if self.code is Code.OK:
            raise ValueError("OK is no failure")
        if native_code is not None and not (-(2**31) <= native_code < 2**31 and native_code):
            raise ValueError(f"native_code must be an int32 other than 0, not {native_code}")
        self.text = text
        self.peer = peer
        self.native_code = native_code

    def __str__(self) -> str:
        """Return code and text."""
        return f"{self.code.name}: {self.text}" if self.text else self.code.name


def from_core(number: int, text: str, peer: str | None, native_code: int | None) -> RpcError:
    """Make the exception of a status."""
    return RpcError(Code(number), text, peer, native_code)


def to_core(error: BaseException) -> tuple[int | None, str, int | None]:
    """Return code, text and native code of an `RpcError`; a description of anything else."""
    if isinstance(error, RpcError):
        # Of a call that the handler made itself, the number speaks of that call's server: that it
        # stops, for one.
        own = error.peer is None
        return error.code.value, error.text, error.native_code if own else None
    name = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (its message is code of the user's)
        return None, name, None
    return None, f"{name}: {text}" if text else name, None


class WireError(ValueError):
    """A peer sent what no honest peer sends, or the stream ended inside a frame.

    Attributes:
        reason: `length_below_header`, `length_above_limit` or `truncated`, as in `rejected_total`.
        frames: the frames that were complete before it, of the same `feed`.
    """

    def __init__(self, reason: str, text: str, frames: tuple[Frame, ...] = ()) -> None:
        """Refuse a stream."""
        super().__init__(reason, text, frames)
        self.reason = reason
        self.text = text
        self.frames = frames

    def __str__(self) -> str:
        """Return what was wrong, with the number and the limit."""
        return self.text


class ProtoError(ValueError):
    """A `.proto` file was not compiled. `str()` of it shows the place and the line.

    Attributes:
        reason: what is wrong.
        file: the file as an `import` names it; None where no file is to blame.
        line: counted from 1; None where it is about no place.
        column: in characters, counted from 1.
        source: the line as it stands in the file.
    """

    def __init__(
        self,
        reason: str,
        file: str | None = None,
        line: int | None = None,
        column: int | None = None,
        source: str | None = None,
    ) -> None:
        """Refuse a file."""
        super().__init__(reason, file, line, column, source)
        self.reason = reason
        self.file = file
        self.line = line
        self.column = column
        self.source = source

    def __str__(self) -> str:
        """Return place and reason, and the line with a mark under the place."""
        if self.file is None:
            return self.reason
        if self.line is None or self.column is None or self.source is None:
            return f"{self.file}: {self.reason}"
        # Tabs stay what they are, so that the mark stands below what it means.
        before = "".join(c if c == "\t" else " " for c in self.source[: self.column - 1])
        return (
            f"{self.file}:{self.line}:{self.column}: {self.reason}\n"
            f"    {self.source}\n    {before}^"
        )


@dataclasses.dataclass(frozen=True)
class Disconnect:
    """Why a connection ended.

    Attributes:
        kind: one of the labels of `disconnects_total`, for programs.
        text: what happened, for people; also `str()` of it.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        """Return the text."""
        return self.text
