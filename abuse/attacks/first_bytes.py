"""What a connection begins with, and what comes after a good beginning."""

from __future__ import annotations

import contextlib
import random
import struct
import time

from harness import wire
from harness.attack import Attack, again, throw, until_closed

FAMILY = "First bytes and frames"
SOON = {"handshake_timeout": 0.3}
MAGICS = (b"PRPC", b"HULU", b"SOFA", b"\x16\x00\x00\x00")


def nothing(address: str, end: float) -> int:
    socks = [wire.connect(address) for _ in range(500)]
    for sock in socks:
        until_closed(sock, max(end - time.monotonic(), 0))
        sock.close()
    return len(socks)


def dribble(address: str, end: float) -> int:
    """The first two bytes in time, then one a while: no protocol is known from them."""
    socks = [wire.connect(address) for _ in range(200)]
    for piece in (b"P", b"R", b"P"):
        for sock in socks:
            with contextlib.suppress(OSError):
                sock.sendall(piece)
        time.sleep(min(0.2, max(end - time.monotonic(), 0)))
    for sock in socks:
        until_closed(sock, max(end - time.monotonic(), 0))
        sock.close()
    return len(socks)


def dribbled_frame(address: str, end: float) -> int:
    """A whole call, a byte at a time, on many connections at once."""
    frames = [made.call(1, wire.field(1, b"slow")) for made in wire.WIRES]
    socks = [wire.connect(address) for _ in range(100)]
    sent, times = [0] * len(socks), 0
    while time.monotonic() < end:
        for place, sock in enumerate(socks):
            frame = frames[place % len(frames)]
            if sent[place] < len(frame):
                sock.sendall(frame[sent[place] : sent[place] + 1])
                sent[place] += 1
                times += 1
        time.sleep(0.01)
    for sock in socks:
        sock.close()
    return times


def prefixes(address: str, end: float) -> int:
    pieces = [magic[:size] for magic in MAGICS for size in (1, 2, 3)]
    return again(address, end, pieces, wait=0)


def noise(address: str, end: float) -> int:
    seed = times = 0
    while time.monotonic() < end:
        throw(address, random.Random(seed).randbytes(65536))
        seed += 1
        times += 1
    return times


def noise_after(address: str, end: float) -> int:
    """Random bytes where the next frame would begin."""
    seed = times = 0
    while time.monotonic() < end:
        for made in wire.WIRES:
            piece = random.Random(seed).randbytes(65536)
            throw(address, made.call(1, b"") + piece)
            seed += 1
            times += 1
    return times


def sizes(address: str, end: float) -> int:
    most = 2**32 - 1
    pieces = [
        struct.pack(head, magic, *pair)
        for head, magic in ((">4sII", b"PRPC"), ("<4sII", b"HULU"))
        for pair in ((0, 0), (0, 1), (8, 9), (most, 0), (most, most), (wire.LIMIT + 300_000, 8))
    ]
    pieces += [
        struct.pack("<4sIQQ", b"SOFA", *three)
        for three in ((0, 0, 1), (8, 8, 15), (8, 2**64 - 1, 7), (8, 2**63, 2**63 + 8))
    ]
    return again(address, end, pieces)


def indexed_frames(address: str, end: float) -> int:
    good = wire.INDEXED_WIRE.call(1, b"")
    pieces = [good + struct.pack("<IIH", length, 1, 0) for length in (0, 1, 5, wire.LIMIT + 1)]
    pieces += [good + wire.INDEXED.pack(6, 1, index) for index in (len(wire.METHODS), 2**16 - 1)]
    # Above 512 MiB four bytes are no length, but the beginning of something unknown.
    lengths = (2**29, 2**31, 2**32 - 1)
    pieces += [struct.pack("<IIH", length, 1, 0) for length in (0, *lengths)]
    pieces += [good + struct.pack("<IIH", length, 1, 0) for length in lengths]
    return again(address, end, pieces)


