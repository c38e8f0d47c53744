"""One call on a channel: blocking or with a callback, refused, cancelled, from many threads."""

import asyncio
import collections
import logging
import sys
import threading
import time

import pytest
from google.protobuf.message import EncodeError

import callmethod
from callmethod import Code, Controller, RpcError
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub


@pytest.fixture
def server(server_factory, recorder):
    return server_factory(recorder)


@pytest.fixture
def channel(server, channel_factory):
    return channel_factory(server.address)


@pytest.fixture
def stub(channel):
    return Numbers_Stub(channel)


def test_a_blocking_call_returns_none(stub, recorder, wait_until):
    controller = Controller()
    assert stub.push(controller, Number(value=2)) is None
    assert not controller.Failed()
    assert controller.code in {None, Code.OK}
    wait_until(lambda: recorder.values == [2])


def test_done_is_called_once_on_another_thread(stub, channel, recorder, wait_until):
    controller = Controller()
    told = []
    assert (
        stub.push(
            controller, Number(value=2), lambda *given: told.append((given, threading.get_ident()))
        )
        is None
    )
    wait_until(lambda: recorder.values == [2] and told)
    channel.close()
    [(given, thread)] = told
    assert given == (None,)
    assert thread != threading.get_ident()
    assert not controller.Failed()


def test_done_of_a_failed_call_is_told_by_the_controller(channel_factory, refusing, wait_until):
    channel = channel_factory(refusing)
    controller = Controller(timeout=0.2)
    told = []
    Numbers_Stub(channel).push(
        controller,
        Number(value=1),
        lambda response: told.append((response, controller.Failed(), controller.code)),
    )
    wait_until(lambda: told)
    channel.close()
    assert told == [(None, True, Code.DEADLINE_EXCEEDED)]
    assert "refused" in controller.ErrorText().lower()


def test_callbacks_run_in_the_order_in_which_the_calls_ended(stub, recorder, wait_until):
    order = []
    for value in range(300):
        stub.push(None, Number(value=value), lambda _, value=value: order.append(value))
    wait_until(lambda: len(order) == 300)
    assert order == list(range(300))
    wait_until(lambda: recorder.values == list(range(300)))


def test_callbacks_never_run_two_at_once(stub, wait_until):
    busy = threading.Lock()
    clashes = []
    ended = []

    def done(response):
        if not busy.acquire(blocking=False):
            clashes.append(response)
            return
        time.sleep(0.001)
        busy.release()
        ended.append(response)

    for value in range(30):
        stub.push(None, Number(value=value), done)
    wait_until(lambda: len(ended) + len(clashes) == 30)
    assert not clashes


def test_a_callback_that_blocks_delays_no_io(stub, recorder, wait_until):
    gate = threading.Event()
    later = []
    try:
        stub.push(None, Number(value=0), lambda _: gate.wait(10))
        stub.push(None, Number(value=1), later.append)
        for value in range(2, 50):
            stub.push(None, Number(value=value))
        wait_until(lambda: recorder.values == list(range(50)))
        assert later == []
    finally:
        gate.set()
    wait_until(lambda: later == [None])


def test_an_exception_in_a_callback_harms_nobody(stub, monkeypatch, caplog, recorder, wait_until):
    caplog.set_level(logging.DEBUG, "callmethod")
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", lambda info: seen.append(info.exc_value))
    error = LookupError("the callback's own mistake")
    ended = []

    def fails(response):
        raise error

    stub.push(None, Number(value=1), fails)
    stub.push(None, Number(value=2), ended.append)
    wait_until(lambda: ended == [None] and recorder.values == [1, 2])
    assert seen == [error]
    wait_until(lambda: any(r.exc_info and r.exc_info[1] is error for r in caplog.records))


def test_a_callback_may_call_again(stub, recorder, wait_until):
    ended = []

    def next_call(response):
        if len(recorder.values) < 3:
            stub.push(None, Number(value=7))
            ended.append(response)

    stub.push(None, Number(value=6), next_call)
    wait_until(lambda: recorder.values == [6, 7])
    assert ended == [None]


def test_done_must_be_callable(stub, channel, recorder):
    with pytest.raises(TypeError):
        stub.push(None, Number(value=1), "not callable")
    assert channel.stats()["calls_sent_total"] == 0


@pytest.mark.parametrize("request_", [Blob(data=b"x"), "text", b"", None, Number], ids=repr)
@pytest.mark.parametrize("done", [None, print], ids=["blocking", "done"])
def test_a_request_of_the_wrong_type_is_refused(stub, channel, request_, done):
    channel.connect()
    with pytest.raises(TypeError, match="Number"):
        stub.push(None, request_, done)
    assert channel.stats()["calls_sent_total"] == 0
    assert channel.stats()["bytes_sent_total"] == 0


