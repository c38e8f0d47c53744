"""As much of baidu_std as a probe needs: one call with a deadline, and how it ended."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

HEADER = struct.Struct(">4sII")
PAYLOAD = b"\x0a\x10" + b"x" * 16


@dataclass(frozen=True)
class Ended:
    """How a call ended, and when."""

    code: int
    seconds: float


class Probe:
    """One connection, one call at a time."""

    def __init__(self, address: str, timeout: float = 10.0) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), timeout=timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._id = 0
        self._sent = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, method: str, timeout_ms: int = 0) -> None:
        """Send a call."""
        self._id += 1
        request = text(1, "bench.Echo") + text(2, method)
        if timeout_ms:
            request += b"\x40" + varint(timeout_ms)
        meta = b"\x0a" + varint(len(request)) + request + b"\x20" + varint(self._id)
        frame = HEADER.pack(b"PRPC", len(meta) + len(PAYLOAD), len(meta)) + meta + PAYLOAD
        self._sent = time.perf_counter()
        self._socket.sendall(frame)

    def wait(self) -> Ended:
        """Wait for the answer to the last call."""
        magic, size, meta_size = HEADER.unpack(self._read(HEADER.size))
        seconds = time.perf_counter() - self._sent
        body = self._read(size)
        meta = fields(body[:meta_size])
        if magic != b"PRPC" or meta.get(4) != self._id:
            raise ValueError(f"no answer to call {self._id}: {meta}")
        response = meta.get(2, b"")
        code = fields(response).get(1, 0) if isinstance(response, bytes) else -1
        return Ended(code if isinstance(code, int) else -1, seconds)

    def call(self, method: str, timeout_ms: int = 0) -> Ended:
        """Send a call and wait for its answer."""
        self.send(method, timeout_ms)
        return self.wait()

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self._socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the server closed the connection")
            data += piece
        return data


def text(number: int, value: str) -> bytes:
    """Encode a string field."""
    return bytes([number << 3 | 2]) + varint(len(value)) + value.encode()


def varint(number: int) -> bytes:
    """Encode a number."""
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def fields(data: bytes) -> dict[int, int | bytes]:
    """Decode numbers and byte strings of a message; there are no others in a meta."""
    found: dict[int, int | bytes] = {}
    while data:
        key, data = cut_varint(data)
        number, data = cut_varint(data)
        if key & 7 == 2:
            found[key >> 3], data = data[:number], data[number:]
        else:
            found[key >> 3] = number
    return found


def cut_varint(data: bytes) -> tuple[int, bytes]:
    """Cut a number off the front."""
    number = 0
    for place, byte in enumerate(data):
        number |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return number, data[place + 1 :]
    raise ValueError("a number without an end")
