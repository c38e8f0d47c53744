"""Deadlines: how long a call may take, who is told of it, and what hangs on an incoming one."""

import asyncio
import threading
import time

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, Code, Controller, RpcError, ServerOptions
from testing_pb2 import Number, Numbers, Numbers_Stub

HELLO = Number(value=1)
# The protocols whose requests have a field for it.
CARRIED = [BaiduStd()]


@pytest.mark.parametrize("timeout", [0, 0.0])
def test_nothing_left_sends_nothing(timeout, face, pair, answers, protocol):
    server, channel = pair(answers, protocol)
    channel.connect()
    controller = Controller(timeout=timeout)
    started = time.monotonic()
    _, error = face.call(channel, "push", controller, HELLO)
    assert time.monotonic() - started < 1
    assert controller.code is Code.DEADLINE_EXCEEDED
    assert error is None or error.code is Code.DEADLINE_EXCEEDED
    assert face.call(channel, "push", None, Number(value=2)) == (Number(value=2), None)
    assert answers.values == [2]
    assert server.stats()["calls_received_total"] == 1


@pytest.mark.parametrize("timeout", [-1, -0.001, float("nan")])
def test_a_deadline_in_the_past_is_a_mistake_of_the_caller(timeout, pair, answers):
    _, channel = pair(answers)
    with pytest.raises((ValueError, RpcError)) as caught:
        Numbers_Stub(channel).push(Controller(timeout=timeout), HELLO)
    assert getattr(caught.value, "code", Code.DEADLINE_EXCEEDED) is Code.DEADLINE_EXCEEDED
    assert answers.values == []


def test_a_millisecond(face, pair, answers, protocol, wait_until):
    _, channel = pair(answers, protocol)
    channel.connect()
    controllers = [Controller(timeout=0.001) for _ in range(20)]
    started = time.monotonic()
    for controller in controllers:
        face.call(channel, "twice", controller, HELLO)
    assert time.monotonic() - started < 20 * 0.1
    assert {one.code for one in controllers} == {Code.DEADLINE_EXCEEDED}


def test_it_is_kept_about_right(face, pair, answers, protocol):
    _, channel = pair(answers, protocol)
    controller = Controller(timeout=0.3)
    started = time.monotonic()
    face.call(channel, "twice", controller, HELLO)
    assert 0.29 <= time.monotonic() - started < 1.5
    assert controller.code is Code.DEADLINE_EXCEEDED
    assert "deadline" in controller.ErrorText()


def test_the_channel_s_default(face, pair, answers):
    _, channel = pair(answers, options=ChannelOptions(timeout=0.2))
    controller = Controller()
    started = time.monotonic()
    face.call(channel, "twice", controller, HELLO)
    assert 0.19 <= time.monotonic() - started < 1.5
    assert controller.code is Code.DEADLINE_EXCEEDED


def test_the_controller_s_own_wins_over_the_default(face, pair, answers, wait_until):
    _, channel = pair(answers, options=ChannelOptions(timeout=0.1))
    calls = [
        face.start(channel, "twice", Controller(timeout=timeout), HELLO) for timeout in (None, 20)
    ]
    wait_until(lambda: len(answers.held) == 2)
    time.sleep(0.3)
    assert not any(call.ended.is_set() for call in calls)
    answers.release()
    for call in calls:
        assert call.outcome() == (Number(value=2), None)


def test_late_answers_are_dropped_and_counted(face, pair, answers, protocol, wait_until):
    _, channel = pair(answers, protocol)
    controller = Controller(timeout=0.1)
    face.call(channel, "twice", controller, Number(value=50))
    assert controller.code is Code.DEADLINE_EXCEEDED
    wait_until(lambda: answers.held)
    answers.release()
    assert face.call(channel, "push", None, Number(value=3)) == (Number(value=3), None)
    # A server that was told of the deadline has answered by itself.
    if protocol not in CARRIED:
        wait_until(lambda: channel.stats()["late_replies_total"] == 1)


