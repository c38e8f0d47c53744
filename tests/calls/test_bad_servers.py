"""What a channel does about a bad server, one test a row: a socket with a script on the other end.

Where brpc's client waits for its deadline, ours ends the call at once; where brpc's marks the
server down for seconds, the next call of ours makes a connection and goes through.
"""

from __future__ import annotations

import collections
import gzip
import importlib
import struct
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import ChannelOptions, Code, Controller, RpcError
from testing_pb2 import Blob, Number, Numbers_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, HULU, SOFA, WIRES = wire.PRPC, wire.HULU, wire.SOFA, wire.WIRES
field, number = wire.field, wire.number

LIMIT = 4 * 1024 * 1024
every_wire = pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)


@pytest.fixture
def stub_to(channel_factory: Callable[..., callmethod.Channel]) -> Callable[..., Any]:
    """A stub, and its channel as `.channel`."""

    def make(server: Any, kind: Any = PRPC, **options: Any) -> Any:
        options.setdefault("timeout", 20.0)
        channel = channel_factory(
            server.address, protocol=kind.protocol(), options=ChannelOptions(**options)
        )
        stub = Numbers_Stub(channel)
        stub.channel = channel
        return stub

    return make


def answer_calls(sock: socket.socket, kind: Any) -> None:
    """Answer `twice` to the end of the stream."""
    while (call := wire.read_call(sock, kind)) is not None:
        sock.sendall(kind.answer(call.id, number(2 * wire.value_of(call.body))))


def failure(stub: Any, controller: Controller | None = None) -> RpcError:
    with pytest.raises(RpcError) as caught:
        stub.twice(controller, Number(value=1))
    return caught.value


def works(stub: Any) -> None:
    assert stub.twice(None, Number(value=21)).value == 42


# ---------------------------------------------------------------- the connection has to go

BROKEN = {
    "bad magic": (lambda k, cid: b"XXXX" + k.answer(cid, number(2))[4:], "bad_magic"),
    "HTTP": (lambda k, cid: b"HTTP/1.1 400 Bad Request\r\n\r\n", "bad_magic"),
    "another protocol": (
        lambda k, cid: (SOFA if k is not SOFA else PRPC).answer(cid, number(2)),
        "bad_magic",
    ),
    "over the limit": (lambda k, cid: k.head(10, LIMIT), "length_above_limit"),
    "far over the limit": (lambda k, cid: k.head(0, 2**32 - 1), "length_above_limit"),
    "sizes that do not fit": (
        lambda k, cid: (
            b"SOFA" + struct.pack("<IQQ", 5, 5, 11)
            if k is SOFA
            else k.magic + struct.pack(">II" if k is PRPC else "<II", 5, 6) + bytes(5)
        ),
        "bad_sizes",
    ),
    "a bad meta": (lambda k, cid: k.frame(b"\xff\xff\xff", number(2)), "bad_meta"),
}


@every_wire
@pytest.mark.parametrize(("make", "reason"), BROKEN.values(), ids=BROKEN)
def test_what_breaks_the_connection_ends_the_calls_at_once(
    stub_to: Callable[..., Any],
    wait_until: Callable[..., Any],
    kind: Any,
    make: Callable[..., bytes],
    reason: str,
) -> None:
    saw_the_end = threading.Event()

    def script(sock: socket.socket, n: int) -> None:
        if n:
            answer_calls(sock, kind)
            return
        answer_a_call(sock, kind)
        call = wire.read_call(sock, kind)
        sock.sendall(make(kind, call.id))
        if wire.ends(sock):
            saw_the_end.set()

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        works(stub)
        began = time.monotonic()
        error = failure(stub)
        assert time.monotonic() - began < 5  # of 20 s
        assert error.code is Code.UNAVAILABLE
        assert error.text
        assert saw_the_end.wait(5)
        works(stub)
        assert server.accepted == 2
        stats = stub.channel.stats()
        assert wire.counted(stats["rejected_total"]) == {reason: 1}
        assert wire.counted(stats["disconnects_total"]) == {reason: 1}
        assert stats["retries_total"] == 0