@pytest.mark.parametrize("with_done", [False, True], ids=["blocking", "done"])
def test_an_uninitialised_request_raises_and_sends_nothing(stub, channel, recorder, with_done):
    told = []
    with pytest.raises((EncodeError, ValueError, RpcError), match="value"):
        stub.push(None, Number(note="no value"), told.append if with_done else None)
    channel.close()
    assert channel.stats()["calls_sent_total"] == 0
    assert told == []
    assert recorder.values == []


def test_a_body_over_the_limit_raises_and_sends_nothing(
    server_factory, channel_factory, wait_until
):
    sizes = []

    class Service(Numbers):
        def blob(self, rpc_controller, request, done):
            sizes.append(len(request.data))

    channel = channel_factory(server_factory(Service()).address)
    stub = Numbers_Stub(channel)
    # 4 MiB after the length field: 2 bytes of index, 1 of tag, 4 of length, and the data
    largest = 4 * 1024 * 1024 - 2 - 1 - 4
    with pytest.raises((ValueError, RpcError), match="4194304"):
        stub.blob(None, Blob(data=bytes(largest + 1)))
    assert channel.stats()["calls_sent_total"] == 0
    stub.blob(None, Blob(data=bytes(largest)))
    stub.blob(None, Blob(data=bytes(largest - 1)))
    wait_until(lambda: sizes == [largest, largest - 1])


def test_a_method_of_no_place_in_the_layout_raises(channel_factory, server):
    # Without an index field only a service of one method can be called.
    channel = channel_factory(server.address, protocol=callmethod.Indexed(index_width=0))
    with pytest.raises((ValueError, RpcError)):
        Numbers_Stub(channel).twice(None, Number(value=1))
    assert channel.stats()["calls_sent_total"] == 0


def test_many_threads_share_one_channel(stub, channel, recorder, in_thread, wait_until):
    def call(first):
        for value in range(first, first + 100):
            stub.push(Controller(), Number(value=value))

    results = [in_thread(lambda first=first: call(first)) for first in range(0, 1600, 100)]
    for result in results:
        result()
    wait_until(lambda: len(recorder.values) == 1600)
    assert collections.Counter(recorder.values) == collections.Counter(range(1600))
    for first in range(0, 1600, 100):  # what one thread called keeps its order
        mine = [value for value in recorder.values if first <= value < first + 100]
        assert mine == sorted(mine)
    assert channel.stats()["connects_total"] == 1
    assert channel.stats()["calls_sent_total"] == 1600


def test_a_blocking_call_on_the_thread_of_a_loop_is_refused(stub, channel, recorder, wait_until):
    async def main():
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        with pytest.raises(RuntimeError, match=r"callmethod\.aio"):
            stub.push(None, Number(value=1))
        stub.push(None, Number(value=2), lambda _: loop.call_soon_threadsafe(ended.set))
        await asyncio.wait_for(ended.wait(), 5)
        await loop.run_in_executor(None, lambda: stub.push(None, Number(value=3)))

    asyncio.run(main())
    wait_until(lambda: recorder.values == [2, 3])
    stub.push(None, Number(value=4))
    wait_until(lambda: recorder.values == [2, 3, 4])


def test_cancel_from_another_thread_ends_a_waiting_call(
    channel_factory, refusing, in_thread, wait_until
):
    channel = channel_factory(refusing)
    controller = Controller(timeout=30)
    result = in_thread(lambda: Numbers_Stub(channel).push(controller, Number(value=1)))
    wait_until(lambda: channel.stats()["connect_failures_total"] >= 1)
    started = time.monotonic()
    controller.StartCancel()
    with pytest.raises(RpcError) as caught:
        result(timeout=5)
    assert time.monotonic() - started < 1
    assert caught.value.code is controller.code is Code.CANCELLED
    assert controller.Failed()


def test_cancel_ends_a_callback_call_once(
    server_factory, channel_factory, recorder, holder, refusing, wait_until
):
    channel = channel_factory(refusing)
    stub = Numbers_Stub(channel)
    controller = Controller(timeout=30)
    told = []
    stub.push(controller, Number(value=1), told.append)
    controller.StartCancel()
    controller.StartCancel()
    wait_until(lambda: told)
    assert controller.code is Code.CANCELLED
    holder.listen()
    server_factory(recorder, bind=holder)
    stub.push(None, Number(value=2))
    wait_until(lambda: recorder.values)
    channel.close()
    assert told == [None]
    assert recorder.values == [2], "a cancelled call was sent"
