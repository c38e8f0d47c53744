"""The protocols by name, each with its options."""

from __future__ import annotations

import dataclasses
from typing import Literal

from callmethod import _core

__all__ = ["Indexed"]


@dataclasses.dataclass(frozen=True)
class Indexed:
    """The indexed protocol: `[length][index][body]`, one-way by default.

    The default is the wire of the classic tutorial: a little endian u32 that counts what follows
    it, a u16 method index, the serialized request. Old peers differ in these numbers.

    Attributes:
        byte_order: of every number.
        length_width: bytes of the length: 4, 2 or 8.
        length_covers: what the length counts.
        index_width: bytes of the index: 2, 4, or 0 for a service with one method.
        id_width: bytes of a call id before the index: 0, 4 or 8. Known to the codec only, for now.
        reply: whether and how calls are answered. Known to the codec only, for now.
        max_length: bytes after the length field, 1 to 512 MiB - 1; None for 4 MiB.
        coalesce: whether frames that wait together may leave in one write.
        on_bad_body: what becomes of a connection whose peer sends a body that does not parse.
        service: full name of the service that is meant, where a server has several.

    Raises:
        ValueError: a value that cannot be, or two that do not go together.
    """

    byte_order: Literal["little", "big"] = "little"
    length_width: Literal[2, 4, 8] = 4
    length_covers: Literal["after_length", "whole_frame", "body_only"] = "after_length"
    index_width: Literal[0, 2, 4] = 2
    id_width: Literal[0, 4, 8] = 0
    reply: Literal["none", "by_id", "in_order"] = "none"
    max_length: int | None = None
    coalesce: bool = True
    on_bad_body: Literal["close", "skip"] = "close"
    service: str | None = None

    def __post_init__(self) -> None:
        """Have the core check the numbers: there is one place that knows the rules."""
        try:
            _core.IndexedCodec(self, "calls", _core.MESSAGE_BYTES)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"{self!r}: {error}") from None
