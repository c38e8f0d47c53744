"""The life of a server: what it serves, start, wait, stop and what it counts.

Where it listens is in test_listening.py, what a stop does to running traffic in test_stop.py.
"""

import re
import socket
import threading
import time

import pytest

import callmethod
import testing_pb2
from testing_pb2 import Number

DICTS = {"disconnects_total", "calls_total", "rejected_total"}
NUMBERS = {
    "connections",
    "connections_total",
    "connects_total",
    "connect_failures_total",
    "calls_received_total",
    "calls_in_flight",
    "calls_queued",
    "responses_discarded_total",
    "late_endings_total",
    "calls_sent_total",
    "calls_unsent_total",
    "bytes_received_total",
    "bytes_sent_total",
    "log_records_dropped_total",
    "panics_total",
    "accept_errors_total",
    "replies_sent_total",
    "replies_unsent_total",
    "late_replies_total",
    "retries_total",
}
LABELS = {
    "length_below_header",
    "length_above_limit",
    "unknown_method",
    "bad_body",
    "truncated",
    "bad_magic",
    "bad_sizes",
    "bad_meta",
    "unknown_protocol",
    "handshake_timeout",
    "too_many_connections",
    "frame_timeout",
    "unfinished_bytes",
    "unauthenticated",
    "unexpected_reply",
    "overload",
    "stopping",
    "expired",
}


def assert_whole(stats):
    assert set(stats) >= DICTS | NUMBERS
    for key in DICTS:
        assert isinstance(stats[key], dict), key
    for key in NUMBERS:
        assert isinstance(stats[key], int), key
        assert stats[key] >= 0, key
    assert set(stats["rejected_total"]) <= LABELS


class Shapeless:
    """Has the methods of a service and none of its shape."""

    def push(self, rpc_controller, request, done):
        done(request)


def test_address_has_the_port_that_was_given(server_factory, recorder):
    server = server_factory(recorder)
    host, port = server.address.rsplit(":", 1)
    assert host == "127.0.0.1"
    with socket.create_connection((host, int(port)), timeout=5):
        pass


def test_address_before_start_raises():
    with pytest.raises(RuntimeError):
        _ = callmethod.Server("127.0.0.1:0").address


def test_context_manager_starts_and_stops(recorder, channel_factory, wait_until):
    server = callmethod.Server("127.0.0.1:0")
    server.add_service(recorder)
    with server as entered:
        assert entered is server
        port = int(server.address.rsplit(":", 1)[1])
        channel = channel_factory(server.address)
        testing_pb2.Numbers_Stub(channel).push(None, Number(value=3))
        wait_until(lambda: recorder.values == [3])
        channel.close()
    assert server.wait(0) is True
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


@pytest.mark.parametrize(
    ("service", "says"),
    [
        (testing_pb2.Numbers_Stub(None), "(?i)stub"),
        (testing_pb2.Numbers_Stub, "(?i)stub|class"),
        (testing_pb2.Numbers, "(?i)class|instance"),
        (Shapeless(), "Shapeless"),
        (Shapeless, "(?i)class|instance|Shapeless"),
        ("callmethod.testing.Numbers", "str"),
        (testing_pb2.Number(value=1), "Number"),
    ],
    ids=["stub", "stub class", "class", "object", "other class", "name", "message"],
)
def test_what_is_no_service_is_refused(service, says):
    with pytest.raises(TypeError, match=says):
        callmethod.Server("127.0.0.1:0").add_service(service)


def test_add_service_takes_either_a_service_or_a_factory(recorder):
    server = callmethod.Server("127.0.0.1:0")
    with pytest.raises(TypeError):
        server.add_service()
    with pytest.raises(TypeError):
        server.add_service(recorder, factory=lambda channel: recorder)
    with pytest.raises(TypeError):
        server.add_service(factory=7)


def test_a_service_that_is_no_generated_class_is_taken_by_shape(
    server_factory, raw_socket, frame, wait_until
):
    class ByHand:
        def __init__(self):
            self.calls = []

        def GetDescriptor(self):
            return testing_pb2.DESCRIPTOR.services_by_name["Numbers"]

        def GetRequestClass(self, method):
            return Number

        def GetResponseClass(self, method):
            return Number

        def CallMethod(self, method, rpc_controller, request, done):
            self.calls.append((method.name, request.value))
            done(request)

    service = ByHand()
    server = server_factory(service)
    raw_socket(server.address).sendall(frame(1, Number(value=8)))
    wait_until(lambda: service.calls == [("twice", 8)])


def test_start_without_a_service_raises():
    with pytest.raises(ValueError, match="(?i)service"):
        callmethod.Server("127.0.0.1:0").start()


class Other(testing_pb2.Single):
    def __init__(self):
        self.values = []

    def only(self, rpc_controller, request, done):
        self.values.append(request.value)


def test_two_services_need_one_to_be_named(recorder):
    server = callmethod.Server("127.0.0.1:0")
    server.add_service(recorder)
    server.add_service(Other())
    with pytest.raises(ValueError, match="service="):
        server.start()


def test_of_two_services_the_named_one_is_served(recorder, raw_socket, frame, wait_until):
    other = Other()
    layout = callmethod.Indexed(service="callmethod.testing.Single")
    server = callmethod.Server("127.0.0.1:0", protocols=[layout])
    server.add_service(recorder)
    server.add_service(other)
    with server:
        with raw_socket(server.address) as sock:
            sock.sendall(frame(0, Number(value=4)))
            wait_until(lambda: other.values == [4])
        server.stop(grace=1)
    assert recorder.values == []


