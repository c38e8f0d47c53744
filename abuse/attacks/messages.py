"""Messages that are too large, cut, compressed, nested, or no messages at all."""

from __future__ import annotations

import functools
import time
import zlib

from harness import wire
from harness.attack import Attack, Run, again, answered, in_turn

FAMILY = "Messages"
MIB = 1 << 20


def gzipped(data: bytes) -> bytes:
    return deflated(data, 31)


def zlibbed(data: bytes) -> bytes:
    return deflated(data, 15)


def deflated(data: bytes, bits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    return packer.compress(data) + packer.flush()


def snappied(size: int, declared: int | None = None) -> bytes:
    """`size` zeros as snappy has them: one byte, then copies of 64 of it; the size may be a lie."""
    copies = (size - 1) // 64
    return wire.varint(declared or size) + b"\x00\x00" + b"\xfe\x01\x00" * copies


def over_limit(address: str, end: float) -> int:
    """Headers alone, and with a megabyte behind."""
    pieces = [made.head(8, wire.LIMIT + 1 - 8 + 300_000) for made in wire.BRPC]
    pieces.append(wire.INDEXED.pack(wire.LIMIT + 1, 1, 0))
    return again(address, end, [piece + tail for piece in pieces for tail in (b"", bytes(MIB))])


def cut_off(address: str, end: float) -> int:
    """Every byte is the last one in its turn."""
    calls = [made.call(1, wire.field(1, b"cut")) for made in wire.WIRES]
    pieces = [call[:size] for call in calls for size in range(4, len(call))]
    return again(address, end, pieces, wait=0)


def unknown_compression(address: str, end: float) -> int:
    def run(made: wire.Wire) -> Run:
        number = 300 if made is wire.SOFA_WIRE else 3
        calls = [
            made.call(1, wire.field(1, b"x"), more=wire.field(number, kind))
            for kind in (4, 9, 2**31 - 1, 2**64 - 1)
        ]
        # Said to be compressed, and is not.
        calls += [
            made.call(1, wire.field(1, b"x" * 100), more=made.packed(how))
            for how in (wire.SNAPPY, wire.GZIP, wire.ZLIB)
        ]
        return lambda address, end: answered(address, end, made, calls)

    return in_turn(*map(run, wire.BRPC))(address, end)


@functools.cache
def packed_zeros() -> dict[str, list[bytes]]:
    """32 MiB of zeros in some kilobytes, once with their size, once with a lie about it."""
    zeros = bytes(32 * MIB)
    gzip = gzipped(zeros)
    return {
        wire.GZIP: [gzip, gzip[:-4] + b"\x10\0\0\0"],
        wire.ZLIB: [zlibbed(zeros)],
        wire.SNAPPY: [
            snappied(32 * MIB),
            snappied(32 * MIB, declared=16),
            snappied(64, declared=2**32 - 1),
            snappied(64, declared=wire.LIMIT),
        ],
    }


def bombs(address: str, end: float) -> int:
    def run(made: wire.Wire) -> Run:
        calls = [
            made.call(1, data, more=made.packed(how))
            for how, packed in packed_zeros().items()
            for data in packed
            if len(data) < wire.LIMIT
        ]
        return lambda address, end: answered(address, end, made, calls)

    return in_turn(*map(run, wire.BRPC))(address, end)


def trailing(address: str, end: float) -> int:
    """Bytes after the message, or after the compressed stream."""
    body = wire.field(1, b"x")

    def run(made: wire.Wire) -> Run:
        calls = [
            made.call(1, body + b"\xff\xff\xff"),
            made.call(1, gzipped(body) + b"more", more=made.packed(wire.GZIP)),
            made.call(1, zlibbed(body) * 2, more=made.packed(wire.ZLIB)),
        ]
        return lambda address, end: answered(address, end, made, calls)

    return in_turn(*map(run, wire.BRPC))(address, end)


def no_messages(address: str, end: float) -> int:
    """A number that does not end, a length beyond the end, a group that is not closed."""
    bodies = [b"\xff" * 20, b"\x0a\x7f", b"\x0b", b"\x00", b"\x0c", b"\x0a\xff\xff\xff\xff\x0f"]

    def run(made: wire.Wire) -> Run:
        calls = [made.call(1, body) for body in bodies]
        return lambda address, end: answered(address, end, made, calls)

    run_brpc = [run(made) for made in wire.BRPC]
    indexed = [wire.INDEXED_WIRE.call(1, body) for body in bodies]
    return in_turn(*run_brpc, lambda address, end: again(address, end, indexed))(address, end)


def bad_text(address: str, end: float) -> int:
    """proto2 parsers take it; what matters is that it does no harm."""
    calls = [wire.BAIDU.call(1, wire.field(2, bad)) for bad in (b"\xff\xfe", b"\xc0\x80" * 1000)]
    return answered(address, end, wire.BAIDU, calls)


def nested(depth: int) -> bytes:
    """A message within a message, so many times."""
    # Built from the inside; lengths grow, so that 100,000 levels take half a megabyte.
    parts, size = [], 0
    for _ in range(depth):
        head = b"\x2a" + wire.varint(size)
        parts.append(head)
        size += len(head)
    return b"".join(reversed(parts))


def groups(depth: int) -> bytes:
    """Unknown groups within each other, closed in order."""
    return b"\x5b" * depth + b"\x5c" * depth


@functools.cache
def deep_calls() -> list[bytes]:
    bodies = [nested(101), nested(1000), nested(100_000), groups(101), groups(100_000)]
    return [wire.BAIDU.call(1, body) for body in bodies]


def deep(address: str, end: float) -> int:
    return answered(address, end, wire.BAIDU, deep_calls())


def paced(body: bytes, pause: float) -> Run:
    """One message after the other on one connection, with a pause between them."""
    call = wire.BAIDU.call(1, body)

    def run(address: str, end: float) -> int:
        times = 0
        with wire.connect(address) as sock:
            while time.monotonic() < end:
                sock.sendall(call)
                wire.read(sock)
                times += 1
                time.sleep(pause)
        return times

    return run


PARSED = {
    "p99": "protobuf's parser holds the interpreter's lock all the while",
    "memory": "protobuf takes 16 bytes and more for each of them, twice while it grows",
}

UNKNOWN = b"\xf8\x06\x01"  # field 111, a number
A_PAIR = b"\x22\x04\x0a\x00\x12\x00"  # of the map, both empty

ATTACKS = (
    Attack(
        "too large",
        "headers that announce more than 4 MiB, alone and with a megabyte",
        "`max_length`, before anything is reserved",
        over_limit,
        ("rejected_total.length_above_limit",),
    ),
    Attack(
        "cut at every byte",
        "a call of each protocol that ends after each of its bytes",
        "what was read",
        cut_off,
        ("rejected_total.truncated",),
    ),
    Attack(
        "unknown compression",
        "numbers that stand for none; said to be compressed, and is not",
        "refused by the number, or by its first bytes",
        unknown_compression,
        ("rejected_total.bad_body",),
    ),
    Attack(
        "bombs",
        "32 MiB of zeros by snappy, gzip and zlib; sizes that lie, up to 2^32 - 1",
        "`max_length`, and 200 times what came",
        bombs,
        ("rejected_total.bad_body",),
        prepare=packed_zeros,
        seconds=1.0,
        known={
            "p99": "to inflate 4 MiB, as many as a message may have, takes the only CPU so long"
        },
    ),
    Attack(
        "trailing bytes",
        "after the message; after the gzip member; a second zlib stream",
        "one message, one stream",
        trailing,
        ("rejected_total.bad_body",),
    ),
    Attack(
        "no messages",
        "numbers and lengths without an end, groups that are not closed, on each protocol",
        "protobuf's parser",
        no_messages,
        ("rejected_total.bad_body",),
    ),
    Attack(
        "invalid UTF-8",
        "in a string field, two bytes and 2,000",
        "as the parser of the message's syntax has it",
        bad_text,
        ("calls_received_total",),
    ),
    Attack(
        "nesting",
        "messages and groups 101, 1,000 and 100,000 deep",
        "100, protobuf's own",
        deep,
        ("rejected_total.bad_body",),
        prepare=deep_calls,
    ),
    Attack(
        "a million unknown fields",
        "in one message of 3 MB, four a second",
        "`max_length`",
        paced(UNKNOWN * 1_000_000, 0.25),
        ("calls_total.ok",),
        known=PARSED,
        seconds=1.0,
    ),
    Attack(
        "4 MB packed",
        "four million numbers in one message, four a second",
        "`max_length`",
        paced(wire.field(3, bytes(4_000_000)), 0.25),
        ("calls_total.ok",),
        known=PARSED,
        seconds=1.0,
    ),
    Attack(
        "a map of equal keys",
        "700,000 times the same one in 4 MB, four a second",
        "`max_length`",
        paced(A_PAIR * 690_000, 0.25),
        ("calls_total.ok",),
        known=PARSED,
        seconds=1.0,
    ),
)
