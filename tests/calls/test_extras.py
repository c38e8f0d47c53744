"""What goes along with a request and a response: attachments, metadata, compression, ids.

That inflating is bounded is in test_inflating.py.
"""

import itertools
import random
import socket

import pytest

from callmethod import BaiduStd, Code, Controller, Hulu, Indexed, RpcError, Sofa
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub

HELLO = Number(value=1)
BAIDU, HULU = BaiduStd(), Hulu()
COMPRESSIONS = ["none", "snappy", "gzip", "zlib"]
CHECKSUMS = ["none", "message", "message_and_attachment"]
IDS = ["log_id", "trace_id", "span_id", "parent_span_id"]
# Which of the protocols carry what.
CARRIES = {
    "attachment": {"baidu_std", "hulu_pbrpc"},
    "metadata": {"baidu_std"},
    "compression": {"baidu_std", "hulu_pbrpc", "sofa_pbrpc"},
    "checksum": {"baidu_std"},
    **{name: {"baidu_std", "hulu_pbrpc"} for name in IDS},
    "request_id": {"baidu_std"},
}
REQUEST = {
    "attachment": ("request_attachment", b"raw"),
    "metadata": ("metadata", {"k": "v"}),
    "compression": ("compression", "gzip"),
    "checksum": ("checksum", "message"),
    **{name: (name, 7) for name in IDS},
    "request_id": ("request_id", "r"),
}
RESPONSE = {
    "attachment": ("response_attachment", b"raw"),
    "metadata": ("response_metadata", {"k": "v"}),
    "compression": ("response_compression", "gzip"),
    "checksum": ("response_checksum", "message"),
}


@pytest.fixture
def prpc(load_file):
    return load_file("calls/prpc.py")


class Mirror(Numbers):
    """Sends back what came along, and keeps it."""

    def __init__(self, **settings):
        self.settings = settings
        self.seen = []

    def blob(self, rpc_controller, request, done):
        self.seen.append(rpc_controller)
        # Only what came is sent back: not every protocol carries both.
        if rpc_controller.request_attachment:
            rpc_controller.response_attachment = rpc_controller.request_attachment
        if rpc_controller.metadata:
            rpc_controller.response_metadata = rpc_controller.metadata
        for name, value in self.settings.items():
            setattr(rpc_controller, name, value)
        done(request)

    def push(self, rpc_controller, request, done):
        self.seen.append(rpc_controller)
        for name, value in self.settings.items():
            setattr(rpc_controller, name, value)
        done(request)


@pytest.mark.parametrize("protocol", [BAIDU, HULU], ids=lambda one: one.name)
@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_attachments_both_ways(protocol, size, face, pair):
    _, channel = pair(Mirror(), protocol)
    attachment = random.Random(size).randbytes(size)
    controller = Controller(timeout=20, request_attachment=attachment)
    blob = Blob(data=b"the message")
    assert face.call(channel, "blob", controller, blob) == (blob, None)
    assert controller.response_attachment == attachment
    assert isinstance(controller.response_attachment, bytes)


def test_an_attachment_with_an_empty_message(pair):
    _, channel = pair(Mirror())
    controller = Controller(request_attachment=b"raw")
    assert Numbers_Stub(channel).blob(controller, Blob()) == Blob()
    assert controller.response_attachment == b"raw"


def test_metadata_both_ways(face, pair):
    _, channel = pair(Mirror())
    metadata = {"user": "ada", "empty": "", "größe": "∞ ✓", "long": "x" * 5000}
    controller = Controller(metadata=metadata)
    assert face.call(channel, "blob", controller, Blob()) == (Blob(), None)
    assert controller.response_metadata == metadata
    assert controller.metadata == metadata, "what is sent stays for the next call"


def test_what_came_back_is_gone_with_the_next_use(pair):
    mirror = Mirror()
    _, channel = pair(mirror)
    stub = Numbers_Stub(channel)
    controller = Controller(metadata={"k": "v"}, request_attachment=b"raw")
    stub.blob(controller, Blob())
    assert (controller.response_metadata, controller.response_attachment) == ({"k": "v"}, b"raw")
    stub.push(controller, HELLO)  # which sends nothing back
    assert (controller.response_metadata, controller.response_attachment) == ({}, b"")
    assert mirror.seen[1].metadata == {"k": "v"}, "said before the call, kept for the next one"


