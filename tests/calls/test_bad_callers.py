"""What a server does about a bad caller, one test a row, over real sockets.

Every row runs beside a neighbour: another connection to the same server with a call in progress,
which is answered afterwards. Rows that close the connection are counted in `rejected_total` and
`disconnects_total`; rows that are answered keep it.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import random
import socket
import struct
import sys
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from testing_pb2 import Blob, Number, Numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import callmethod

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, HULU, SOFA, WIRES = wire.PRPC, wire.HULU, wire.SOFA, wire.WIRES
field, number = wire.field, wire.number

LIMIT = 4 * 1024 * 1024


class Service(Numbers):
    """`twice` doubles; `push` is held until the gate opens; `blob` answers with 64 KiB."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.held = threading.Semaphore(0)
        self.values: list[int] = []
        self.extras: list[Any] = []
        self.reasons: list[callmethod.Disconnect] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.held.release()
        assert self.gate.wait(20)
        done(request)

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.values.append(request.value)
        self.extras.append((dict(rpc_controller.metadata), rpc_controller.request_attachment))
        done(Number(value=2 * request.value))

    def blob(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Blob(data=b"b" * 65536))

    def on_disconnected(self, channel: Any, reason: callmethod.Disconnect) -> None:
        self.reasons.append(reason)


class Bench:
    """A server, a connection to misbehave on, and a neighbour with a call in progress."""

    def __init__(self, server: Any, service: Service, connect: Callable[[], Any], kind: Any):
        self.server, self.service, self.connect, self.wire = server, service, connect, kind
        self.neighbour = connect()
        self.neighbour.sendall(kind.call(77, number(7), wire.PUSH))
        assert service.held.acquire(timeout=5)
        self.sock = connect()

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def answer(self) -> Any:
        return wire.read_answer(self.sock, self.wire)

    def works(self, value: int = 21) -> None:
        """The connection is still good."""
        self.send(self.wire.call(99, number(value)))
        answer = self.answer()
        assert answer is not None
        assert (answer.id, answer.code, wire.value_of(answer.body)) == (99, 0, 2 * value)

    def refused(self, code: int, cid: int = 5) -> Any:
        """An answer with this error and nothing beside it came; the connection is still good."""
        answer = self.answer()
        assert answer is not None
        assert (answer.id, answer.code) == (cid, code)
        assert answer.text
        assert answer.body == answer.attachment == b""
        self.works()
        return answer

    def rejected(self) -> dict[str, int]:
        return wire.counted(self.server.stats()["rejected_total"])

    def closed(self, reason: str, wait_until: Callable[..., Any]) -> None:
        """The connection ends, for this reason and with nothing sent."""
        assert wire.ends(self.sock)
        wait_until(lambda: wire.counted(self.server.stats()["disconnects_total"]) == {reason: 1})
        assert self.rejected() == {reason: 1}

    def finish(self) -> None:
        other = self.connect()
        other.sendall(self.wire.call(1, number(1)))
        assert wire.read_answer(other, self.wire).code == 0
        self.service.gate.set()
        answer = wire.read_answer(self.neighbour, self.wire)
        assert (answer.id, answer.code, wire.value_of(answer.body)) == (77, 0, 7)
        assert self.server.stats()["panics_total"] == 0


@pytest.fixture
def make_bench(
    server_factory: Callable[..., callmethod.Server], raw_socket: Callable[[str], socket.socket]
) -> Iterator[Callable[..., Bench]]:
    benches: list[Bench] = []

    def make(kind: Any, **options: Any) -> Bench:
        service = Service()
        protocols = [w.protocol(**options) for w in WIRES]
        server = server_factory(service, protocols=protocols)
        bench = Bench(server, service, lambda: raw_socket(server.address), kind)
        benches.append(bench)
        return bench

    yield make
    for bench in benches:
        bench.service.gate.set()
    for bench in benches:
        bench.finish()


