"""Names of services and methods, and what travels beside a call."""

from __future__ import annotations

from harness import wire
from harness.attack import Attack, Run, again, answered, in_turn

FAMILY = "Names and metadata"
LONG = "n" * 65536


def unknown(address: str, end: float) -> int:
    def run(made: wire.Wire) -> Run:
        calls = [
            made.call(1, b"", "no_such_method"),
            made.call(1, b"", service="no.such.Service"),
            made.call(1, b"", "", service=""),
            made.call(1, b"", "Target.echo", service="abuse"),
        ]
        return lambda address, end: answered(address, end, made, calls)

    return in_turn(*map(run, wire.BRPC))(address, end)


def long(address: str, end: float) -> int:
    def run(made: wire.Wire) -> Run:
        calls = [made.call(1, b"", service=LONG)]
        if made is not wire.HULU_WIRE:
            calls.append(made.call(1, b"", LONG))
        return lambda address, end: answered(address, end, made, calls)

    return in_turn(*map(run, wire.BRPC))(address, end)


def far_index(address: str, end: float) -> int:
    """hulu's methods have numbers; they may not fit anything."""
    named = wire.field(1, "Target")
    pieces = []
    for index in (4, 2**31 - 1, 2**31, 2**64 - 1):
        meta = named + wire.field(2, index) + wire.field(4, 1)
        pieces.append(wire.HULU_WIRE.head(len(meta), 0) + meta)
    return answered(address, end, wire.HULU_WIRE, pieces)


def user_field(key: str | bytes, value: str | bytes) -> bytes:
    return wire.field(9, wire.field(1, key) + wire.field(2, value))


def large_meta(address: str, end: float) -> int:
    """A meta of more than 256 KiB, announced and sent."""
    more = user_field("key", "v" * 300_000)
    pieces = [wire.BAIDU.call(1, b"", more=more), wire.BAIDU.head(2**18 + 1, 0)]
    return again(address, end, pieces)


def no_text(address: str, end: float) -> int:
    more = user_field(b"\xff\xfe", b"\xfd" * 1000) + user_field(b"", b"\x00\r\n")
    return answered(address, end, wire.BAIDU, [wire.BAIDU.call(1, b"", more=more)])


def many_keys(address: str, end: float) -> int:
    different = b"".join(user_field(f"key-{n}", "value") for n in range(1000))
    same = user_field("key", "value") * 1000
    calls = [wire.BAIDU.call(1, b"", more=more) for more in (different, same)]
    return answered(address, end, wire.BAIDU, calls)


ATTACKS = (
    Attack(
        "unknown names",
        "services and methods that are not there, none at all, a dot elsewhere",
        "answered without Python",
        unknown,
        ("rejected_total.unknown_method",),
    ),
    Attack(
        "names of 64 KiB",
        "of a service, of a method",
        "a meta of 256 KiB; cut in the log and in the answer",
        long,
        ("rejected_total.unknown_method",),
    ),
    Attack(
        "hulu: numbers of methods",
        "4 of 4, 2^31 - 1, 2^31, 2^64 - 1",
        "answered without Python",
        far_index,
        ("rejected_total.unknown_method",),
    ),
    Attack(
        "metadata too large",
        "300 kB of it; a meta that announces 256 KiB + 1",
        "a meta of 256 KiB, before anything is reserved",
        large_meta,
        ("rejected_total.length_above_limit",),
    ),
    Attack(
        "metadata that is no text",
        "invalid UTF-8, zeros, line ends in keys and values",
        "the meta's; escaped wherever it is shown",
        no_text,
        ("calls_received_total",),
    ),
    Attack(
        "1,000 keys",
        "in the metadata of one call: different ones, and one a thousand times",
        "a meta of 256 KiB",
        many_keys,
        ("calls_received_total",),
    ),
)