def test_a_failure_brings_no_attachment(pair, numbers):
    def push(rpc_controller, request, done):
        rpc_controller.response_attachment = b"raw"
        raise RpcError(Code.NOT_FOUND, "no such game")

    _, channel = pair(numbers(push=push))
    controller = Controller()
    with pytest.raises(RpcError) as caught:
        Numbers_Stub(channel).push(controller, HELLO)
    assert caught.value.code is Code.NOT_FOUND
    assert controller.response_attachment == b""


@pytest.mark.parametrize("protocol", [BAIDU, HULU, Sofa()], ids=lambda one: one.name)
@pytest.mark.parametrize(("up", "down"), list(itertools.product(COMPRESSIONS, COMPRESSIONS)))
def test_each_compression_of_request_and_response(protocol, up, down, pair):
    server, channel = pair(Mirror(response_compression=down), protocol)
    stub = Numbers_Stub(channel)
    for data in (
        b"",
        b"x",
        b"the same again and again " * 4000,
        random.Random(1).randbytes(50_000),
    ):
        assert stub.blob(Controller(compression=up), Blob(data=data)) == Blob(data=data)
    stats = server.stats()
    if up != "none":
        assert stats["bytes_received_total"] < 80_000
    if down != "none":
        assert stats["bytes_sent_total"] < 80_000


@pytest.mark.parametrize(("up", "down"), list(itertools.product(CHECKSUMS, CHECKSUMS)))
def test_each_checksum_with_attachment_and_compression(up, down, pair):
    _, channel = pair(Mirror(response_checksum=down, response_compression="snappy"))
    for compression in COMPRESSIONS:
        controller = Controller(
            checksum=up, compression=compression, request_attachment=b"raw" * 99
        )
        blob = Blob(data=b"data " * 100)
        assert Numbers_Stub(channel).blob(controller, blob) == blob
        assert controller.response_attachment == b"raw" * 99


@pytest.fixture
def ear(prpc):
    """A listening socket, and what it is called with: `ear.frame()`, `ear.answer(…)`."""

    class Ear:
        def __init__(self):
            self.listening = socket.create_server(("127.0.0.1", 0))
            self.address = "{}:{}".format(*self.listening.getsockname())
            self.listening.settimeout(10)
            self.sock = None

        def frame(self):
            if self.sock is None:
                self.sock, _ = self.listening.accept()
                self.sock.settimeout(10)
            return prpc.read(self.sock)

        def answer(self, meta, data, **more):
            self.sock.sendall(prpc.response(meta[4], data, **more))

        def close(self):
            self.listening.close()
            if self.sock:
                self.sock.close()

    one = Ear()
    yield one
    one.close()


def test_what_is_on_the_wire(ear, prpc, channel_factory, in_thread):
    stub = Numbers_Stub(channel_factory(ear.address, protocol=BAIDU))
    controller = Controller(
        timeout=10,
        metadata={"k": "v"},
        request_attachment=b"raw",
        compression="zlib",
        checksum="message_and_attachment",
        log_id=5,
        request_id="r-1",
    )
    controller.trace_id, controller.span_id, controller.parent_span_id = 6, 7, 8
    result = in_thread(lambda: stub.push(controller, HELLO))
    meta, data = ear.frame()
    named = prpc.fields(meta[1])
    assert (named[1], named[2]) == (prpc.NUMBERS, b"push")
    assert 5000 < named[8] <= 10_000, "timeout_ms"
    assert meta[3] == prpc.ZLIB
    assert meta[5] == 3, "attachment_size"
    assert data[-3:] == b"raw"
    assert prpc.inflate(prpc.ZLIB, data[:-3]) == HELLO.SerializeToString()
    assert prpc.field(1, b"k") + prpc.field(2, b"v") in meta[prpc.USER_FIELDS]
    assert (meta[11], meta[13]) == (1, 1)
    assert meta[12] == prpc.crc32c_masked(data)
    numbers = {value for value in named.values() if isinstance(value, int)}
    assert {5, 6, 7, 8} <= numbers
    assert b"r-1" in named.values()
    more = prpc.field(5, 4) + prpc.field(9, prpc.field(1, b"a") + prpc.field(2, b"b"))
    ear.answer(meta, HELLO.SerializeToString() + b"back", more=more)
    assert result() == HELLO
    assert controller.response_attachment == b"back"
    assert controller.response_metadata == {"a": "b"}