def remaining_of(pair, numbers, protocol, timeout, options=None):
    seen = []

    def push(rpc_controller, request, done):
        seen.append(rpc_controller.time_remaining())
        done(request)

    _, channel = pair(numbers(push=push), protocol, options=options)
    Numbers_Stub(channel).push(Controller(*timeout), HELLO)
    return seen[0]


@pytest.mark.parametrize("carried", CARRIED, ids=lambda one: one.name)
def test_the_server_is_told(carried, pair, numbers):
    assert 3 < remaining_of(pair, numbers, carried, [9]) <= 9
    assert remaining_of(pair, numbers, carried, [None]) is None
    assert 1 < remaining_of(pair, numbers, carried, [], ChannelOptions(timeout=4)) <= 4
    assert remaining_of(pair, numbers, carried, [], ChannelOptions(timeout=None)) is None


def test_a_protocol_that_cannot_carry_it_has_none(pair, numbers, protocol):
    if protocol in CARRIED:
        pytest.skip("carries it")
    assert remaining_of(pair, numbers, protocol, [9]) is None


def test_what_expires_in_the_queue_is_never_run(face, pair, numbers, wait_until):
    gate, ran = threading.Event(), []

    def push(rpc_controller, request, done):
        ran.append(request.value)
        gate.wait(10)
        done(request)

    server, channel = pair(numbers(push=push), max_workers=1)
    first = face.start(channel, "push", Controller(timeout=20), Number(value=0))
    wait_until(lambda: ran == [0])
    controllers = [Controller(timeout=0.2) for _ in range(5)]
    calls = [
        face.start(channel, "push", one, Number(value=value))
        for value, one in enumerate(controllers, 1)
    ]
    for call in calls:
        call.outcome()
    wait_until(lambda: server.stats()["calls_received_total"] == 6)
    assert {one.code for one in controllers} == {Code.DEADLINE_EXCEEDED}
    time.sleep(0.1)  # the server's own clock of these calls started a little later
    gate.set()
    assert first.outcome() == (Number(value=0), None)
    assert face.call(channel, "push", None, Number(value=9)) == (Number(value=9), None)
    assert ran == [0, 9]
    assert server.stats()["calls_total"] == {"ok": 2, "DEADLINE_EXCEEDED": 5}


def test_what_expires_in_the_queue_is_counted(pair, numbers, wait_until):
    gate, ran = threading.Event(), []

    def push(rpc_controller, request, done):
        ran.append(request.value)
        gate.wait(10)
        done(request)

    server, channel = pair(numbers(push=push), max_workers=1)
    stub, ended = Numbers_Stub(channel), []
    stub.push(Controller(timeout=20), Number(value=0), ended.append)
    wait_until(lambda: ran == [0])
    for _ in range(5):
        stub.push(Controller(timeout=0.1), HELLO, ended.append)
    wait_until(lambda: ended == [None] * 5)
    time.sleep(0.1)  # the server's own clock of these calls started a little later
    gate.set()
    wait_until(lambda: len(ended) == 6)
    wait_until(lambda: server.stats()["rejected_total"].get("expired") == 5)


def test_what_has_expired_keeps_no_seat_in_the_queue(pair, numbers, wait_until):
    gate, ran = threading.Event(), []

    def push(rpc_controller, request, done):
        ran.append(request.value)
        gate.wait(10)
        done(request)

    server, channel = pair(
        numbers(push=push),
        options=ChannelOptions(max_retry=0),
        max_workers=1,
        server_options=ServerOptions(max_queued_calls=5),
    )
    stub, expired, ended = Numbers_Stub(channel), [], []
    stub.push(Controller(timeout=20), Number(value=0), ended.append)
    wait_until(lambda: ran == [0])
    for _ in range(5):
        stub.push(Controller(timeout=0.1), HELLO, expired.append)
    wait_until(lambda: expired == [None] * 5)
    wait_until(lambda: server.stats()["calls_in_flight"] == 1)
    assert server.stats()["calls_queued"] == 0
    stub.push(Controller(timeout=20), Number(value=2), ended.append)
    wait_until(lambda: server.stats()["calls_received_total"] == 7)
    gate.set()
    wait_until(lambda: ended == [Number(value=0), Number(value=2)])
    assert ran == [0, 2]


