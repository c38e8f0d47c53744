"""Who runs when: one connection in order and never two at once, connections side by side."""

import threading
import time

import pytest

from callmethod import Indexed
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub


class Watch(Numbers):
    """Notes for every handler: the value, the thread, and how many were inside at once."""

    def __init__(self, pause=0.0):
        self.pause = pause
        self.lock = threading.Lock()
        self.inside = 0
        self.inside_of = {}
        self.most = 0
        self.most_of_one = 0
        self.values = {}
        self.threads = set()

    def enter(self, channel):
        with self.lock:
            self.inside += 1
            self.inside_of[channel] = self.inside_of.get(channel, 0) + 1
            self.most = max(self.most, self.inside)
            self.most_of_one = max(self.most_of_one, self.inside_of[channel])
            self.threads.add(threading.get_ident())

    def leave(self, channel):
        with self.lock:
            self.inside -= 1
            self.inside_of[channel] -= 1

    def on_connected(self, channel):
        self.enter(channel)
        self.leave(channel)

    def on_disconnected(self, channel, reason):
        self.enter(channel)
        self.leave(channel)

    def push(self, rpc_controller, request, done):
        channel = rpc_controller.rpc_channel
        self.enter(channel)
        if self.pause and request.value % 10 == 0:
            time.sleep(self.pause)
        self.values.setdefault(channel, []).append(request.value)
        self.leave(channel)
        done(request)

    def count(self):
        return sum(map(len, list(self.values.values())))


@pytest.fixture
def calls(frame):
    """``calls(n)``: the frames of n numbered calls."""
    return lambda count: b"".join(frame(0, Number(value=value)) for value in range(count))


@pytest.mark.parametrize("workers", [None, 8, 1], ids=lambda workers: f"max_workers={workers}")
def test_one_connection_in_order_and_never_two_at_once(
    workers, server_factory, raw_socket, calls, wait_until
):
    service = Watch(pause=0.003)
    server = server_factory(service, max_workers=workers)
    raw_socket(server.address).sendall(calls(600))
    wait_until(lambda: service.count() == 600, timeout=10)
    assert list(service.values.values()) == [list(range(600))]
    assert service.most == 1


def test_many_connections_each_in_order(server_factory, raw_socket, calls, wait_until):
    service = Watch(pause=0.002)
    server = server_factory(service, max_workers=4)
    sockets = [raw_socket(server.address) for _ in range(8)]
    data = calls(100)
    half = len(data) // 2 + 3  # inside a frame
    for sock in sockets:
        sock.sendall(data[:half])
    for sock in sockets:
        sock.sendall(data[half:])
    wait_until(lambda: service.count() == 800, timeout=10)
    assert list(service.values.values()) == [list(range(100))] * 8
    assert service.most_of_one == 1
    assert service.most <= 4


def test_connections_run_side_by_side(numbers, server_factory, raw_socket, calls, wait_until):
    meeting = threading.Barrier(4)
    met = []

    def handler(controller, request, done):
        meeting.wait(8)
        met.append(request.value)

    server = server_factory(numbers(handler), max_workers=4)
    for _ in range(4):
        raw_socket(server.address).sendall(calls(2))
    wait_until(lambda: len(met) == 8, timeout=10)


def test_max_workers_is_reached_and_not_passed(
    numbers, server_factory, raw_socket, calls, wait_until
):
    gate = threading.Event()
    inside = []

    def handler(controller, request, done):
        inside.append(request.value)
        gate.wait(10)

    server = server_factory(numbers(handler), max_workers=2)
    try:
        for _ in range(5):
            raw_socket(server.address).sendall(calls(2))
        wait_until(lambda: server.stats()["calls_received_total"] == 10)
        wait_until(lambda: len(inside) == 2)
        assert server.stats()["calls_queued"] == 8
        time.sleep(0.05)  # time to go wrong in; a third would enter at once
        assert len(inside) == 2
    finally:
        gate.set()
    wait_until(lambda: len(inside) == 10)


