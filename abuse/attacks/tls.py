"""Handshakes that are not ended, cut small, or none."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time

from harness import wire
from harness.attack import Attack, throw, until_closed

FAMILY = "TLS"


def context() -> ssl.SSLContext:
    """Make a context that asks for nothing: it is not the server that is in doubt here."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    return made


def hello() -> bytes:
    """Return the first bytes of a client, as the library makes them."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()


def half_done(address: str, end: float) -> int:
    """A hello, and no word after the server's answer; 2,000 a second at most."""
    first, times, held = hello(), 0, []
    while time.monotonic() < end:
        held = held[-1000:]
        sock = wire.connect(address)
        sock.sendall(first)
        held.append(sock)
        times += 1
        time.sleep(0.0005)
    for sock in held:
        sock.close()
    return times


def silent(address: str, end: float) -> int:
    socks = [wire.connect(address) for _ in range(300)]
    for sock in socks:
        until_closed(sock, max(end - time.monotonic(), 0))
        sock.close()
    return len(socks)


def in_records(address: str, end: float) -> int:
    """A hello of which each byte is a record of its own, sent byte by byte."""
    whole = hello()
    head, message = whole[:3], whole[5:]
    pieces = b"".join(head + b"\x00\x01" + message[at : at + 1] for at in range(len(message)))
    times = 0
    while time.monotonic() < end:
        with contextlib.suppress(OSError), wire.connect(address) as sock:
            for at in range(0, len(pieces), 6):
                sock.sendall(pieces[at : at + 6])
            until_closed(sock, 0.02)
        times += 1
    return times


def plain(address: str, end: float) -> int:
    times = 0
    while time.monotonic() < end:
        for made in wire.WIRES:
            throw(address, made.call(1, b""))
            times += 1
    return times


def changed(address: str, end: float) -> int:
    """Good handshakes, and then a record that was changed on its way."""
    times, mine = 0, context()
    while time.monotonic() < end:
        with contextlib.suppress(OSError), wire.connect(address) as sock:
            secure = mine.wrap_socket(sock)
            secure.sendall(wire.BAIDU.call(1, b""))
            wire.read(secure)
            with socket.socket(fileno=secure.detach()) as bare:
                bare.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
                until_closed(bare, 0.05)
        times += 1
    return times


def calls(address: str, end: float) -> int:
    """Good connections of one call each, while the certificate is reloaded all the time."""
    times, mine = 0, context()
    while time.monotonic() < end:
        with wire.connect(address) as sock, mine.wrap_socket(sock) as secure:
            secure.sendall(wire.BAIDU.call(1, b""))
            assert wire.read(secure).code == 0
        times += 1
    return times


SOON = {"handshake_timeout": 0.3}

ATTACKS = (
    Attack(
        "handshakes half done",
        "up to 2,000 a second, 1,000 at once, which end after the hello",
        "`handshake_timeout`, here 0.3 s; 4,096 at once",
        half_done,
        ("rejected_total.handshake_timeout", "disconnects_total.reset"),
        options=SOON,
        tls=True,
    ),
    Attack(
        "TLS: silence",
        "300 connections at once that say nothing",
        "`handshake_timeout`, here 0.3 s",
        silent,
        ("rejected_total.handshake_timeout",),
        options=SOON,
        tls=True,
    ),
    Attack(
        "a hello in records of a byte",
        "each sent by itself, then nothing",
        "`handshake_timeout`, here 0.3 s",
        in_records,
        ("disconnects_total",),
        options=SOON,
        tls=True,
    ),
    Attack(
        "plain calls at a TLS port",
        "a call of each protocol",
        "the first bytes decide",
        plain,
        ("rejected_total.tls_expected",),
        tls=True,
    ),
    Attack(
        "changed records",
        "after a good handshake",
        "the connection's end",
        changed,
        ("rejected_total.tls_record",),
        tls=True,
    ),
    Attack(
        "reload under load",
        "new connections, a call each, while the certificate is reloaded 20 times a second",
        "none: nothing may fail",
        calls,
        ("calls_total.ok",),
        tls=True,
        meanwhile="reload_tls",
    ),
)
