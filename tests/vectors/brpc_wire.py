"""What make_brpc.py is made of: varints, the fields of the metas, headers, compressed forms, rows.

Independent of callmethod and of every protobuf library: nothing but `struct`, varints made by hand
and the field numbers of proto/*.proto.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

LIMIT = 4 * 1024 * 1024  # bytes after the header
META_LIMIT = 256 * 1024  # bytes of the meta

# Fields of the metas: name -> (number, kind); a kind that is a table is a message.
REQUEST = {
    "service_name": (1, "text"),
    "method_name": (2, "text"),
    "log_id": (3, "int"),
    "trace_id": (4, "int"),
    "span_id": (5, "int"),
    "parent_span_id": (6, "int"),
    "request_id": (7, "text"),
    "timeout_ms": (8, "int"),
}
RESPONSE = {"error_code": (1, "int"), "error_text": (2, "text")}
CHUNK = {"stream_id": (1, "int"), "chunk_id": (2, "int")}
METAS: dict[tuple[str, str], dict[str, tuple[int, Any]]] = {
    ("hulu_pbrpc", "client"): {
        "service_name": (1, "text"),
        "method_index": (2, "int"),
        "compress_type": (3, "int"),
        "correlation_id": (4, "int"),
        "log_id": (5, "int"),
        "chuck_info": (6, CHUNK),
        "trace_id": (7, "int"),
        "parent_span_id": (8, "int"),
        "span_id": (9, "int"),
        "request_talk_type": (10, "int"),
        "user_data": (11, "text"),
        "user_message_size": (12, "int"),
        "method_name": (14, "text"),
        "credential_data": (15, "text"),
    },
    ("hulu_pbrpc", "server"): {
        "error_code": (1, "int"),
        "error_text": (2, "text"),
        "correlation_id": (3, "zigzag"),
        "compress_type": (4, "int"),
        "user_message_size": (8, "int"),
    },
}
METAS["baidu_std", "client"] = METAS["baidu_std", "server"] = {
    "request": (1, REQUEST),
    "response": (2, RESPONSE),
    "compress_type": (3, "int"),
    "correlation_id": (4, "int"),
    "attachment_size": (5, "int"),
    "chunk_info": (6, CHUNK),
    "authentication_data": (7, "text"),
    "user_fields": (9, "map"),
    "content_type": (10, "int"),
    "checksum_type": (11, "int"),
    "checksum_value": (12, "text"),
    "checksum_with_attachment": (13, "int"),
}
METAS["sofa_pbrpc", "client"] = METAS["sofa_pbrpc", "server"] = {
    "type": (1, "int"),
    "sequence_id": (2, "int"),
    "method": (100, "text"),
    "failed": (200, "int"),
    "error_code": (201, "int"),
    "reason": (202, "text"),
    "compress_type": (300, "int"),
    "expected_response_compress_type": (301, "int"),
}


def varint(number: int) -> bytes:
    """A number in groups of seven bits; a negative one as its 64 bits."""
    number %= 2**64
    groups = b""
    while number >= 0x80:
        groups += bytes([number & 0x7F | 0x80])
        number >>= 7
    return groups + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    """One field: a number, or bytes after their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def message(table: dict[str, tuple[int, Any]], meta: dict[str, Any]) -> bytes:
    """The fields of a message in the order of their numbers."""
    found = b""
    for name, (number, kind) in sorted(table.items(), key=lambda item: item[1][0]):
        if f"{name}_hex" in meta:
            found += field(number, bytes.fromhex(meta[f"{name}_hex"]))
        elif name not in meta:
            continue
        elif isinstance(kind, dict):
            found += field(number, message(kind, meta[name]))
        elif kind == "map":
            pairs = [(key.encode(), value.encode()) for key, value in meta[name]]
            found += b"".join(field(number, field(1, key) + field(2, text)) for key, text in pairs)
        elif kind == "text":
            found += field(number, meta[name].encode())
        elif kind == "zigzag":
            found += field(number, meta[name] * 2 if meta[name] >= 0 else -meta[name] * 2 - 1)
        else:
            found += field(number, int(meta[name]))
    return found


def header(protocol: str, meta: int, rest: int) -> bytes:
    """What stands before `meta` bytes of meta and `rest` bytes after it."""
    if protocol == "sofa_pbrpc":
        return b"SOFA" + struct.pack("<IQQ", meta, rest, meta + rest)
    if protocol == "hulu_pbrpc":
        return b"HULU" + struct.pack("<II", meta + rest, meta)
    return b"PRPC" + struct.pack(">II", meta + rest, meta)


def frame(protocol: str, meta: bytes, rest: bytes = b"") -> bytes:
    """A frame of a meta and what follows it."""
    return header(protocol, len(meta), len(rest)) + meta + rest


def stored(data: bytes) -> bytes:
    """A deflate stream of one block that is not compressed; the same from every zlib."""
    return b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data


def packed(kind: str, data: bytes) -> bytes:
    """The message compressed, in the simplest form that a reader must understand."""
    return {
        "snappy": varint(len(data)) + bytes([len(data) - 1 << 2]) + data,
        "gzip": b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        + stored(data)
        + struct.pack("<II", zlib.crc32(data), len(data)),
        "zlib": b"\x78\x01" + stored(data) + struct.pack(">I", zlib.adler32(data)),
    }[kind]


def crc32c(data: bytes) -> str:
    """CRC-32C bit by bit, masked, big endian."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    masked = (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF
    return struct.pack(">I", masked).hex()


class Rows:
    """The rows of one file."""

    def __init__(self, protocol: str) -> None:
        self.protocol = protocol
        self.frames: list[dict[str, Any]] = []
        self.bad: list[dict[str, str]] = []

    def add(
        self,
        sender: str,
        meta: dict[str, Any],
        body: bytes = b"",
        attachment: bytes = b"",
        *,
        wire: bytes | None = None,
        more: bytes = b"",
        sent: bool = False,
        fault: str | None = None,
    ) -> None:
        """A frame whose meta ends with `more`; `wire` is the body where that is compressed."""
        written = message(METAS[self.protocol, sender], meta) + more
        rest = (body if wire is None else wire) + attachment
        row = {
            "from": sender,
            "hex": frame(self.protocol, written, rest).hex(),
            "meta": meta,
            "body_hex": body.hex(),
            "attachment_hex": attachment.hex(),
            "sent": sent,
        }
        self.frames.append(row | ({"fault": fault} if fault else {}))

    def refuse(self, sender: str, reason: str, *streams: bytes) -> None:
        """Streams that a receiver refuses, or that end inside a frame."""
        self.bad += [{"from": sender, "hex": stream.hex(), "reason": reason} for stream in streams]