def test_a_wrong_checksum_of_a_request_is_refused(pair, prpc, raw_socket):
    mirror = Mirror()
    server, _ = pair(mirror)
    sock = raw_socket(server.address)
    body = HELLO.SerializeToString()
    for value, code in ((prpc.crc32c_masked(body), 0), (b"\0\0\0\1", 1003)):
        more = prpc.field(11, 1) + prpc.field(12, value)
        sock.sendall(prpc.request("push", body, more=more))
        meta, _ = prpc.read(sock)
        assert meta[4] == 7
        assert prpc.fields(meta[2]).get(1, 0) == code
    assert len(mirror.seen) == 1


def test_a_wrong_checksum_of_a_response_is_an_internal_error(ear, prpc, channel_factory, in_thread):
    channel = channel_factory(ear.address, protocol=BAIDU)
    for _ in range(2):
        result = in_thread(lambda: Numbers_Stub(channel).push(None, HELLO))
        meta, data = ear.frame()
        ear.answer(meta, data, more=prpc.field(11, 1) + prpc.field(12, b"\0\0\0\1"))
        with pytest.raises(RpcError, match="(?i)checksum") as caught:
            result()
        assert caught.value.code is Code.INTERNAL
    assert channel.stats()["connects_total"] == 1, "it costs one call and no connection"


@pytest.mark.parametrize(
    "more", [[(3, 9)], [(5, 1000)]], ids=["compression unknown", "attachment too long"]
)
def test_what_makes_no_sense_in_a_request_is_refused(more, pair, prpc, raw_socket):
    mirror = Mirror()
    server, _ = pair(mirror)
    sock = raw_socket(server.address)
    extra = b"".join(prpc.field(number, value) for number, value in more)
    sock.sendall(prpc.request("push", HELLO.SerializeToString(), more=extra))
    answer = prpc.read(sock)
    assert answer is None or prpc.fields(answer[0][2])[1] == 1003
    assert mirror.seen == []
    assert server.stats()["panics_total"] == 0


def test_ids_are_carried(face, pair):
    mirror = Mirror()
    for protocol in (BAIDU, HULU):
        _, channel = pair(mirror, protocol)
        for value in (0, 1, 2**63 - 1):
            controller = Controller(log_id=value)
            for name in IDS:
                setattr(controller, name, value)
            assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
            assert [getattr(mirror.seen[-1], name) for name in IDS] == [value] * 4
        assert face.call(channel, "push", Controller(), HELLO) == (HELLO, None)
        assert [getattr(mirror.seen[-1], name) for name in IDS] == [None] * 4
    _, channel = pair(mirror, BAIDU)
    assert face.call(channel, "push", Controller(request_id="r-ü"), HELLO) == (HELLO, None)
    assert mirror.seen[-1].request_id == "r-ü"


@pytest.mark.parametrize("extra", REQUEST)
def test_what_a_protocol_cannot_carry_is_a_value_error(extra, pair, answers, protocol):
    server, channel = pair(answers, protocol)
    controller = Controller()
    name, value = REQUEST[extra]
    setattr(controller, name, value)
    if protocol.name in CARRIES[extra]:
        assert Numbers_Stub(channel).push(controller, HELLO) == HELLO
        return
    with pytest.raises(ValueError, match=f"{protocol.name}.*{extra}"):
        Numbers_Stub(channel).push(controller, HELLO)
    assert answers.values == []
    assert channel.stats()["calls_sent_total"] == 0
    fresh = Controller()
    setattr(controller, name, getattr(fresh, name))
    assert Numbers_Stub(channel).push(controller, HELLO) == HELLO, "it is free again"
    assert server.stats()["calls_received_total"] == 1


def test_it_is_a_value_error_in_the_call_on_every_face(face, pair, answers):
    _, channel = pair(answers, Sofa())
    controller = Controller(request_attachment=b"raw")
    if face.raises:
        response, error = face.call(channel, "push", controller, HELLO)
        assert response is None
        assert isinstance(error, ValueError)
    else:
        told = []
        with pytest.raises(ValueError, match="attachment"):
            Numbers_Stub(channel).push(controller, HELLO, told.append)
        assert told == []
    controller.request_attachment = b""
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    assert answers.values == [1]