def answer_a_call(sock: socket.socket, kind: Any) -> None:
    call = wire.read_call(sock, kind)
    sock.sendall(kind.answer(call.id, number(2 * wire.value_of(call.body))))


@every_wire
@pytest.mark.parametrize("what", ["garbage", "close", "reset", "partial"])
def test_all_calls_of_a_lost_connection_end_once(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], kind: Any, what: str
) -> None:
    count = 50

    def script(sock: socket.socket, n: int) -> None:
        calls = [wire.read_call(sock, kind) for _ in range(count)]
        assert len({call.id for call in calls}) == count
        if what == "garbage":
            sock.sendall(b"?" * 100)
            assert wire.ends(sock)
        elif what == "partial":
            sock.sendall(kind.answer(calls[0].id, number(2))[:-1])
        elif what == "reset":
            import socket as sockets

            linger = struct.pack("ii", 1, 0)
            sock.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        ended: list[tuple[int, Any, Code | None]] = []
        for i in range(count):
            controller = Controller()
            stub.twice(
                controller,
                Number(value=i),
                lambda response, i=i, c=controller: ended.append((i, response, c.code)),
            )
        wait_until(lambda: len(ended) >= count)
        time.sleep(0.05)
        assert sorted(ended) == [(i, None, Code.UNAVAILABLE) for i in range(count)]
        stats = stub.channel.stats()
        assert stats["calls_in_flight"] == 0
        assert stats["retries_total"] == 0
        if what == "partial":
            assert wire.counted(stats["rejected_total"]) == {"truncated": 1}