@pytest.fixture(params=WIRES, ids=wire.wire_id)
def bench(request: pytest.FixtureRequest, make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(request.param)


@pytest.fixture
def prpc(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(PRPC)


@pytest.fixture
def hulu(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(HULU)


@pytest.fixture
def sofa(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench(SOFA)


# ---------------------------------------------------------------- the header


@pytest.mark.parametrize(
    "junk", [b"XRPC", b"PRPX", b"prpc", b"\0\0\0\0", b"GET / HTTP/1.1\r\n\r\n"]
)
def test_bad_magic_alone(prpc: Bench, wait_until: Callable[..., Any], junk: bytes) -> None:
    prpc.send(junk)
    prpc.closed("unknown_protocol", wait_until)


@pytest.mark.parametrize("junk", [b"XRPC", b"PRPX" + bytes(8), b"\0" * 24])
def test_bad_magic_after_good_frames(
    bench: Bench, wait_until: Callable[..., Any], junk: bytes
) -> None:
    bench.works()
    bench.send(junk + bytes(24 - len(junk)))
    bench.closed("bad_magic", wait_until)


@pytest.mark.parametrize("other", WIRES, ids=wire.wire_id)
def test_another_protocol_after_good_frames_is_bad_magic(
    bench: Bench, wait_until: Callable[..., Any], other: Any
) -> None:
    bench.works()
    if other is bench.wire:
        return
    bench.send(other.call(1, number(1)))
    bench.closed("bad_magic", wait_until)


def test_a_frame_over_the_limit_closes_as_soon_as_the_header_is_in(
    bench: Bench, wait_until: Callable[..., Any]
) -> None:
    bench.works()
    bench.send(bench.wire.head(40, LIMIT - 40 + 1))
    bench.closed("length_above_limit", wait_until)


@pytest.mark.parametrize("size", [2**31 - 1, 2**31, 2**32 - 1])
def test_the_largest_sizes_of_a_first_frame_close(
    bench: Bench, wait_until: Callable[..., Any], size: int
) -> None:
    before = wire.rss()
    bench.send(bench.wire.head(0, size))
    bench.closed("length_above_limit", wait_until)
    assert wire.rss() - before < 64 << 20


@pytest.mark.parametrize("size", [2**31, 2**32 - 1])
def test_the_largest_meta_sizes_close(
    bench: Bench, wait_until: Callable[..., Any], size: int
) -> None:
    if bench.wire is SOFA:
        bench.send(bench.wire.head(size, 0))
        bench.closed("length_above_limit", wait_until)
    else:  # with a frame that would fit
        order = ">" if bench.wire is PRPC else "<"
        bench.send(bench.wire.magic + struct.pack(f"{order}II", 100, size))
        assert wire.ends(bench.sock)
        wait_until(lambda: sum(bench.server.stats()["disconnects_total"].values()) == 1)
        assert bench.rejected() in ({"bad_sizes": 1}, {"length_above_limit": 1})


def test_exactly_the_limit_waits_for_the_rest_and_is_answered(bench: Bench) -> None:
    small = bench.wire.call(5, number(4))
    meta_size = bench.wire.meta_size(small[: bench.wire.head_size])
    room = LIMIT - meta_size - len(number(4)) - 5  # the note's own head
    frame = bench.wire.call(5, number(4, b"n" * room))
    assert len(frame) - bench.wire.head_size == LIMIT
    head = bench.wire.head_size
    bench.send(frame[:head])
    assert wire.is_quiet(bench.sock)
    bench.send(frame[head:])
    answer = bench.answer()
    assert (answer.id, answer.code, wire.value_of(answer.body)) == (5, 0, 8)
    assert bench.rejected() == {}


@pytest.mark.parametrize(("over", "refused"), [(-1, False), (0, False), (1, True)])
def test_a_limit_of_ones_own(
    make_bench: Callable[..., Bench],
    wait_until: Callable[..., Any],
    over: int,
    refused: bool,
) -> None:
    bench = make_bench(PRPC, max_length=200)
    meta = PRPC.meta_size(PRPC.call(5, b"")[:12])
    frame = PRPC.call(5, number(4, b"n" * (200 - meta - 5 + over)))  # 5: value, the note's head
    assert len(frame) == 12 + 200 + over
    bench.send(frame)
    if refused:
        bench.closed("length_above_limit", wait_until)
    else:
        assert bench.answer().code == 0


def test_meta_size_over_body_size_closes(bench: Bench, wait_until: Callable[..., Any]) -> None:
    # brpc swallows such a frame, and then waits for ever.
    bench.works()
    if bench.wire is SOFA:  # its sizes are told apart: the sum is what can be wrong
        head = b"SOFA" + struct.pack("<IQQ", 30, 10, 39)
    else:
        order = ">" if bench.wire is PRPC else "<"
        head = bench.wire.magic + struct.pack(f"{order}II", 20, 21)
    bench.send(head, bytes(20))
    bench.closed("bad_sizes", wait_until)


@pytest.mark.parametrize("message_size", [0, 39, 41, 2**64 - 1])
def test_sofas_third_size_has_to_be_the_sum(
    sofa: Bench, wait_until: Callable[..., Any], message_size: int
) -> None:
    sofa.send(b"SOFA" + struct.pack("<IQQ", 30, 10, message_size))
    assert wire.ends(sofa.sock)
    wait_until(lambda: sofa.server.stats()["connections"] == 1)
    assert sofa.rejected().keys() <= {"bad_sizes", "length_above_limit"}


@pytest.mark.parametrize("body_size", [2**63, 2**64 - 30, 2**64 - 1])
def test_sofas_sizes_do_not_wrap(
    sofa: Bench, wait_until: Callable[..., Any], body_size: int
) -> None:
    total = (30 + body_size) % 2**64
    sofa.send(b"SOFA" + struct.pack("<IQQ", 30, body_size, total))
    assert wire.ends(sofa.sock)
    wait_until(lambda: sofa.server.stats()["connections"] == 1)
    assert sofa.rejected().keys() <= {"bad_sizes", "length_above_limit"}


# ---------------------------------------------------------------- the meta

BAD_METAS = {
    "prpc garbage": (PRPC, b"\xff\xff\xff"),
    "prpc cut short": (PRPC, (PRPC.named(wire.NUMBERS, "twice") + field(4, 2**40))[:-1]),
    "prpc group that does not end": (PRPC, b"\x0b"),
    "prpc without service_name": (PRPC, field(1, field(2, "twice")) + field(4, 5)),
    "prpc without method_name": (PRPC, field(1, field(1, wire.NUMBERS)) + field(4, 5)),
    "prpc with an empty request": (PRPC, field(1, b"") + field(4, 5)),
    "hulu garbage": (HULU, b"\xff\xff\xff"),
    "hulu without service_name": (HULU, field(2, 1) + field(4, 5)),
    "hulu without method_index": (HULU, field(1, "Numbers") + field(4, 5)),
    "hulu empty": (HULU, b""),
    "sofa garbage": (SOFA, b"\xff\xff\xff"),
    "sofa without type": (SOFA, field(2, 5) + field(100, wire.NUMBERS + ".twice")),
    "sofa without sequence_id": (SOFA, field(1, 0) + field(100, wire.NUMBERS + ".twice")),
    "sofa with an unknown type": (SOFA, field(1, 7) + field(2, 5) + field(100, "a.b.c")),
    "sofa empty": (SOFA, b""),
}


@pytest.mark.parametrize(("kind", "meta"), BAD_METAS.values(), ids=BAD_METAS)
def test_a_bad_meta_closes(
    make_bench: Callable[..., Bench], wait_until: Callable[..., Any], kind: Any, meta: bytes
) -> None:
    bench = make_bench(kind)
    bench.works()
    bench.send(kind.frame(meta, number(1)))
    bench.closed("bad_meta", wait_until)
    assert bench.service.values == [21]


def test_calls_before_a_bad_meta_end_too(bench: Bench, wait_until: Callable[..., Any]) -> None:
    # Those that no worker had taken up yet do not run: nobody waits for them any more.
    calls = [bench.wire.call(i, number(i)) for i in range(3)]
    bench.send(*calls, bench.wire.frame(b"\xff\xff\xff"))
    with contextlib.suppress(ConnectionResetError):
        while bench.answer() is not None:
            pass
    wait_until(lambda: sum(bench.server.stats()["calls_total"].values()) == 3)
    assert bench.rejected() == {"bad_meta": 1}
    ran = bench.server.stats()["calls_total"].get("ok", 0)
    assert len(bench.service.values) >= ran


# ---------------------------------------------------------------- names

UNKNOWN = {
    "no request in the meta": (PRPC, field(4, 5), 1001),
    "an empty meta but for the id": (PRPC, field(4, 5) + field(3, 0), 1001),
    "only a response in the meta": (PRPC, field(2, field(1, 0)) + field(4, 5), 1001),
    "empty names": (PRPC, PRPC.named("", "") + field(4, 5), 1001),
    "empty service": (PRPC, PRPC.named("", "twice") + field(4, 5), 1001),
    "unknown bare service": (PRPC, PRPC.named("Nobody", "twice") + field(4, 5), 1001),
    "unknown dotted service": (PRPC, PRPC.named("a.Nobody", "twice") + field(4, 5), 1002),
    "the right package, an unknown service": (
        PRPC,
        PRPC.named("callmethod.testing.Nobody", "twice") + field(4, 5),
        1002,
    ),
    "unknown method": (PRPC, PRPC.named(wire.NUMBERS, "thrice") + field(4, 5), 1002),
    "unknown method by the bare name": (PRPC, PRPC.named("Numbers", "thrice") + field(4, 5), 1002),
    "empty method": (PRPC, PRPC.named(wire.NUMBERS, "") + field(4, 5), 1002),
    "method with the service's name": (
        PRPC,
        PRPC.named("callmethod.testing", "Numbers.twice") + field(4, 5),
        None,
    ),
    "method in another case": (PRPC, PRPC.named(wire.NUMBERS, "TWICE") + field(4, 5), 1002),
    "a name of 100 KiB": (PRPC, PRPC.named("S" * 100_000, "m") + field(4, 5), 1001),
    "left out": (PRPC, PRPC.named(wire.NUMBERS, "left_out") + field(4, 5), 1002),
    "hulu unknown service": (HULU, field(1, "Nobody") + field(2, 1) + field(4, 5), 1002),
    "hulu full name": (HULU, field(1, wire.NUMBERS) + field(2, 1) + field(4, 5), 1002),
    "hulu index one too many": (HULU, field(1, "Numbers") + field(2, 5) + field(4, 5), 1002),
    "hulu index -1": (HULU, field(1, "Numbers") + field(2, -1) + field(4, 5), 1002),
    "hulu index 2^31-1": (HULU, field(1, "Numbers") + field(2, 2**31 - 1) + field(4, 5), 1002),
    "hulu left out": (HULU, field(1, "Numbers") + field(2, 3) + field(4, 5), 1002),
    "sofa no method": (SOFA, field(1, 0) + field(2, 5), 1001),
    "sofa empty method": (SOFA, field(1, 0) + field(2, 5) + field(100, ""), 1001),
    "sofa unknown method": (
        SOFA,
        field(1, 0) + field(2, 5) + field(100, wire.NUMBERS + ".thrice"),
        1002,
    ),
    "sofa unknown service": (SOFA, field(1, 0) + field(2, 5) + field(100, "a.Nobody.twice"), 1002),
    "sofa without the service": (SOFA, field(1, 0) + field(2, 5) + field(100, "twice"), 1001),
}


@pytest.mark.parametrize(("kind", "meta", "code"), UNKNOWN.values(), ids=UNKNOWN)
def test_names_that_nothing_is_served_under(
    make_bench: Callable[..., Bench],
    wait_until: Callable[..., Any],
    kind: Any,
    meta: bytes,
    code: int | None,
) -> None:
    bench = make_bench(kind)
    bench.send(kind.frame(meta, number(1)))
    if code is None:  # brpc joins the two and looks the whole up; 1002 is as good
        answer = bench.answer()
        assert answer.code in {0, 1002}
        return
    bench.refused(code)
    if b"left_out" not in meta and meta != UNKNOWN["hulu left out"][1]:
        assert bench.rejected() == {"unknown_method": 1}
    assert bench.service.values == [21]
    wait_until(lambda: bench.server.stats()["calls_in_flight"] == 1)  # the neighbour's


@pytest.mark.parametrize("service", [wire.NUMBERS, "Numbers"])
def test_full_and_bare_names_both_work(prpc: Bench, service: str) -> None:
    prpc.send(PRPC.call(3, number(4), service=service))
    assert wire.value_of(prpc.answer().body) == 8


# ---------------------------------------------------------------- the message


@pytest.mark.parametrize(
    "body",
    [b"\xff\xff\xff", b"\x08", number(1) + b"\x12\x05ab", b"", b"\x12\x01x", b"\x0a\x01x"],
    ids=["garbage", "cut varint", "cut string", "nothing", "no required", "wrong wire type"],
)
def test_a_message_that_is_none(bench: Bench, body: bytes) -> None:
    bench.send(bench.wire.call(5, body))
    answer = bench.refused(1003)
    assert wire.NUMBERS in answer.text or "twice" in answer.text
    assert bench.rejected() == {"bad_body": 1}
    assert bench.service.values == [21]


@pytest.mark.parametrize("type_", ["lz4", 99, -1, 2**31 - 1])
def test_compress_types_that_nobody_speaks(bench: Bench, type_: int | str) -> None:
    value = bench.wire.compression["lz4"] if type_ == "lz4" else type_
    bench.send(bench.wire.call(5, number(1), more=field(bench.wire.compress_field, value)))
    if bench.wire is SOFA and type_ != "lz4":  # an unknown number of an enum reads as absent
        answer = bench.answer()
        assert answer.code in (0, 1003)
        return
    bench.refused(1003)
    assert bench.rejected() == {"bad_body": 1}


@pytest.mark.parametrize("name", ["snappy", "gzip", "zlib"])
@pytest.mark.parametrize("body", [b"", b"\xff" * 20, number(1)], ids=["empty", "junk", "plain"])
def test_what_does_not_inflate(bench: Bench, name: str, body: bytes) -> None:
    more = field(bench.wire.compress_field, bench.wire.compression[name])
    bench.send(bench.wire.call(5, body, more=more))
    bench.refused(1003)
    assert bench.rejected() == {"bad_body": 1}


def test_what_inflates_without_end(bench: Bench) -> None:
    bomb = gzip.compress(number(1) + field(2, b"\0" * (100 << 20)))
    assert len(bomb) < 200_000
    before = wire.rss()
    more = field(bench.wire.compress_field, bench.wire.compression["gzip"])
    bench.send(bench.wire.call(5, bomb, more=more))
    bench.refused(1003)
    assert wire.rss() - before < 64 << 20


def test_a_snappy_length_that_lies(bench: Bench) -> None:
    before = wire.rss()
    more = field(bench.wire.compress_field, bench.wire.compression["snappy"])
    for length in (2**32 - 1, 2**31, 1000):
        bench.send(bench.wire.call(5, wire.varint(length) + b"\x04ab", more=more))
        bench.refused(1003)
    assert wire.rss() - before < 32 << 20


@pytest.mark.parametrize("name", ["gzip", "zlib"])
def test_a_message_that_inflates(bench: Bench, name: str) -> None:
    compress = {"gzip": gzip.compress, "zlib": zlib.compress}[name]
    more = field(bench.wire.compress_field, bench.wire.compression[name])
    bench.send(bench.wire.call(5, compress(number(6)), more=more))
    answer = bench.answer()
    assert (answer.code, wire.value_of(answer.body)) == (0, 12)
    compress_field = 4 if bench.wire is HULU else bench.wire.compress_field
    assert answer.meta.get(compress_field, [0]) == [0]  # is not mirrored


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack(">I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def test_crc32c_itself() -> None:
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("covers_all", [False, True])
@pytest.mark.parametrize("attachment", [b"", b"att"])
def test_a_good_checksum(prpc: Bench, covers_all: bool, attachment: bytes) -> None:
    body = number(6)
    value = checksum(body + (attachment if covers_all else b""))
    more = field(11, 1) + field(12, value) + (field(13, 1) if covers_all else b"")
    prpc.send(PRPC.call(5, body, more=more, attachment=attachment))
    answer = prpc.answer()
    assert (answer.code, wire.value_of(answer.body)) == (0, 12)
    assert answer.meta.get(11, [0]) == [0]


GOOD = checksum(number(6))
CHECKSUMS = {
    "wrong": bytes([GOOD[0] ^ 1]) + GOOD[1:],
    "little endian": GOOD[::-1],
    "not masked": struct.pack(">I", crc32c(number(6))),
    "empty": b"",
    "3 bytes": GOOD[:3],
}


@pytest.mark.parametrize("value", CHECKSUMS.values(), ids=CHECKSUMS)
def test_a_bad_checksum(prpc: Bench, value: bytes) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(11, 1) + field(12, value)))
    prpc.refused(1003)
    assert prpc.rejected() == {"bad_body": 1}


def test_a_checksum_of_the_type_alone(prpc: Bench) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(11, 1)))
    prpc.refused(1003)


def test_a_checksum_that_covers_the_attachment_sees_a_bad_attachment(prpc: Bench) -> None:
    more = field(11, 1) + field(12, checksum(number(6) + b"good")) + field(13, 1)
    prpc.send(PRPC.call(5, number(6), more=more, attachment=b"evil"))
    prpc.refused(1003)


@pytest.mark.parametrize("type_", [2, 99, -1])
def test_an_unknown_checksum_type_is_taken_unread(prpc: Bench, type_: int) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(11, type_) + field(12, b"\1\2\3\4")))
    answer = prpc.answer()
    assert (answer.code, wire.value_of(answer.body)) == (0, 12)


