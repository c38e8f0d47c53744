"""Frames of baidu_std, hulu_pbrpc and sofa_pbrpc by hand, and a server made of a script.

Written from the description of the wire and from nothing of callmethod's, down to the varints: what
callmethod and this file agree on is what both read there.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NUMBERS = "callmethod.testing.Numbers"
PUSH, TWICE, FAIL, LEFT_OUT, BLOB = METHODS = ["push", "twice", "fail", "left_out", "blob"]

# ---------------------------------------------------------------- protobuf


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def field(number: int, value: int | bytes | str) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields(data: bytes) -> dict[int, list[Any]]:
    """What a message holds, by number: unsigned integers and bytes."""
    out: dict[int, list[Any]] = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        kind = key & 7
        if kind == 0:
            value: Any = number()
        else:
            size = {1: 8, 5: 4}.get(kind) or number()
            value = data[at : at + size]
            assert len(value) == size
            at += size
        out.setdefault(key >> 3, []).append(value)
    return out


def signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def number(value: int, note: str | bytes = b"") -> bytes:
    """A message `Number`."""
    return field(1, value) + (field(2, note) if note else b"")


def value_of(body: bytes) -> int:
    return signed(fields(body)[1][0])


# ---------------------------------------------------------------- frames


class Request(NamedTuple):
    id: int
    service: str
    method: str
    body: bytes
    attachment: bytes
    meta: dict[int, list[Any]]


class Answer(NamedTuple):
    id: int | None
    code: int
    text: str
    body: bytes
    attachment: bytes
    meta: dict[int, list[Any]]


class Prpc:
    protocol: ClassVar[type] = callmethod.BaiduStd
    name: ClassVar[str] = "baidu_std"
    magic: ClassVar[bytes] = b"PRPC"
    head_size: ClassVar[int] = 12
    compression: ClassVar[dict[str, int]] = {"none": 0, "snappy": 1, "gzip": 2, "zlib": 3, "lz4": 4}
    compress_field: ClassVar[int] = 3

    @staticmethod
    def head(meta: int, rest: int) -> bytes:
        return struct.pack(">4sII", b"PRPC", meta + rest, meta)

    @classmethod
    def frame(cls, meta: bytes, rest: bytes = b"") -> bytes:
        return cls.head(len(meta), len(rest)) + meta + rest

    @staticmethod
    def rest_size(head: bytes) -> int:
        return int(struct.unpack(">4xI4x", head)[0])

    @staticmethod
    def meta_size(head: bytes) -> int:
        return int(struct.unpack(">8xI", head)[0])

    @staticmethod
    def named(service: str | bytes, method: str | bytes, more: bytes = b"") -> bytes:
        """The `request` of the meta."""
        return field(1, field(1, service) + field(2, method) + more)

    @classmethod
    def call(
        cls,
        cid: int,
        body: bytes,
        method: str = TWICE,
        *,
        service: str = NUMBERS,
        more: bytes = b"",
        attachment: bytes = b"",
    ) -> bytes:
        meta = cls.named(service, method) + field(4, cid)
        if attachment:
            meta += field(5, len(attachment))
        return cls.frame(meta + more, body + attachment)

    @classmethod
    def answer(cls, cid: int, body: bytes = b"", code: int = 0, text: str | bytes = b"") -> bytes:
        response = field(1, code) + (field(2, text) if text else b"")
        return cls.frame(field(2, response) + field(4, cid), body)

    @classmethod
    def read_call(cls, meta: bytes, rest: bytes) -> Request:
        m = fields(meta)
        request = fields(m[1][0])
        end = len(rest) - m.get(5, [0])[0]
        service, method = request[1][0].decode(), request[2][0].decode()
        return Request(signed(m[4][0]), service, method, rest[:end], rest[end:], m)

    @classmethod
    def read_answer(cls, meta: bytes, rest: bytes) -> Answer:
        m = fields(meta)
        response = fields(m.get(2, [b""])[0])
        end = len(rest) - m.get(5, [0])[0]
        text = response.get(2, [b""])[0].decode()
        code = signed(response.get(1, [0])[0])
        cid = signed(m[4][0]) if 4 in m else None
        return Answer(cid, code, text, rest[:end], rest[end:], m)


class HuluWire(Prpc):
    protocol = callmethod.Hulu
    name = "hulu_pbrpc"
    magic = b"HULU"

    @staticmethod
    def head(meta: int, rest: int) -> bytes:
        return struct.pack("<4sII", b"HULU", meta + rest, meta)

    @staticmethod
    def rest_size(head: bytes) -> int:
        return int(struct.unpack("<4xI4x", head)[0])

    @staticmethod
    def meta_size(head: bytes) -> int:
        return int(struct.unpack("<8xI", head)[0])

    @classmethod
    def call(
        cls,
        cid: int,
        body: bytes,
        method: str = TWICE,
        *,
        service: str = NUMBERS,
        more: bytes = b"",
        attachment: bytes = b"",
    ) -> bytes:
        index = METHODS.index(method) if method in METHODS else len(METHODS)
        meta = field(1, service.rpartition(".")[2]) + field(2, index) + field(4, cid)
        if attachment:
            meta += field(12, len(body))
        return cls.frame(meta + more, body + attachment)

    @classmethod
    def answer(cls, cid: int, body: bytes = b"", code: int = 0, text: str | bytes = b"") -> bytes:
        zigzag = cid << 1 if cid >= 0 else ~(cid << 1)
        meta = field(1, code) + (field(2, text) if text else b"") + field(3, zigzag)
        return cls.frame(meta, body)

    @classmethod
    def read_call(cls, meta: bytes, rest: bytes) -> Request:
        m = fields(meta)
        end = m.get(12, [len(rest)])[0]
        service, method = m[1][0].decode(), METHODS[m[2][0]]
        return Request(signed(m[4][0]), service, method, rest[:end], rest[end:], m)

    @classmethod
    def read_answer(cls, meta: bytes, rest: bytes) -> Answer:
        m = fields(meta)
        end = m.get(8, [len(rest)])[0]
        zigzag = m.get(3, [0])[0]
        cid = zigzag >> 1 ^ -(zigzag & 1) if 3 in m else None
        code, text = signed(m.get(1, [0])[0]), m.get(2, [b""])[0].decode()
        return Answer(cid, code, text, rest[:end], rest[end:], m)


class SofaWire(Prpc):
    protocol = callmethod.Sofa
    name = "sofa_pbrpc"
    magic = b"SOFA"
    head_size = 24
    compression: ClassVar[dict[str, int]] = {"none": 0, "gzip": 1, "zlib": 2, "snappy": 3, "lz4": 4}
    compress_field = 300

    @staticmethod
    def head(meta: int, rest: int) -> bytes:
        return struct.pack("<4sIQQ", b"SOFA", meta, rest, meta + rest)

    @staticmethod
    def rest_size(head: bytes) -> int:
        return int(struct.unpack("<16xQ", head)[0])

    @staticmethod
    def meta_size(head: bytes) -> int:
        return int(struct.unpack("<4xI16x", head)[0])

    @classmethod
    def call(
        cls,
        cid: int,
        body: bytes,
        method: str = TWICE,
        *,
        service: str = NUMBERS,
        more: bytes = b"",
        attachment: bytes = b"",
    ) -> bytes:
        assert not attachment
        meta = field(1, 0) + field(2, cid) + field(100, f"{service}.{method}")
        return cls.frame(meta + more, body)

    @classmethod
    def answer(cls, cid: int, body: bytes = b"", code: int = 0, text: str | bytes = b"") -> bytes:
        meta = field(1, 1) + field(2, cid) + field(200, int(code != 0)) + field(201, code)
        return cls.frame(meta + (field(202, text) if text else b""), body)

    @classmethod
    def read_call(cls, meta: bytes, rest: bytes) -> Request:
        m = fields(meta)
        assert m[1] == [0]
        service, _, method = m[100][0].decode().rpartition(".")
        return Request(m[2][0], service, method, rest, b"", m)

    @classmethod
    def read_answer(cls, meta: bytes, rest: bytes) -> Answer:
        m = fields(meta)
        assert m[1] == [1]
        code = signed(m.get(201, [0])[0])
        assert bool(m.get(200, [0])[0]) == (code != 0)
        return Answer(m[2][0], code, m.get(202, [b""])[0].decode(), rest, b"", m)


PRPC, HULU, SOFA = Prpc(), HuluWire(), SofaWire()
WIRES = [PRPC, HULU, SOFA]


def wire_id(wire: Prpc) -> str:
    return wire.name


# ---------------------------------------------------------------- sockets


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """So many bytes; fewer at the end of the stream."""
    data = bytearray()
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return bytes(data)


def read_frame(sock: socket.socket, wire: Prpc) -> tuple[bytes, bytes] | None:
    """The meta of a frame and what comes after it; None at the end of the stream."""
    head = read_exactly(sock, wire.head_size)
    if not head:
        return None
    assert len(head) == wire.head_size, "the stream ended inside a header"
    assert head[:4] == wire.magic
    rest = read_exactly(sock, wire.rest_size(head))
    assert len(rest) == wire.rest_size(head), "the stream ended inside a frame"
    return rest[: wire.meta_size(head)], rest[wire.meta_size(head) :]


def read_call(sock: socket.socket, wire: Prpc = PRPC) -> Request | None:
    parts = read_frame(sock, wire)
    return parts and wire.read_call(*parts)


def read_answer(sock: socket.socket, wire: Prpc = PRPC) -> Answer | None:
    parts = read_frame(sock, wire)
    return parts and wire.read_answer(*parts)


def ends(sock: socket.socket) -> bool:
    """Whether the other end closes the connection, having sent nothing."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:  # it closed with bytes of ours unread
        return True


