"""The indexed codec without a socket, for transports of one's own."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeAlias

from callmethod import _core
from callmethod.errors import WireError
from callmethod.protocols import Indexed

__all__ = ["Frame", "IndexedCodec"]

_Bytes: TypeAlias = bytes | bytearray | memoryview


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        index: of the called method; None in a reply.
        id: of the call; None where the layout has none.
        body: the serialized message.
    """

    index: int | None
    id: int | None
    body: bytes


class IndexedCodec:
    """Frames to bytes and back: one codec for each direction of each connection.

    Attributes:
        protocol: the layout.
    """

    def __init__(
        self,
        protocol: Indexed = Indexed(),  # noqa: B008  (frozen)
        *,
        receives: Literal["calls", "replies"] = "calls",
        message_limit: int = _core.MESSAGE_BYTES,
    ) -> None:
        """Make a codec.

        Args:
            protocol: the layout.
            receives: which frames `feed` takes apart; their bytes do not tell.
            message_limit: bytes after the length field where the layout names no `max_length`.

        Raises:
            ValueError: no such kind of frames, or a limit out of range.
        """
        self.protocol = protocol
        try:
            self._core = _core.IndexedCodec(protocol, receives, message_limit)
        except OverflowError as error:
            raise ValueError(f"message_limit {message_limit}: {error}") from None

    def encode(self, index: int, body: _Bytes, id: int | None = None) -> bytes:  # noqa: A002
        """Return a call frame.

        Raises:
            ValueError: the layout or the limit cannot carry it.
        """
        try:
            return self._core.encode_call(index, body, id)
        except OverflowError as error:
            raise ValueError(f"index {index}, id {id}: {error}") from None

    def encode_reply(self, body: _Bytes, id: int | None = None) -> bytes:  # noqa: A002
        """Return a reply frame.

        Raises:
            ValueError: the layout or the limit cannot carry it.
        """
        try:
            return self._core.encode_answer(body, id)
        except OverflowError as error:
            raise ValueError(f"id {id}: {error}") from None

    def feed(self, data: _Bytes) -> list[Frame]:
        """Return the frames that `data` completes; the rest is kept.

        Raises:
            WireError: bad input. Its `frames` came before that; every later call raises too.
        """
        parts, wrong = self._core.decode(data)
        frames = [Frame(index, id, body) for index, id, body in parts]
        if wrong is not None:
            raise WireError(*wrong, tuple(frames))
        return frames

    def finish(self) -> None:
        """Take note of the end of the stream.

        Raises:
            WireError: it ended inside a frame, or had been refused before.
        """
        wrong = self._core.end()
        if wrong is not None:
            raise WireError(*wrong)