def test_a_checksum_value_without_a_type_is_not_looked_at(prpc: Bench) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(12, b"\1\2\3\4")))
    assert prpc.answer().code == 0


@pytest.mark.parametrize("size", [3, 100, 2**31 - 1])
def test_an_attachment_longer_than_the_frame(prpc: Bench, size: int) -> None:
    prpc.send(PRPC.call(5, number(1), more=field(5, size)))
    assert len(number(1)) == 2
    prpc.refused(1003)
    assert prpc.service.values == [21]


@pytest.mark.parametrize("size", [-1, -(2**31)])
def test_a_negative_attachment_size_is_none(prpc: Bench, size: int) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(5, size)))
    answer = prpc.answer()
    assert (answer.code, wire.value_of(answer.body)) == (0, 12)
    prpc.send(PRPC.call(5, number(6) + b"\xff\xff", more=field(5, size)))
    prpc.refused(1003)


def test_an_attachment_of_no_bytes_and_of_all(prpc: Bench) -> None:
    prpc.send(PRPC.call(5, number(6), more=field(5, 0)))
    assert prpc.answer().code == 0
    prpc.send(PRPC.call(5, number(6), more=field(5, 2)))  # nothing is left for the message
    prpc.refused(1003)


@pytest.mark.parametrize("size", [-1, 100])
def test_hulus_message_size_beyond_the_frame(hulu: Bench, size: int) -> None:
    # brpc takes all there is for the message.
    hulu.send(HULU.call(5, number(6), more=field(12, size)))
    answer = hulu.answer()
    assert answer.code in (0, 1003)
    assert answer.code or wire.value_of(answer.body) == 12
    hulu.works()