def is_quiet(sock: socket.socket, seconds: float = 0.2) -> bool:
    """Whether the other end neither sends nor closes for so long."""
    timeout = sock.gettimeout()
    sock.settimeout(seconds)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(timeout)
    return False


def rss() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def counted(counters: dict[str, int]) -> dict[str, int]:
    """The counters that are not zero."""
    return {name: value for name, value in counters.items() if value}


class FakeServer:
    """Accepts connections and runs `script(sock, n)` on each, n counting from 0.

    A connection is closed when its script is done, whatever it raised; what it raised, other than a
    broken connection, is raised again at the end.
    """

    def __init__(self, script: Callable[[socket.socket, int], object]) -> None:
        self.script = script
        self.accepted = 0
        self.accepted_at: list[float] = []
        self.errors: list[BaseException] = []
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(10.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sockets.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self.accepted), daemon=True)
            self.accepted += 1
            self.accepted_at.append(time.monotonic())
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket, n: int) -> None:
        with sock:
            try:
                self.script(sock, n)
            except (ConnectionError, TimeoutError):
                pass
            except BaseException as error:
                self.errors.append(error)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5.0)


@contextlib.contextmanager
def fake_server(script: Callable[[socket.socket, int], object]) -> Iterator[FakeServer]:
    server = FakeServer(script)
    try:
        yield server
    finally:
        server.close()
    for error in server.errors:
        raise error
