"""Frames of baidu_std made and read by hand, from the protocol page and from none of our code."""

import gzip
import zlib

NUMBERS = b"callmethod.testing.Numbers"
USER_FIELDS = 9
SNAPPY, GZIP, ZLIB = 1, 2, 3


def varint(value):
    data = b""
    while value > 127:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def field(number, value):
    if isinstance(value, bytes):
        return varint(number << 3 | 2) + varint(len(value)) + value
    return varint(number << 3) + varint(value)


def frame(meta, data=b""):
    sizes = (len(meta) + len(data)).to_bytes(4, "big") + len(meta).to_bytes(4, "big")
    return b"PRPC" + sizes + meta + data


def request(method, data, *, compress=0, call_id=7, timeout_ms=None, more=b""):
    named = field(1, NUMBERS) + field(2, method.encode())
    if timeout_ms is not None:
        named += field(8, timeout_ms)
    meta = field(1, named) + field(3, compress) + field(4, call_id) + more
    return frame(meta, data)


def response(call_id, data, *, compress=0, code=0, text="", more=b""):
    told = field(1, code) + (field(2, text.encode()) if text else b"")
    meta = field(2, told) + field(3, compress) + field(4, call_id) + more
    return frame(meta, data)


def fields(data, repeated=()):
    """A message as {number: last value}, or all the values of a repeated one."""
    found, at = {}, 0

    def number():
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
        tag = number()
        value = number()
        if tag & 7:
            assert tag & 7 == 2, "no other kinds in these metas"
            at += value
            value = data[at - value : at]
        if tag >> 3 in repeated:
            found.setdefault(tag >> 3, []).append(value)
        else:
            found[tag >> 3] = value
    return found


def read(sock):
    """The next frame as (fields of its meta, what follows the meta); None at the end."""
    head = read_exactly(sock, 12)
    if not head:
        return None
    assert head[:4] == b"PRPC"
    body = read_exactly(sock, int.from_bytes(head[4:8], "big"))
    split = int.from_bytes(head[8:], "big")
    return fields(body[:split], repeated=[USER_FIELDS]), body[split:]


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            break
        data += chunk
    return data


def crc32c_masked(data):
    """The checksum as the wire has it: masked, big endian."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17 & 0xFFFFFFFF) + 0xA282EAD8 & 0xFFFFFFFF).to_bytes(4, "big")


def snappy_zeros(size):
    """`size` zero bytes, as small as snappy can say it: a byte, and copies of 64 of it."""
    copies, rest = divmod(size - 1, 64)
    data = varint(size) + b"\x00\x00" + b"\xfe\x01\x00" * copies
    return data + bytes([(rest - 1) << 2 | 2, 1, 0]) if rest else data


def zeros_field(kind, size):
    """The compressed message `Blob(data=size zeros)`.

    For snappy the zeros are an unknown field's, whose head would not be zeros: garbage, but large.
    """
    head = varint(1 << 3 | 2) + varint(size)
    if kind == SNAPPY:
        return snappy_zeros(size)
    packer = zlib.compressobj(9, zlib.DEFLATED, 31 if kind == GZIP else 15)
    data = packer.compress(head)
    chunk = bytes(1 << 20)
    for _ in range(size >> 20):
        data += packer.compress(chunk)
    return data + packer.compress(bytes(size & (1 << 20) - 1)) + packer.flush()


def inflate(kind, data):
    return gzip.decompress(data) if kind == GZIP else zlib.decompress(data)