def test_attachments_arrive(make_bench: Callable[..., Bench]) -> None:
    for kind in (PRPC, HULU):
        bench = make_bench(kind)
        bench.send(kind.call(5, number(6), attachment=b"\xff\0att"))
        assert bench.answer().code == 0
        assert bench.service.extras == [({}, b"\xff\0att")]


# ---------------------------------------------------------------- what is let through

EXTRA = field(19, 1) + field(1000, b"x") + field(100, b"h") + field(101, b"s")
FIXED = b"\xa1\x01" + bytes(8) + b"\xa5\x01" + bytes(4)  # field 20, as fixed64 and as fixed32
GROUP = b"\xab\x01\x08\x01\xac\x01"  # field 21, a group
TAKEN = {
    "unknown fields in the meta": (PRPC, EXTRA + FIXED, number(6)),
    "a group in the meta": (PRPC, GROUP, number(6)),
    "chunk_info": (PRPC, field(6, field(1, 1) + field(2, 2)), number(6)),
    "content_type 9": (PRPC, field(10, 9), number(6)),
    "unknown fields in the message": (PRPC, b"", number(6) + EXTRA + FIXED + GROUP),
    "invalid UTF-8 in the message": (PRPC, b"", number(6, b"\xff\xfe")),
    "invalid UTF-8 in a key": (PRPC, field(9, field(1, b"\xff") + field(2, "v")), number(6)),
    "invalid UTF-8 in a value": (PRPC, field(9, field(1, "k") + field(2, b"\xff")), number(6)),
    "a map entry without a value": (PRPC, field(9, field(1, "k")), number(6)),
    "an empty map entry": (PRPC, field(9, b""), number(6)),
    "stream_settings": (PRPC, field(8, field(1, 7) + field(3, 1)), number(6)),
    "invalid UTF-8 in request_id": (PRPC, field(1, field(7, b"\xff")), number(6)),
    "the last of two values": (PRPC, field(4, 1) + field(4, 5), number(5) + number(6)),
    "a request in two pieces": (PRPC, field(1, field(3, 9)), number(6)),
    "hulu unknown fields": (HULU, EXTRA + FIXED, number(6)),
    "hulu chuck_info": (HULU, field(6, field(1, 1) + field(2, 2)), number(6)),
    "hulu talk type, user data, address, name": (
        HULU,
        field(10, 1) + field(11, b"\xff") + field(13, -1) + field(14, "no matter"),
        number(6),
    ),
    "hulu invalid UTF-8 in method_name": (HULU, field(14, b"\xff"), number(6)),
    "sofa unknown fields": (SOFA, field(19, 1) + field(1000, b"x"), number(6)),
    "sofa expected compression": (SOFA, field(301, 1), number(6)),
    "sofa fields of answers": (
        SOFA,
        field(200, 1) + field(201, 3) + field(202, b"\xff"),
        number(6),
    ),
}


