"""Frames of the four protocols by hand, from their pages in docs/ and none of our code."""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass
from typing import Any

SERVICE = "abuse.Target"
ECHO, LARGE, WORK, NEVER = METHODS = ("echo", "large", "work", "never")
SNAPPY, GZIP, ZLIB = "snappy", "gzip", "zlib"
LIMIT = 4 * 1024 * 1024
"""The default bound of a message and of a frame."""
IP_BIND_ADDRESS_NO_PORT = 24
"""ip(7): the port is chosen when the other end is known. Python before 3.12 has no name for it."""
HOSTS = itertools.cycle(f"127.0.{net}.{host}" for net in range(1, 17) for host in range(1, 65))
"""Where connections come from."""

PRPC = struct.Struct(">4sII")
HULU = struct.Struct("<4sII")
SOFA = struct.Struct("<4sIQQ")
INDEXED = struct.Struct("<IIH")
COMPRESSION = {
    "baidu_std": {SNAPPY: 1, GZIP: 2, ZLIB: 3},
    "hulu_pbrpc": {SNAPPY: 1, GZIP: 2, ZLIB: 3},
    "sofa_pbrpc": {GZIP: 1, ZLIB: 2, SNAPPY: 3},
}


def varint(number: int) -> bytes:
    """Encode a number."""
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: int | bytes | str) -> bytes:
    """Encode a field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data: bytes) -> dict[int, Any]:
    """Decode a message without nested ones: the last value of each field."""
    found: dict[int, Any] = {}
    at, end = 0, len(data)
    while at < end:
        key, at = _number(data, at)
        value, at = _number(data, at)
        if key & 7:
            found[key >> 3] = data[at : at + value]
            at += value
        else:
            found[key >> 3] = value
    return found


def _number(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7


@dataclass(frozen=True)
class Answer:
    """What came back. The code is brpc's number, 0 for success."""

    id: int
    code: int
    body: bytes


class Wire:
    """One of brpc's protocols; baidu_std by itself."""

    name = "baidu_std"
    magic = b"PRPC"
    head_size = PRPC.size

    def head(self, meta: int, rest: int) -> bytes:
        return PRPC.pack(self.magic, meta + rest, meta)

    def sizes(self, head: bytes) -> tuple[int, int]:
        """Return the size of the meta and of what comes after it."""
        _, both, meta = PRPC.unpack(head)
        return meta, both - meta

    def meta(self, cid: int, method: str, service: str, timeout_ms: int) -> bytes:
        named = field(1, service) + field(2, method)
        if timeout_ms:
            named += field(8, timeout_ms)
        return field(1, named) + field(4, cid)

    def packed(self, how: str) -> bytes:
        """Return the field of the meta that names a compression."""
        return field(3, COMPRESSION[self.name][how])

    def call(
        self,
        cid: int,
        body: bytes = b"",
        method: str = ECHO,
        *,
        service: str = SERVICE,
        more: bytes = b"",
        timeout_ms: int = 0,
    ) -> bytes:
        """Make a call; `more` are further fields of its meta."""
        meta = self.meta(cid, method, service, timeout_ms) + more
        return self.head(len(meta), len(body)) + meta + body

    def answer_of(self, meta: bytes, rest: bytes) -> Answer:
        known = fields(meta)
        code = fields(known.get(2, b"")).get(1, 0)
        return Answer(known.get(4, 0), code, rest)

    def cut(self, data: bytes, at: int) -> tuple[Answer | None, int]:
        """Take a whole answer off `data` from `at` on; return where the next one begins."""
        start = at + self.head_size
        if len(data) < start:
            return None, at
        meta, rest = self.sizes(data[at:start])
        end = start + meta + rest
        if len(data) < end:
            return None, at
        return self.answer_of(data[start : start + meta], data[start + meta : end]), end


class HuluWire(Wire):
    name = "hulu_pbrpc"
    magic = b"HULU"

    def head(self, meta: int, rest: int) -> bytes:
        return HULU.pack(self.magic, meta + rest, meta)

    def sizes(self, head: bytes) -> tuple[int, int]:
        _, both, meta = HULU.unpack(head)
        return meta, both - meta

    def meta(self, cid: int, method: str, service: str, timeout_ms: int) -> bytes:
        place = METHODS.index(method) if method in METHODS else len(METHODS)
        return field(1, service.rpartition(".")[2]) + field(2, place) + field(4, cid)

    def answer_of(self, meta: bytes, rest: bytes) -> Answer:
        known = fields(meta)
        zigzag = known.get(3, 0)
        return Answer(zigzag >> 1 ^ -(zigzag & 1), known.get(1, 0), rest)


class SofaWire(Wire):
    name = "sofa_pbrpc"
    magic = b"SOFA"
    head_size = SOFA.size

    def head(self, meta: int, rest: int) -> bytes:
        return SOFA.pack(self.magic, meta, rest, meta + rest)

    def sizes(self, head: bytes) -> tuple[int, int]:
        _, meta, rest, _ = SOFA.unpack(head)
        return meta, rest

    def meta(self, cid: int, method: str, service: str, timeout_ms: int) -> bytes:
        return field(1, 0) + field(2, cid) + field(100, f"{service}.{method}")

    def packed(self, how: str) -> bytes:
        return field(300, COMPRESSION[self.name][how])

    def answer_of(self, meta: bytes, rest: bytes) -> Answer:
        known = fields(meta)
        return Answer(known.get(2, 0), known.get(201, 0), rest)


class IndexedWire(Wire):
    """Length, id of four bytes, index; answers have no index."""

    name = "indexed"
    magic = b""
    head_size = 8

    def call(
        self,
        cid: int,
        body: bytes = b"",
        method: str = ECHO,
        *,
        service: str = SERVICE,
        more: bytes = b"",
        timeout_ms: int = 0,
    ) -> bytes:
        return INDEXED.pack(6 + len(body), cid, METHODS.index(method)) + body

    def cut(self, data: bytes, at: int) -> tuple[Answer | None, int]:
        start = at + 8
        if len(data) < start:
            return None, at
        size, cid = struct.unpack_from("<II", data, at)
        end = at + 4 + size
        if len(data) < end:
            return None, at
        return Answer(cid, 0, data[start:end]), end


BAIDU, HULU_WIRE, SOFA_WIRE, INDEXED_WIRE = Wire(), HuluWire(), SofaWire(), IndexedWire()
BRPC = (BAIDU, HULU_WIRE, SOFA_WIRE)
WIRES = (*BRPC, INDEXED_WIRE)


def connect(address: str, seconds: float = 10.0) -> socket.socket:
    """Connect, as if from another host each time; nothing is waited for longer than that.

    One address has 28,000 ports, and a port rests for a second or longer. Whoever connects 20,000
    times a second from one address has the kernel look for a free one, for milliseconds and in
    place of all else on that CPU, the honest client included.
    """
    host, _, port = address.rpartition(":")
    sock = socket.socket()
    try:
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((next(HOSTS), 0))
        sock.connect((host, int(port)))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        sock.close()
        raise
    return sock


def read(sock: socket.socket, wire: Wire = BAIDU) -> Answer:
    """Read one answer; there must be no other one.

    Raises:
        ConnectionError: the server closed the connection.
    """
    data = b""
    while True:
        chunk = sock.recv(65536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        data += chunk
        answer, _ = wire.cut(data, 0)
        if answer is not None:
            return answer