@pytest.mark.parametrize("extra", RESPONSE)
def test_what_the_protocol_of_a_response_cannot_carry_fails_the_call(extra, pair, protocol):
    name, value = RESPONSE[extra]
    service = Mirror(**{name: value})
    _, channel = pair(service, protocol)
    controller = Controller()
    if protocol.name in CARRIES[extra]:
        assert Numbers_Stub(channel).push(controller, HELLO) == HELLO
        return
    with pytest.raises(RpcError) as caught:
        Numbers_Stub(channel).push(controller, HELLO)
    if isinstance(protocol, Indexed):
        assert caught.value.code is Code.UNAVAILABLE
    else:
        assert caught.value.code is Code.INTERNAL
        assert extra in caught.value.text


def test_a_response_that_cannot_be_sent_is_counted_as_failed(pair, wait_until):
    server, channel = pair(Mirror(response_metadata={"k": "v"}), Sofa())
    with pytest.raises(RpcError):
        Numbers_Stub(channel).push(None, HELLO)
    wait_until(lambda: server.stats()["calls_total"])
    assert server.stats()["calls_total"] == {"INTERNAL": 1}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("metadata", {"a": 1}),
        ("metadata", {1: "a"}),
        ("request_attachment", "text"),
        ("compression", "lz4"),
        ("checksum", "md5"),
        ("log_id", "5"),
        ("request_id", 5),
    ],
)
def test_a_value_that_makes_no_sense_raises_and_sends_nothing(name, value, pair, answers):
    _, channel = pair(answers)
    controller = Controller()
    with pytest.raises((TypeError, ValueError)):  # noqa: PT012  (at the one or the other)
        setattr(controller, name, value)
        Numbers_Stub(channel).push(controller, HELLO)
    assert answers.values == []
    fresh = Controller()
    setattr(controller, name, getattr(fresh, name))
    assert Numbers_Stub(channel).push(controller, HELLO) == HELLO


@pytest.mark.parametrize("value", [2**64, -(2**64)])
@pytest.mark.parametrize("name", IDS)
def test_an_id_of_more_than_64_bits_is_refused_by_name(name, value, pair, answers):
    _, channel = pair(answers)
    controller = Controller()
    with pytest.raises((ValueError, OverflowError)):  # noqa: PT012  (at the one or the other)
        setattr(controller, name, value)
        Numbers_Stub(channel).push(controller, HELLO)
    assert answers.values == []


def test_settings_of_a_response_that_make_no_sense_raise_in_the_handler(pair, numbers):
    errors = []

    def push(rpc_controller, request, done):
        for name, value in (
            ("response_attachment", "text"),
            ("response_metadata", {"k": 1}),
            ("response_compression", "lz4"),
            ("response_checksum", "md5"),
        ):
            try:
                setattr(rpc_controller, name, value)
            except (TypeError, ValueError) as error:
                errors.append((name, error))
        done(request)

    _, channel = pair(numbers(push=push))
    assert Numbers_Stub(channel).push(None, HELLO) == HELLO
    assert len(errors) == 4


def test_a_call_that_becomes_too_large_while_it_waits_fails_on_every_face(
    face, server_factory, channel_factory, answers, short_tmp, wait_until
):
    address = f"unix:{short_tmp}/socket"
    channel = channel_factory(address, protocol=BaiduStd(max_length=10_000))
    controller = Controller(timeout=10)
    large = face.start(channel, "push", controller, Number(value=1, note="x" * 9_000))
    wait_until(lambda: channel.stats()["connect_failures_total"])
    small = face.start(channel, "push", Controller(timeout=10), HELLO)
    # It is told with the first call, which is on its way already.
    channel.set_credential(b"c" * 2_000)
    server_factory(answers, address, protocols=[BaiduStd()])
    response, error = large.outcome()
    assert response is None
    if face.raises:
        assert isinstance(error, RpcError)
        assert error.code is Code.INVALID_ARGUMENT
    assert controller.code is Code.INVALID_ARGUMENT
    assert "the limit is 10000" in controller.ErrorText()
    assert small.outcome() == (HELLO, None)
    assert answers.values == [1]