@every_wire
def test_a_close_fails_what_was_sent_and_nothing_after(
    stub_to: Callable[..., Any], wait_until: Callable[..., Any], kind: Any
) -> None:
    """brpc's client would now be without a server until its health check, for seconds."""

    def script(sock: socket.socket, n: int) -> None:
        if n % 2 == 0:
            assert wire.read_call(sock, kind)
        else:
            answer_a_call(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        began = time.monotonic()
        for _ in range(5):
            assert failure(stub).code is Code.UNAVAILABLE
            works(stub)
            wait_until(lambda: not stub.channel.connected)
        assert time.monotonic() - began < 10


@every_wire
def test_a_server_that_closes_at_accept(stub_to: Callable[..., Any], kind: Any) -> None:
    """Nothing was sent or all of it was lost: the call ends, one way or the other."""

    def script(sock: socket.socket, n: int) -> None:
        if n >= 3:
            answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        for _ in range(5):
            try:
                works(stub)
            except RpcError as error:
                assert error.code is Code.UNAVAILABLE  # noqa: PT017
            else:
                break
        works(stub)


# ---------------------------------------------------------------- answers to nobody


@every_wire
def test_an_unknown_id_is_dropped(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            for wrong in (call.id + 1, call.id + 2**32, 0 if call.id else 2**40, 2**63 - 1):
                sock.sendall(kind.answer(wrong, number(666)))
                sock.sendall(kind.answer(wrong, b"", 1234, "not yours"))
            sock.sendall(kind.answer(call.id, number(2 * wire.value_of(call.body))))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        for _ in range(3):
            works(stub)
        assert server.accepted == 1
        assert stub.channel.stats()["late_replies_total"] == 24


@every_wire
def test_frames_before_any_call_are_dropped(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        for cid in range(20):
            sock.sendall(kind.answer(cid, number(666)))
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        stub.channel.connect()
        time.sleep(0.1)
        works(stub)
        assert server.accepted == 1
        assert stub.channel.stats()["late_replies_total"] == 20


@every_wire
def test_two_answers_in_one_segment(stub_to: Callable[..., Any], kind: Any) -> None:
    """Exactly one wins, nobody else gets the other."""

    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            value = wire.value_of(call.body)
            good = kind.answer(call.id, number(2 * value))
            bad = kind.answer(call.id, b"", 1234, "no")
            sock.sendall(good + bad + good)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        done: list[int] = []
        for i in range(50):
            assert stub.twice(None, Number(value=i)).value == 2 * i
        for i in range(50, 100):
            stub.twice(None, Number(value=i), lambda response: done.append(response.value))
        end = time.monotonic() + 5
        while len(done) < 50 and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(0.05)
        assert done == [2 * i for i in range(50, 100)]
        assert server.accepted == 1
        assert stub.channel.stats()["late_replies_total"] == 200


@every_wire
def test_silence_ends_at_the_deadline(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            if wire.value_of(call.body) == 21:
                sock.sendall(kind.answer(call.id, number(42)))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        works(stub)
        began = time.monotonic()
        error = failure(stub, Controller(timeout=0.2))
        assert 0.2 <= time.monotonic() - began < 1
        assert error.code is Code.DEADLINE_EXCEEDED
        works(stub)
        assert server.accepted == 1


@every_wire
def test_an_answer_after_the_deadline_is_nobodys(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        late = wire.read_call(sock, kind)
        call = wire.read_call(sock, kind)
        sock.sendall(kind.answer(late.id, number(666)))
        time.sleep(0.05)
        sock.sendall(kind.answer(call.id, number(42)))
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        assert failure(stub, Controller(timeout=0.1)).code is Code.DEADLINE_EXCEEDED
        works(stub)
        assert stub.channel.stats()["late_replies_total"] == 1


@every_wire
def test_half_an_answer_and_then_silence(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        call = wire.read_call(sock, kind)
        frame = kind.answer(call.id, number(2))
        sock.sendall(frame[:-1])
        second = wire.read_call(sock, kind)
        sock.sendall(frame[-1:] + kind.answer(second.id, number(42)))
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        assert failure(stub, Controller(timeout=0.2)).code is Code.DEADLINE_EXCEEDED
        works(stub)
        assert server.accepted == 1


@every_wire
def test_answers_in_reverse_and_byte_by_byte(stub_to: Callable[..., Any], kind: Any) -> None:
    count = 60

    def script(sock: socket.socket, n: int) -> None:
        calls = [wire.read_call(sock, kind) for _ in range(count)]
        stream = b"".join(
            kind.answer(call.id, number(2 * wire.value_of(call.body))) for call in calls[::-1]
        )
        for at in range(0, len(stream), 7):
            sock.sendall(stream[at : at + 7])
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        got: dict[int, int] = {}
        order: list[int] = []
        for i in range(count):
            stub.twice(
                None,
                Number(value=i),
                lambda r, i=i: (got.__setitem__(i, r.value), order.append(i)),
            )
        end = time.monotonic() + 5
        while len(got) < count and time.monotonic() < end:
            time.sleep(0.002)
        assert got == {i: 2 * i for i in range(count)}
        assert order == list(range(count))[::-1]
        works(stub)


# ---------------------------------------------------------------- answers that are none


def prpc_answer(cid: int, body: bytes, more: bytes) -> bytes:
    return PRPC.frame(field(2, field(1, 0)) + field(4, cid) + more, body)


def hulu_answer(cid: int, body: bytes, more: bytes) -> bytes:
    return HULU.frame(field(3, cid << 1) + more, body)


def sofa_answer(cid: int, body: bytes, more: bytes) -> bytes:
    return SOFA.frame(field(1, 1) + field(2, cid) + more, body)


MAKE = {"baidu_std": prpc_answer, "hulu_pbrpc": hulu_answer, "sofa_pbrpc": sofa_answer}
RESPONSE_COMPRESS = {"baidu_std": 3, "hulu_pbrpc": 4, "sofa_pbrpc": 300}


def compressed(kind: Any, name: str) -> bytes:
    return bytes(field(RESPONSE_COMPRESS[kind.name], kind.compression[name]))


UNREADABLE = {
    "garbage": lambda k: (b"\xff\xff\xff", b""),
    "cut short": lambda k: (number(2, b"note")[:-1], b""),
    "no required field": lambda k: (b"", b""),
    "lz4": lambda k: (number(2), compressed(k, "lz4")),
    "gzip that is none": lambda k: (number(2), compressed(k, "gzip")),
    "gzip without end": lambda k: (
        gzip.compress(number(2) + field(2, bytes(100 << 20))),
        compressed(k, "gzip"),
    ),
    "snappy that lies": lambda k: (wire.varint(2**32 - 1) + b"\x04ab", compressed(k, "snappy")),
}


@every_wire
@pytest.mark.parametrize("make", UNREADABLE.values(), ids=UNREADABLE)
def test_a_response_that_cannot_be_read(
    stub_to: Callable[..., Any], kind: Any, make: Callable[..., tuple[bytes, bytes]]
) -> None:
    body, more = make(kind)
    calls = 0

    def script(sock: socket.socket, n: int) -> None:
        nonlocal calls
        while (call := wire.read_call(sock, kind)) is not None:
            calls += 1
            if wire.value_of(call.body) == 1:
                sock.sendall(MAKE[kind.name](call.id, body, more))
            else:
                sock.sendall(kind.answer(call.id, number(42)))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        before = wire.rss()
        error = failure(stub)
        assert error.code is Code.INTERNAL
        assert "response" in error.text
        assert wire.rss() - before < 64 << 20
        assert calls == 1  # it ran there: not again
        works(stub)
        assert server.accepted == 1


PRPC_UNREADABLE = {
    "attachment longer than the frame": field(5, 100),
    "attachment of 2 GiB": field(5, 2**31 - 1),
    "attachment takes it all": field(5, 2),
    "checksum wrong": field(11, 1) + field(12, b"\0\0\0\0"),
    "checksum too short": field(11, 1) + field(12, b"\0"),
    "checksum not there": field(11, 1),
    "unknown compression": field(3, 99),
}


@pytest.mark.parametrize("more", PRPC_UNREADABLE.values(), ids=PRPC_UNREADABLE)
def test_a_prpc_response_that_cannot_be_read(stub_to: Callable[..., Any], more: bytes) -> None:
    def script(sock: socket.socket, n: int) -> None:
        call = wire.read_call(sock)
        sock.sendall(prpc_answer(call.id, number(2), more))
        answer_calls(sock, PRPC)

    with wire.fake_server(script) as server:
        stub = stub_to(server)
        began = time.monotonic()
        assert failure(stub).code is Code.INTERNAL
        assert time.monotonic() - began < 5
        works(stub)
        assert server.accepted == 1


TAKEN = {
    "no response in the meta": lambda cid: PRPC.frame(field(4, cid), number(2)),
    "an empty response in the meta": lambda cid: PRPC.frame(
        field(2, b"") + field(4, cid), number(2)
    ),
    "unknown fields": lambda cid: prpc_answer(cid, number(2) + field(99, 1), field(99, b"x")),
    "chunk_info": lambda cid: prpc_answer(cid, number(2), field(6, field(1, 1) + field(2, 2))),
    "checksum value of type 0": lambda cid: prpc_answer(cid, number(2), field(12, b"leak")),
    "checksum of an unknown type": lambda cid: prpc_answer(
        cid, number(2), field(11, 9) + field(12, b"x")
    ),
    "content_type 9": lambda cid: prpc_answer(cid, number(2), field(10, 9)),
    "negative attachment_size": lambda cid: prpc_answer(cid, number(2), field(5, -1)),
    "gzip": lambda cid: prpc_answer(cid, gzip.compress(number(2)), field(3, 2)),
    "user_fields of invalid UTF-8": lambda cid: prpc_answer(
        cid, number(2), field(9, field(1, b"\xff") + field(2, b"\xfe"))
    ),
    "a text of invalid UTF-8 and no code": lambda cid: PRPC.frame(
        field(2, field(1, 0) + field(2, b"\xff")) + field(4, cid), number(2)
    ),
}


@pytest.mark.parametrize("make", TAKEN.values(), ids=TAKEN)
def test_what_brpcs_client_takes_is_taken(
    stub_to: Callable[..., Any], make: Callable[[int], bytes]
) -> None:
    def script(sock: socket.socket, n: int) -> None:
        call = wire.read_call(sock)
        sock.sendall(make(call.id))
        assert wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server)
        assert stub.twice(None, Number(value=1)).value == 2
        stub.channel.close()


# ---------------------------------------------------------------- failures that it reports

CODES = {
    1001: Code.UNIMPLEMENTED,
    1002: Code.UNIMPLEMENTED,
    1003: Code.INVALID_ARGUMENT,
    1004: Code.UNAUTHENTICATED,
    1008: Code.DEADLINE_EXCEEDED,
    2001: Code.INTERNAL,
}


@every_wire
@pytest.mark.parametrize("code", [*CODES, 1234, -7, 110, -1, 2**31 - 1, -(2**31)])
def test_error_codes(stub_to: Callable[..., Any], kind: Any, code: int) -> None:
    calls = 0

    def script(sock: socket.socket, n: int) -> None:
        nonlocal calls
        call = wire.read_call(sock, kind)
        calls += 1
        sock.sendall(kind.answer(call.id, number(666), code, "it's so"))  # a body nobody reads
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        controller = Controller()
        error = failure(stub, controller)
        assert error.native_code == controller.native_code == code
        assert "it's so" in error.text
        assert error.peer == server.address
        assert error.code is controller.code
        if code in CODES:
            assert error.code is CODES[code]
        assert error.code is not Code.OK
        works(stub)
        assert (server.accepted, calls) == (1, 1)


@every_wire
@pytest.mark.parametrize("text", [b"", b"\xc4\xe3\xba\xc3", b"\0", b"x" * 100_000])
def test_error_texts_of_any_bytes(stub_to: Callable[..., Any], kind: Any, text: bytes) -> None:
    """The second is a greeting in GBK: a proto2 string may hold it, and brpc hands it on."""

    def script(sock: socket.socket, n: int) -> None:
        call = wire.read_call(sock, kind)
        sock.sendall(kind.answer(call.id, b"", 1234, text))
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        error = failure(stub)
        assert error.native_code == 1234
        error.text.encode()
        works(stub)
        assert server.accepted == 1


# ---------------------------------------------------------------- what is tried again

ELIMIT, ELOGOFF = 2004, 2003


@every_wire
@pytest.mark.parametrize("max_retry", [0, 1, 3])
def test_elimit_is_tried_again_so_many_times(
    stub_to: Callable[..., Any], kind: Any, max_retry: int
) -> None:
    tries: list[int] = []

    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            if wire.value_of(call.body) == 21:
                sock.sendall(kind.answer(call.id, number(42)))
                continue
            tries.append(call.id)
            sock.sendall(kind.answer(call.id, b"", ELIMIT, "full"))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind, max_retry=max_retry)
        error = failure(stub)
        assert (error.code, error.native_code) == (Code.RESOURCE_EXHAUSTED, ELIMIT)
        assert "full" in error.text
        assert len(tries) == len(set(tries)) == 1 + max_retry  # a late answer is told by its id
        assert stub.channel.stats()["retries_total"] == max_retry
        works(stub)
        assert server.accepted == 1


@every_wire
def test_elimit_once(stub_to: Callable[..., Any], kind: Any) -> None:
    def script(sock: socket.socket, n: int) -> None:
        call = wire.read_call(sock, kind)
        sock.sendall(kind.answer(call.id, b"", ELIMIT))
        answer_calls(sock, kind)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        works(stub)
        assert stub.channel.stats()["retries_total"] == 1


def test_retries_end_at_the_deadline(stub_to: Callable[..., Any]) -> None:
    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock)) is not None:
            time.sleep(0.05)
            sock.sendall(PRPC.answer(call.id, b"", ELIMIT))

    with wire.fake_server(script) as server:
        stub = stub_to(server, max_retry=1000)
        began = time.monotonic()
        error = failure(stub, Controller(timeout=0.5))
        assert time.monotonic() - began < 2
        assert error.code in {Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}


def test_a_late_answer_of_an_earlier_try_is_dropped(stub_to: Callable[..., Any]) -> None:
    def script(sock: socket.socket, n: int) -> None:
        first = wire.read_call(sock)
        sock.sendall(PRPC.answer(first.id, b"", ELIMIT))
        second = wire.read_call(sock)
        assert second.id != first.id
        sock.sendall(PRPC.answer(first.id, number(666)))
        time.sleep(0.05)
        sock.sendall(PRPC.answer(second.id, number(42)))
        assert wire.ends(sock)

    with wire.fake_server(script) as server:
        stub = stub_to(server)
        works(stub)
        assert stub.channel.stats()["late_replies_total"] == 1
        stub.channel.close()


@every_wire
def test_elogoff_moves_to_a_new_connection(stub_to: Callable[..., Any], kind: Any) -> None:
    """The old one stays until its other calls are answered."""
    other_done = threading.Event()

    def script(sock: socket.socket, n: int) -> None:
        if n:
            answer_calls(sock, kind)
            return
        other = wire.read_call(sock, kind)
        call = wire.read_call(sock, kind)
        sock.sendall(kind.answer(call.id, b"", ELOGOFF, "Server is stopping"))
        time.sleep(0.3)
        sock.sendall(kind.answer(other.id, number(99)))
        other_done.wait(5)

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        got: list[Any] = []
        stub.twice(None, Number(value=0), got.append)
        began = time.monotonic()
        works(stub)
        assert time.monotonic() - began < 5
        assert server.accepted == 2
        end = time.monotonic() + 5
        while not got and time.monotonic() < end:
            time.sleep(0.002)
        other_done.set()
        assert [r and r.value for r in got] == [99]
        assert stub.channel.stats()["retries_total"] == 1


@every_wire
@pytest.mark.parametrize("max_retry", [0, 2])
def test_elogoff_for_ever(stub_to: Callable[..., Any], kind: Any, max_retry: int) -> None:
    tries = 0

    def script(sock: socket.socket, n: int) -> None:
        nonlocal tries
        while (call := wire.read_call(sock, kind)) is not None:
            tries += 1
            sock.sendall(kind.answer(call.id, b"", ELOGOFF, "Server is stopping"))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind, max_retry=max_retry)
        error = failure(stub)
        assert (error.code, error.native_code) == (Code.UNAVAILABLE, ELOGOFF)
        assert "Server is stopping" in error.text
        assert tries == 1 + max_retry


@every_wire
def test_other_errors_are_not_tried_again(stub_to: Callable[..., Any], kind: Any) -> None:
    seen: collections.Counter[int] = collections.Counter()
    codes = [1001, 1002, 1003, 1004, 1008, 1009, 1011, 1014, 2001, 2002, 2005, 110, 111, 112]

    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            code = wire.value_of(call.body)
            seen[code] += 1
            sock.sendall(kind.answer(call.id, b"", code))

    with wire.fake_server(script) as server:
        stub = stub_to(server, kind)
        for code in codes:
            with pytest.raises(RpcError) as caught:
                stub.twice(None, Number(value=code))
            assert caught.value.native_code == code
        assert seen == dict.fromkeys(codes, 1)


# ---------------------------------------------------------------- what it does not read


def test_a_server_that_does_not_read(stub_to: Callable[..., Any]) -> None:
    """Calls end at their deadlines; what they wanted to send does not stay."""
    release = threading.Event()

    def script(sock: socket.socket, n: int) -> None:
        release.wait(20)

    with wire.fake_server(script) as server:
        stub = stub_to(server)
        before = wire.rss()
        ended: list[Code | None] = []
        blob = Blob(data=bytes(256 * 1024))
        for _ in range(200):  # 50 MiB
            controller = Controller(timeout=0.5)
            stub.blob(controller, blob, lambda r, c=controller: ended.append(c.code))
        end = time.monotonic() + 10
        while len(ended) < 200 and time.monotonic() < end:
            time.sleep(0.01)
        release.set()
        assert len(ended) == 200
        assert set(ended) <= {Code.DEADLINE_EXCEEDED, Code.RESOURCE_EXHAUSTED}
        assert wire.rss() - before < 80 << 20