@pytest.mark.parametrize(("kind", "more", "body"), TAKEN.values(), ids=TAKEN)
def test_what_brpc_takes_is_taken(
    make_bench: Callable[..., Bench], kind: Any, more: bytes, body: bytes
) -> None:
    bench = make_bench(kind)
    bench.send(kind.call(5, body, more=more))
    answer = bench.answer()
    assert answer is not None, "closed"
    assert (answer.id, answer.code, wire.value_of(answer.body)) == (5, 0, 12)
    assert bench.rejected() == {}


def test_a_name_of_invalid_utf8_is_an_unknown_name(prpc: Bench) -> None:
    prpc.send(PRPC.frame(PRPC.named(b"\xff\xfe", b"twice") + field(4, 5), number(1)))
    prpc.refused(1001)


# ---------------------------------------------------------------- the ids

IDS = [0, 1, -1, -5, 2**31, 2**62 + 3, 2**63 - 1, -(2**63)]


@pytest.mark.parametrize("cid", IDS)
def test_ids_come_back_bit_for_bit(bench: Bench, cid: int) -> None:
    cid = cid % 2**64 if bench.wire is SOFA else cid
    bench.send(bench.wire.call(cid, number(6)))
    answer = bench.answer()
    assert (answer.id, answer.code) == (cid, 0)
    bench.send(bench.wire.call(cid, number(6), wire.FAIL))  # which is left out
    answer = bench.answer()
    assert (answer.id, answer.code) == (cid, 1002)


