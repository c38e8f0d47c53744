"""The protocols by name, each with its options."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, TypeAlias

from callmethod import _core

__all__ = ["BaiduStd", "Hulu", "Indexed", "Protocol", "Sofa"]


@dataclasses.dataclass(frozen=True)
class BaiduStd:
    """brpc's own protocol: calls with answers in any order, attachments, metadata, deadlines.

    Attributes:
        max_length: bytes of a frame after its header, and of a message once inflated, 1 to
            512 MiB - 1; None for 4 MiB. brpc's own default is 64 MiB.
        coalesce: whether frames that wait together may leave in one write.

    Raises:
        ValueError: a number out of range.
    """

    name: ClassVar[str] = "baidu_std"

    max_length: int | None = None
    coalesce: bool = True

    def __post_init__(self) -> None:
        """Have the core check the numbers."""
        _check(self)


@dataclasses.dataclass(frozen=True)
class Hulu:
    """hulu_pbrpc, as brpc speaks it: methods go by their place in the service.

    It carries attachments, and neither metadata nor deadlines; the attributes and errors are those
    of `BaiduStd`.
    """

    name: ClassVar[str] = "hulu_pbrpc"

    max_length: int | None = None
    coalesce: bool = True

    def __post_init__(self) -> None:
        """Have the core check the numbers."""
        _check(self)


@dataclasses.dataclass(frozen=True)
class Sofa:
    """sofa_pbrpc, as brpc speaks it: messages only.

    It carries neither attachments, metadata, deadlines nor credentials; the attributes and errors
    are those of `BaiduStd`.
    """

    name: ClassVar[str] = "sofa_pbrpc"

    max_length: int | None = None
    coalesce: bool = True

    def __post_init__(self) -> None:
        """Have the core check the numbers."""
        _check(self)


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
        id_width: bytes of a call id before the index: 0, 4 or 8.
        reply: whether and how calls are answered: not at all, by a frame with the id and the
            response, or by one that comes in its turn.
        max_length: bytes after the length field, 1 to 512 MiB - 1; None for 4 MiB.
        coalesce: whether frames that wait together may leave in one write.
        on_bad_body: what becomes of a connection whose peer sends a body that does not parse.
        service: full name of the service that is meant, where a server has several.

    Raises:
        ValueError: a value that cannot be, or two that do not go together.
    """

    name: ClassVar[str] = "indexed"

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
        _check(self)


Protocol: TypeAlias = BaiduStd | Hulu | Sofa | Indexed


@dataclasses.dataclass(frozen=True)
class Traits:
    """What a protocol can carry."""

    answers: bool
    failures: bool
    credentials: bool
    metadata: bool
    push: bool


def traits_of(protocol: Protocol) -> Traits:
    """Ask the core what `protocol` can carry."""
    return Traits(*_core.traits(protocol))


def check_protocol(protocol: object) -> Protocol:
    """Return `protocol`; raise TypeError when it is none."""
    if isinstance(protocol, (BaiduStd, Hulu, Sofa, Indexed)):
        return protocol
    raise TypeError(f"a protocol is callmethod.BaiduStd(...) or the like, not {protocol!r}")


def _check(protocol: Protocol) -> None:
    try:
        _core.traits(protocol)
    except (TypeError, OverflowError) as error:
        raise ValueError(f"{protocol!r}: {error}") from None