def test_what_waits_longer_than_max_queue_time_is_never_run(face, pair, numbers, wait_until):
    gate, ran = threading.Event(), []

    def push(rpc_controller, request, done):
        ran.append(request.value)
        gate.wait(10)
        done(request)

    server, channel = pair(
        numbers(push=push),
        options=ChannelOptions(max_retry=0),
        max_workers=1,
        server_options=ServerOptions(max_queue_time=0.2),
    )
    first = face.start(channel, "push", Controller(timeout=None), Number(value=0))
    wait_until(lambda: ran == [0])
    controller = Controller(timeout=None)
    call = face.start(channel, "push", controller, Number(value=1))
    wait_until(lambda: server.stats()["calls_received_total"] == 2)
    time.sleep(0.4)
    gate.set()
    assert first.outcome() == (Number(value=0), None)
    response, _ = call.outcome()
    assert response is None
    assert (controller.code, controller.native_code) == (Code.RESOURCE_EXHAUSTED, 2004)
    assert ran == [0]
    assert sum(server.stats()["rejected_total"].values()) == 1


def test_a_deadline_that_passes_while_the_handler_runs(face, pair, numbers, wait_until):
    told, ends, seen = [], [], {}

    def push(rpc_controller, request, done):
        seen.update(before=rpc_controller.IsCanceled(), controller=rpc_controller, done=done)
        rpc_controller.NotifyOnCancel(lambda: told.append(rpc_controller.IsCanceled()))

    server, channel = pair(numbers(push=push))
    controller = Controller(timeout=0.2)
    face.call(channel, "push", controller, HELLO)
    assert controller.code is Code.DEADLINE_EXCEEDED
    wait_until(lambda: told)
    assert told == [True]
    assert seen["before"] is False
    assert seen["controller"].IsCanceled() is True
    assert seen["controller"].time_remaining() == 0
    wait_until(lambda: server.stats()["calls_total"] == {"DEADLINE_EXCEEDED": 1})
    seen["controller"].SetFailed("too late to fail")
    seen["done"](HELLO)
    assert server.stats()["late_endings_total"] >= 1
    assert server.stats()["calls_total"] == {"DEADLINE_EXCEEDED": 1}
    with pytest.raises(RuntimeError):
        seen["done"](HELLO)
    seen["controller"].NotifyOnCancel(lambda: ends.append(1))
    wait_until(lambda: ends == [1])
    assert told == [True], "told a second time"
    assert server.stats()["calls_in_flight"] == 0


def test_the_server_answers_a_deadline_by_itself(pair, answers, raw_socket, load_file, wait_until):
    """A peer that is more patient than its own timeout_ms is answered 1008."""
    prpc = load_file("calls/prpc.py")
    server, _ = pair(answers)
    sock = raw_socket(server.address)
    sock.sendall(prpc.request("twice", HELLO.SerializeToString(), call_id=7, timeout_ms=100))
    meta, data = prpc.read(sock)
    assert meta[4] == 7
    assert prpc.fields(meta[2])[1] == 1008
    assert data == b""
    wait_until(lambda: server.stats()["calls_total"] == {"DEADLINE_EXCEEDED": 1})


class Hop(Numbers):
    """Passes the call on, and notes the time that it had left."""

    def __init__(self, onward, pause=0.0):
        self.onward = onward
        self.pause = pause
        self.left = []
        self.errors = []

    def note(self, rpc_controller):
        self.left.append(rpc_controller.time_remaining())

    def push(self, rpc_controller, request, done):
        self.note(rpc_controller)
        time.sleep(self.pause)
        try:
            answer = self.onward and Numbers_Stub(self.onward).push(None, request)
        except RpcError as error:
            self.errors.append(error.code)
            raise
        done(answer or request)