def test_an_id_that_is_absent_is_0(bench: Bench) -> None:
    if bench.wire is SOFA:
        return  # required there
    names = PRPC.named(wire.NUMBERS, "twice") if bench.wire is PRPC else b""
    meta = names or field(1, "Numbers") + field(2, 1)
    bench.send(bench.wire.frame(meta, number(6)))
    answer = bench.answer()
    assert answer.id in (0, None)
    assert wire.value_of(answer.body) == 12


def test_an_id_used_twice_at_once_is_answered_twice(bench: Bench) -> None:
    bench.send(
        bench.wire.call(5, number(1), wire.PUSH),
        bench.wire.call(5, number(2), wire.PUSH),
        bench.wire.call(5, number(3)),
    )
    answers = [bench.answer()]
    assert (answers[0].id, wire.value_of(answers[0].body)) == (5, 6)
    assert bench.service.held.acquire(timeout=5)
    assert bench.service.held.acquire(timeout=5)
    bench.service.gate.set()
    answers += [bench.answer(), bench.answer()]
    assert [a.id for a in answers] == [5, 5, 5]
    assert sorted(wire.value_of(a.body) for a in answers[1:]) == [1, 2]


def test_sofa_takes_a_response_for_a_request_or_refuses_it(sofa: Bench) -> None:
    meta = field(1, 1) + field(2, 5) + field(100, wire.NUMBERS + ".twice")
    sofa.send(SOFA.frame(meta, number(6)))
    answer = sofa.answer()  # brpc does not look at the type
    assert answer.id == 5
    assert answer.code in (0, 1001, 1002, 1003)