def test_a_blocked_handler_holds_up_its_own_connection_alone(
    recorder, server_factory, raw_socket, frame, wait_until
):
    recorder.gate.clear()
    server = server_factory(recorder, max_workers=4)
    blocked = raw_socket(server.address)
    blocked.sendall(frame(0, Number(value=0)) + frame(0, Number(value=1)))
    wait_until(lambda: recorder.values == [0])
    other = raw_socket(server.address)
    other.sendall(frame(0, Number(value=2)))
    wait_until(lambda: recorder.values == [0, 2])
    recorder.gate.set()
    wait_until(lambda: sorted(recorder.values) == [0, 1, 2])


def test_one_worker_is_one_thread_and_one_at_a_time(server_factory, raw_socket, calls, wait_until):
    service = Watch(pause=0.002)
    server = server_factory(service, max_workers=1)
    sockets = [raw_socket(server.address) for _ in range(6)]
    for sock in sockets:
        sock.sendall(calls(100))
    wait_until(lambda: service.count() == 600, timeout=10)
    for sock in sockets:
        sock.close()
    wait_until(lambda: server.stats()["connections"] == 0)
    assert list(service.values.values()) == [list(range(100))] * 6
    assert service.most == 1
    assert len(service.threads) == 1, "hooks and handlers ran on more than one thread"
    assert threading.get_ident() not in service.threads


def test_one_worker_keeps_its_thread_over_pauses(server_factory, raw_socket, calls, wait_until):
    """Long handlers and idle times are when other threads would take over."""
    service = Watch(pause=0.05)
    server = server_factory(service, max_workers=1)
    sock = raw_socket(server.address)
    for turn in range(1, 6):
        sock.sendall(calls(3))
        wait_until(lambda turn=turn: service.count() == 3 * turn)
        time.sleep(0.02)  # an idle time, not a wait
    assert len(service.threads) == 1


def test_the_service_of_a_channel_keeps_the_order(
    server_factory, channel_factory, raw_socket, wait_until
):
    class Table(Numbers):
        def on_connected(self, channel):
            stub = Numbers_Stub(channel)
            for value in range(300):
                stub.push(None, Number(value=value))

    service = Watch(pause=0.002)
    channel = channel_factory(server_factory(Table()).address, service=service)
    channel.connect()
    wait_until(lambda: service.count() == 300)
    assert list(service.values.values()) == [list(range(300))]
    assert service.most == 1


class Large(Numbers):
    """Answers with much, and notes who came when."""

    def __init__(self):
        self.order = []
        self.gate = threading.Event()

    def push(self, rpc_controller, request, done):
        self.order.append("small")
        done(request)

    def blob(self, rpc_controller, request, done):
        self.order.append("large")
        self.gate.wait(10)
        done(Blob(data=bytes(200_000)))


def test_others_have_their_turn_between_large_answers(
    server_factory, raw_socket, frame, wait_until
):
    service = Large()
    server = server_factory(service, max_workers=1, protocols=[Indexed(reply="in_order")])
    one, other = raw_socket(server.address), raw_socket(server.address)
    small, large = frame(0, Number(value=1)), frame(4, Blob())
    other.sendall(small)
    assert other.recv(100)  # served from now on
    one.sendall(large * 5)
    wait_until(lambda: service.order == ["small", "large"])
    other.sendall(small)
    wait_until(lambda: server.stats()["calls_queued"] == 5)
    service.gate.set()
    wait_until(lambda: len(service.order) == 7)
    assert service.order == ["small", "large", "small", *["large"] * 4]


@pytest.mark.parametrize("nap", [0.0002, 0.001])
def test_short_waits_of_handlers_go_by_side_by_side(
    nap, numbers, server_factory, raw_socket, calls, wait_until
):
    """A worker for each connection, though one always gets on with some call or other."""
    lock = threading.Lock()
    inside = 0
    beside = []

    def handler(controller, request, done):
        nonlocal inside
        with lock:
            inside += 1
            beside.append(inside)
        time.sleep(nap)
        with lock:
            inside -= 1

    server = server_factory(numbers(handler), max_workers=8)
    for _ in range(8):
        raw_socket(server.address).sendall(calls(250))
    wait_until(lambda: len(beside) == 2000, timeout=20)
    # Were they to take turns, it would be one.
    assert sum(beside) / len(beside) > 2