class AsyncHop(Hop):
    async def push(self, rpc_controller, request, done):
        self.note(rpc_controller)
        await asyncio.sleep(self.pause)
        try:
            answer = self.onward and await Numbers_Stub(callmethod.aio.awaitable(self.onward)).push(
                None, request
            )
        except RpcError as error:
            self.errors.append(error.code)
            raise
        return answer or request


class CallbackHop(Hop):
    def push(self, rpc_controller, request, done):
        self.note(rpc_controller)
        time.sleep(self.pause)
        if self.onward is None:
            done(request)
            return
        controller = Controller()

        def ended(response):
            if response is None:
                self.errors.append(controller.code)
                rpc_controller.SetFailed(controller.ErrorText())
            done(response)

        Numbers_Stub(self.onward).push(controller, request, ended)


@pytest.fixture(params=[Hop, AsyncHop, CallbackHop], ids=["sync", "async", "callback"])
def hops(request, pair):
    """``hops(pause_a, pause_b)``: (channel to A, [A, B, C]), each with one that it calls."""

    def make(pause_a=0.0, pause_b=0.0):
        c = request.param(None)
        b = request.param(pair(c)[1], pause_b)
        a = request.param(pair(b)[1], pause_a)
        return pair(a)[1], [a, b, c]

    return make


def test_it_is_handed_on_over_three_hops(hops, face):
    channel, services = hops(0.1, 0.1)
    assert face.call(channel, "push", Controller(timeout=3.0), HELLO) == (HELLO, None)
    [a], [b], [c] = (service.left for service in services)
    # Not the channels' default of 5 s anywhere, and less at each hop.
    assert 1 < c <= b - 0.09 <= a - 0.18 <= 3.0 - 0.18


def test_none_is_handed_on_where_none_came_in(hops, face):
    channel, services = hops()
    assert face.call(channel, "push", Controller(timeout=None), HELLO) == (HELLO, None)
    assert services[0].left == [None]
    assert 4 < services[1].left[0] <= 5, "the channel's default"


def test_the_last_handler_is_not_run_when_it_is_spent(hops, face, wait_until):
    channel, services = hops(0.0, 0.5)
    controller = Controller(timeout=0.2)
    face.call(channel, "push", controller, HELLO)
    assert controller.code is Code.DEADLINE_EXCEEDED
    _, b, c = services
    wait_until(lambda: b.errors)
    assert b.errors == [Code.DEADLINE_EXCEEDED]
    assert c.left == []
    assert c.onward is None
    assert b.onward.stats()["calls_sent_total"] == 0, "nothing is sent"


@pytest.mark.parametrize(
    ("own", "least", "most"), [(0.5, 0.2, 0.5), (30, 0.6, 2.0), (None, 0.6, 2.0)]
)
def test_the_shorter_one_counts(own, least, most, pair, numbers):
    left = []

    def last(rpc_controller, request, done):
        left.append(rpc_controller.time_remaining())
        done(request)

    _, onward = pair(numbers(push=last))

    def first(rpc_controller, request, done):
        done(Numbers_Stub(onward).push(Controller(timeout=own), request))

    _, channel = pair(numbers(push=first))
    assert Numbers_Stub(channel).push(Controller(timeout=2.0), HELLO) == HELLO
    [seen] = left
    assert seen is not None
    assert least < seen <= most


def test_a_call_that_a_handler_left_behind_has_none_of_it(pair, numbers, in_thread):
    """The deadline is the handler's; a thread of its own has a context of its own."""
    left, results = [], []

    def last(rpc_controller, request, done):
        left.append(rpc_controller.time_remaining())
        done(request)

    _, onward = pair(numbers(push=last))

    def first(rpc_controller, request, done):
        results.append(in_thread(lambda: Numbers_Stub(onward).push(Controller(timeout=9), HELLO)))
        done(request)

    _, channel = pair(numbers(push=first))
    Numbers_Stub(channel).push(Controller(timeout=1.0), HELLO)
    assert results[0]() == HELLO
    assert 5 < left[0] <= 9