# ---------------------------------------------------------------- the connection


@pytest.mark.parametrize("order", ["before the answer", "with a call in progress"])
def test_a_half_close_still_gets_its_answer(bench: Bench, order: str) -> None:
    method = wire.TWICE if order == "before the answer" else wire.PUSH
    bench.send(bench.wire.call(5, number(6), method))
    bench.sock.shutdown(socket.SHUT_WR)
    if method == wire.PUSH:
        assert bench.service.held.acquire(timeout=5)
        assert wire.is_quiet(bench.sock)
        bench.service.gate.set()
    answer = bench.answer()
    assert (answer.id, answer.code) == (5, 0)
    assert bench.answer() is None  # then the end


def test_a_frame_cut_at_every_byte(bench: Bench) -> None:
    frame = bench.wire.call(5, number(6))
    for at in range(1, len(frame)):
        bench.send(frame[:at])
        if at % 8 == 0:
            time.sleep(0.002)
        bench.send(frame[at:])
        assert wire.value_of(bench.answer().body) == 12
    for byte in frame:
        bench.send(bytes([byte]))
    assert wire.value_of(bench.answer().body) == 12


def test_the_end_inside_a_frame(bench: Bench, wait_until: Callable[..., Any]) -> None:
    bench.works()
    bench.send(bench.wire.call(5, number(6))[:-1])
    bench.sock.shutdown(socket.SHUT_WR)
    bench.closed("truncated", wait_until)
    assert bench.service.values == [21]


def test_unfinished_frames_take_no_more_memory_than_they_brought(
    make_bench: Callable[..., Bench], wait_until: Callable[..., Any]
) -> None:
    bench = make_bench(PRPC)
    bench.works()
    before = wire.rss()
    frame = PRPC.call(5, number(1, b"n" * (LIMIT - 100)))
    liars = [bench.connect() for _ in range(60)]
    for sock in liars:
        sock.sendall(frame[:4096])
    wait_until(lambda: bench.server.stats()["connections"] == 62)
    bench.works()
    assert wire.rss() - before < 40 << 20  # 240 MiB were announced
    for sock in liars:
        sock.close()
    wait_until(lambda: bench.rejected() == {"truncated": 60})
    bench.works()