def test_a_named_service_that_was_not_added_raises(recorder):
    layout = callmethod.Indexed(service="callmethod.testing.Nobody")
    server = callmethod.Server("127.0.0.1:0", protocols=[layout])
    server.add_service(recorder)
    with pytest.raises(ValueError, match=re.escape("callmethod.testing.Nobody")):
        server.start()


@pytest.mark.parametrize("workers", [0, -1])
def test_max_workers_is_at_least_one(workers):
    with pytest.raises(ValueError, match="max_workers"):
        callmethod.Server("127.0.0.1:0", max_workers=workers)


def test_start_twice_raises_and_harms_nothing(
    server_factory, recorder, raw_socket, frame, wait_until
):
    server = server_factory(recorder)
    with pytest.raises(RuntimeError):
        server.start()
    raw_socket(server.address).sendall(frame(0, Number(value=1)))
    wait_until(lambda: recorder.values == [1])


def test_add_service_after_start_raises(server_factory, recorder):
    server = server_factory(recorder)
    with pytest.raises(RuntimeError):
        server.add_service(Other())


def test_stop_twice_and_stop_before_start_cut_nothing(recorder):
    never_started = callmethod.Server("127.0.0.1:0")
    never_started.add_service(recorder)
    server = callmethod.Server("127.0.0.1:0")
    server.add_service(recorder)
    server.start()
    for summary in (never_started.stop(), server.stop(), server.stop(grace=0)):
        assert summary.connections_cut == 0
        assert summary.calls_cut == 0
        assert summary.calls_running == 0
    with pytest.raises(RuntimeError):
        server.start()


def test_wait_tells_a_running_server_from_a_stopped_one(server_factory, recorder):
    server = server_factory(recorder)
    started = time.monotonic()
    assert server.wait(0.1) is False
    assert 0.09 <= time.monotonic() - started < 2
    assert server.wait(timeout=0) is False
    server.stop(grace=0)
    assert server.wait() is True
    assert server.wait(0) is True


def test_wait_on_another_thread_ends_with_the_stop(server_factory, recorder, in_thread):
    server = server_factory(recorder)
    waiting = threading.Event()

    def wait():
        waiting.set()
        return server.wait(20)

    result = in_thread(wait)
    assert waiting.wait(5)
    server.stop(grace=0)
    assert result(5) is True


def test_stats_have_every_key_at_every_moment(server_factory, channel_factory, recorder):
    assert_whole(callmethod.Server("127.0.0.1:0").stats())
    server = server_factory(recorder)
    assert_whole(server.stats())
    channel = channel_factory(server.address)
    assert_whole(channel.stats())
    channel.connect()
    assert_whole(channel.stats())
    channel.close()
    assert_whole(channel.stats())
    server.stop(grace=0)
    assert_whole(server.stats())


def test_stats_are_a_copy(server_factory, recorder):
    server = server_factory(recorder)
    server.stats()["connections"] = 99
    server.stats()["rejected_total"]["bad_body"] = 99
    assert server.stats()["connections"] == 0
    assert server.stats()["rejected_total"].get("bad_body", 0) == 0


def test_stats_count_what_crossed_the_wire(server_factory, recorder, raw_socket, frame, wait_until):
    server = server_factory(recorder)
    frames = [frame(0, Number(value=value)) for value in (1, 300, 70_000)]
    with raw_socket(server.address) as sock:
        sock.sendall(b"".join(frames))
        wait_until(lambda: server.stats()["calls_total"].get("ok", 0) == 3)
        stats = server.stats()
        assert stats["connections"] == 1
        assert stats["connections_total"] == 1
        assert stats["calls_received_total"] == 3
        assert stats["bytes_received_total"] == sum(map(len, frames))
        assert stats["bytes_sent_total"] == 0
        assert stats["calls_queued"] == stats["calls_in_flight"] == 0
        assert stats["panics_total"] == stats["accept_errors_total"] == 0
    wait_until(lambda: server.stats()["connections"] == 0)
    assert server.stats()["disconnects_total"]["peer_closed"] == 1


def test_gauges_show_a_handler_that_waits(server_factory, recorder, raw_socket, frame, wait_until):
    recorder.gate.clear()
    server = server_factory(recorder)
    with raw_socket(server.address) as sock:
        sock.sendall(b"".join(frame(0, Number(value=value)) for value in range(3)))
        wait_until(lambda: server.stats()["calls_received_total"] == 3)
        wait_until(lambda: recorder.values == [0])
        stats = server.stats()
        assert stats["calls_in_flight"] == 3
        assert stats["calls_queued"] == 2
        recorder.gate.set()
        wait_until(lambda: server.stats()["calls_in_flight"] == 0)
        assert server.stats()["calls_queued"] == 0


def test_a_subclass_may_have_any_init(recorder, raw_socket, frame, wait_until):
    class Named(callmethod.Server):
        def __init__(self, name, service):
            super().__init__("127.0.0.1:0", max_workers=2)
            self.name = name
            self.add_service(service)

    with Named("games", recorder) as server:
        assert server.name == "games"
        with raw_socket(server.address) as sock:
            sock.sendall(frame(0, Number(value=5)))
            wait_until(lambda: recorder.values == [5])
        server.stop(grace=1)


def test_a_layout_without_an_index_is_for_one_method(numbers):
    server = callmethod.Server(protocols=[callmethod.Indexed(index_width=0)])
    server.add_service(numbers(print))
    with pytest.raises(ValueError, match="one method; callmethod.testing.Numbers has 5"):
        server.start()
