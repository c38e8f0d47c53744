"""Peers that stand still, vanish, do not read, or ask for what they do not get."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import time

from harness import wire
from harness.attack import Attack, Run, in_turn

FAMILY = "Half-open and slow peers, floods"
MIB = 1 << 20


def reset(sock: socket.socket) -> None:
    """Close by RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def stopped(address: str, end: float) -> int:
    """A process of ours that calls, and is stopped by a signal before it reads an answer."""
    pid = calling_and_stopping(address)
    os.waitpid(pid, os.WUNTRACED)
    time.sleep(max(end - time.monotonic(), 0))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return len(wire.WIRES)


def calling_and_stopping(address: str) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        for made in wire.WIRES:
            sock = wire.connect(address)
            sock.sendall(made.call(1, wire.field(6, MIB // 4), wire.LARGE) * 40)
            os.dup(sock.fileno())  # it must outlive its object
        os.kill(os.getpid(), signal.SIGSTOP)
    finally:
        os._exit(0)


def resets(address: str, end: float) -> int:
    """A reset in the middle of an answer, in the middle of a call, and with calls under way."""
    times = 0
    while time.monotonic() < end:
        for made in wire.WIRES:
            call = made.call(1, wire.field(6, MIB), wire.LARGE)
            for sent, read in ((call, 1000), (call[:-1], 0), (call * 3, 0), (call + call[:5], 1)):
                sock = wire.connect(address)
                sock.sendall(sent)
                if read:
                    sock.recv(read)
                reset(sock)
                times += 1
                # Answers of a megabyte are work for the server; that is not what this is about.
                time.sleep(0.02)
    return times


def ends(address: str, end: float) -> int:
    """The end of our side with calls under way that are never answered; then the peer dies."""
    times = 0
    while time.monotonic() < end:
        for made in wire.WIRES:
            sock = wire.connect(address)
            sock.sendall(made.call(1, b"", wire.NEVER) + made.call(2, b""))
            sock.shutdown(socket.SHUT_WR)
            wire.read(sock, made)
            reset(sock)
            times += 1
            time.sleep(0.001)
    return times


def deaf(address: str, end: float) -> int:
    """100 answers of 1 MB are asked for, and none is read."""
    socks = []
    for made in wire.WIRES:
        sock = wire.connect(address)
        # Calls are small: they get into the socket whether they are read or not.
        calls = [made.call(cid, wire.field(6, 1_000_000), wire.LARGE) for cid in range(1, 101)]
        sock.sendall(b"".join(calls))
        socks.append(sock)
    time.sleep(max(end - time.monotonic(), 0))
    for sock in socks:
        reset(sock)
    return 100 * len(socks)


def pipelined(frames: bytes, count: int) -> Run:
    """Send `frames`, with `count` calls in them, again and again, and read what comes."""

    def run(address: str, end: float) -> int:
        times = 0
        with wire.connect(address) as sock:
            sock.settimeout(0)
            left = memoryview(frames)
            while time.monotonic() < end:
                with contextlib.suppress(BlockingIOError):
                    left = left[sock.send(left) :]
                    if not left:
                        left, times = memoryview(frames), times + count
                with contextlib.suppress(BlockingIOError):
                    sock.recv(1 << 20)
        return times

    return run


def flood(call: bytes, count: int = 1000) -> Run:
    return pipelined(call * count, count)


def connections(address: str, end: float) -> int:
    """Connections that are closed as soon as they are made."""
    times = 0
    while time.monotonic() < end:
        wire.connect(address).close()
        times += 1
    return times


ATTACKS = (
    Attack(
        "stopped by SIGSTOP",
        "a process to which 40 answers of 256 KiB come on a connection of each protocol",
        "4 MiB unwritten for a connection, then no call of it begins",
        stopped,
        ("disconnects_total",),
        seconds=1.0,
    ),
    Attack(
        "resets",
        "in the middle of a call, of an answer, and with calls under way",
        "the connection's end",
        resets,
        ("disconnects_total.reset",),
    ),
    Attack(
        "ends without an answer",
        "the peer ends its side while a handler never ends, then vanishes",
        "the reset ends its calls",
        ends,
        ("calls_total.CANCELLED",),
    ),
    Attack(
        "slow consumer",
        "a connection of each protocol that asks for 100 answers of 1 MB and reads none",
        "4 MiB unwritten for a connection, then no call of it begins",
        deaf,
        ("calls_total.ok",),
        seconds=1.0,
    ),
    Attack(
        "connections without a word",
        "made and closed, one after the other",
        "nothing is kept",
        connections,
        ("disconnects_total.peer_closed",),
    ),
    Attack(
        "flood of unknown methods",
        "as many calls as fit into one connection",
        "answered without Python, by turns with others",
        in_turn(*(flood(made.call(1, b"", "no")) for made in wire.BRPC)),
        ("rejected_total.unknown_method",),
    ),
    Attack(
        "flood above max_concurrency",
        "the same, of a method of which one call may run, which it does",
        "answered without Python, by turns with others",
        flood(wire.BAIDU.call(1, b"", wire.NEVER)),
        ("rejected_total.overload",),
        options={"method_max_concurrency": {"abuse.Target.never": 1}},
    ),
    Attack(
        "flood of bad messages",
        "the same, each with a message that does not parse",
        "by turns with others; 64 calls of a connection at a time",
        flood(wire.BAIDU.call(1, b"\xff")),
        ("rejected_total.bad_body",),
    ),
    Attack(
        "flood of good calls",
        "the same, each answered",
        "by turns with others; 64 calls of a connection at a time",
        flood(wire.BAIDU.call(1, b"")),
        ("calls_total.ok",),
    ),
)