def test_a_slow_reader_is_bounded(bench: Bench) -> None:
    """3500 calls for 64 KiB each from one that does not read, then reads it all."""
    before = wire.rss()
    count = 3500
    stream = b"".join(bench.wire.call(i, b"", wire.BLOB) for i in range(count))
    sender = threading.Thread(target=lambda: bench.sock.sendall(stream), daemon=True)
    bench.sock.settimeout(60)
    sender.start()
    end = time.monotonic() + 1.5
    peak = 0
    while time.monotonic() < end:
        peak = max(peak, wire.rss())
        time.sleep(0.01)
    other = bench.connect()
    other.sendall(bench.wire.call(1, number(1)))
    assert wire.read_answer(other, bench.wire).code == 0
    assert peak - before < 64 << 20  # 220 MiB were asked for
    seen = []
    for _ in range(count):
        answer = bench.answer()
        assert answer is not None, len(seen)
        assert (answer.code, len(answer.body)) == (0, 65536 + 4)
        seen.append(answer.id)
    sender.join(5)
    assert sorted(seen) == list(range(count))
    bench.works()


def test_a_connection_that_goes_away_during_its_calls(
    bench: Bench, wait_until: Callable[..., Any]
) -> None:
    bench.send(*(bench.wire.call(i, number(i), wire.PUSH) for i in range(3)))
    for _ in range(3):
        assert bench.service.held.acquire(timeout=5)
    bench.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bench.sock.close()
    wait_until(lambda: bench.server.stats()["connections"] == 1)
    bench.service.gate.set()
    wait_until(lambda: bench.server.stats()["calls_in_flight"] == 0)


def test_a_caller_that_died_with_calls_under_way(
    bench: Bench, wait_until: Callable[..., Any]
) -> None:
    """Its system ends the stream in good order, and refuses the answers: then it is lost."""
    stats, service = bench.server.stats, bench.service
    bench.send(*(bench.wire.call(i, number(i), wire.PUSH) for i in range(3)))
    for _ in range(3):
        assert service.held.acquire(timeout=5)
    bench.sock.close()  # nothing is unread, so it is no reset
    bench.sock = bench.connect()
    time.sleep(0.05)
    assert stats()["calls_in_flight"] == 4  # what it sent is run
    assert service.reasons == []
    service.gate.set()
    wait_until(lambda: stats()["calls_in_flight"] == 0)
    wait_until(lambda: service.reasons)
    assert [reason.kind for reason in service.reasons] == ["peer_closed"]
    assert wire.counted(stats()["disconnects_total"]) == {"peer_closed": 1}


def test_a_caller_that_ends_its_side_and_is_reset_is_lost_at_once(
    bench: Bench, wait_until: Callable[..., Any]
) -> None:
    """Nothing is to be read or written, and its handlers may not end for long."""
    stats, service = bench.server.stats, bench.service
    bench.send(*(bench.wire.call(i, number(i), wire.PUSH) for i in range(3)))
    for _ in range(3):
        assert service.held.acquire(timeout=5)
    bench.sock.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    assert stats()["calls_in_flight"] == 4
    bench.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    bench.sock.close()
    wait_until(lambda: stats()["calls_total"].get("CANCELLED") == 3)
    service.gate.set()
    wait_until(lambda: stats()["connections"] == 1)
    bench.sock = bench.connect()


def test_a_connection_that_always_has_more_does_not_keep_others_waiting(bench: Bench) -> None:
    flood = bench.wire.call(5, number(6), "no_such_method") * 2000
    over = threading.Event()
    answered = 0

    def send() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                bench.sock.sendall(flood)

    def read() -> None:
        nonlocal answered
        with contextlib.suppress(OSError):
            while data := bench.sock.recv(1 << 20):
                answered += len(data)

    threads = [threading.Thread(target=one) for one in (send, read)]
    other = bench.connect()
    for thread in threads:
        thread.start()
    try:
        longest = 0.0
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            begun = time.monotonic()
            other.sendall(bench.wire.call(1, number(1)))
            assert wire.read_answer(other, bench.wire).code == 0
            longest = max(longest, time.monotonic() - begun)
    finally:
        over.set()
        bench.sock.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join(10)
    assert answered > 1 << 20, "it was no flood"
    assert longest < 0.5
    bench.sock = bench.connect()


def test_random_streams_do_no_harm(bench: Bench, wait_until: Callable[..., Any]) -> None:
    """Good frames with a few bytes altered: never more than the connection is lost."""
    dice = random.Random(20261123)
    good = bench.wire.call(5, number(6, b"note"))
    for _ in range(150):
        frame = bytearray(good)
        for _ in range(dice.randint(1, 3)):
            frame[dice.randrange(4, len(frame))] = dice.randrange(256)
        sock = bench.connect()
        with contextlib.suppress(ConnectionError):
            sock.sendall(bytes(frame))
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(65536):
                pass
        sock.close()
    bench.works()
    wait_until(lambda: bench.server.stats()["connections"] == 2)