def ids_again(address: str, end: float) -> int:
    """One id for all calls under way; each is answered."""
    times = 0
    while time.monotonic() < end:
        with wire.connect(address) as sock:
            sock.sendall(wire.INDEXED_WIRE.call(7, wire.field(1, b"same")) * 1000)
            left = 1000 * (8 + 6)
            while left > 0:
                left -= len(sock.recv(1 << 20))
            times += 1000
    return times


def never_answered(address: str, end: float) -> int:
    """Calls whose handler does not end, on connections that then go away."""
    times = 0
    while time.monotonic() < end:
        socks = []
        for made in wire.WIRES:
            sock = wire.connect(address)
            calls = [made.call(cid, b"", wire.NEVER) for cid in range(1, 201)]
            sock.sendall(b"".join(calls))
            socks.append(sock)
            times += len(calls)
        time.sleep(0.1)
        for sock in socks:
            # Reset, so that the server learns that nobody waits.
            sock.setsockopt(wire.socket.SOL_SOCKET, wire.socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
    return times


def switch(address: str, end: float) -> int:
    """A good call of one protocol, then one of another."""
    pieces = [
        first.call(1, b"") + second.call(2, b"")
        for first in wire.WIRES
        for second in wire.WIRES
        if first is not second
    ]
    return again(address, end, pieces)


ATTACKS = (
    Attack(
        "silence",
        "500 connections at once that say nothing",
        "`handshake_timeout`, here 0.3 s",
        nothing,
        ("rejected_total.handshake_timeout",),
        options=SOON,
    ),
    Attack(
        "dribbled beginning",
        "200 connections, a byte each 0.2 s",
        "`handshake_timeout`, here 0.3 s",
        dribble,
        ("rejected_total.handshake_timeout",),
        options=SOON,
    ),
    Attack(
        "dribbled frames",
        "100 connections, a frame of each protocol a byte each 10 ms",
        "the frame's own size",
        dribbled_frame,
        ("calls_total.ok",),
        seconds=1.0,
    ),
    Attack(
        "prefixes",
        "each prefix of 1 to 3 bytes of each magic number, then the end",
        "nothing is kept",
        prefixes,
        ("rejected_total.truncated",),
    ),
    Attack(
        "random beginning",
        "64 KiB of random bytes, each time others",
        "8 bytes decide",
        noise,
        ("rejected_total.unknown_protocol",),
    ),
    Attack(
        "random frames",
        "64 KiB of random bytes after a good call of each protocol",
        "the header decides",
        noise_after,
        ("rejected_total.bad_magic", "rejected_total.length_above_limit"),
    ),
    Attack(
        "sizes that lie",
        "body 0, meta above body, 2^32 - 1, sums that do not add up or overflow",
        "checked before anything is reserved",
        sizes,
        ("rejected_total.bad_sizes", "rejected_total.length_above_limit"),
    ),
    Attack(
        "indexed: lengths and indexes",
        "length 0, 1, 5, limit + 1, 2^29 to 2^32 - 1; index out of range",
        "checked before anything is reserved",
        indexed_frames,
        (
            "rejected_total.length_below_header",
            "rejected_total.length_above_limit",
            "rejected_total.unknown_method",
            "rejected_total.unknown_protocol",
        ),
    ),
    Attack(
        "indexed: one id for all",
        "1,000 calls under way with the same id",
        "each is answered",
        ids_again,
        ("calls_total.ok",),
    ),
    Attack(
        "never answered",
        "200 calls of each protocol whose handler never ends, then a reset",
        "the connection's end ends them",
        never_answered,
        ("calls_total.CANCELLED", "disconnects_total.reset"),
    ),
    Attack(
        "another protocol midway",
        "a good call, then one of another protocol; all pairs",
        "a connection keeps its protocol",
        switch,
        ("rejected_total.bad_magic", "rejected_total.length_above_limit"),
    ),
)
