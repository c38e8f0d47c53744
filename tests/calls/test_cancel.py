"""StartCancel and cancelled tasks: before, during and after a call, from any thread."""

import asyncio
import socket
import threading
import time

import pytest

import callmethod
from callmethod import BaiduStd, Code, Controller, Indexed
from testing_pb2 import Number, Numbers_Stub

HELLO = Number(value=1)


def test_before_the_call_is_forgotten_with_it(face, pair, answers):
    """A controller is reset by its next use, and a cancel without a call cancels nothing."""
    _, channel = pair(answers)
    controller = Controller()
    controller.StartCancel()
    assert not controller.Failed()
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    assert controller.code is Code.OK


def test_during_the_call(face, pair, answers, protocol, wait_until):
    server, channel = pair(answers, protocol)
    controller = Controller(timeout=20)
    call = face.start(channel, "twice", controller, HELLO)
    wait_until(lambda: answers.held)
    started = time.monotonic()
    controller.StartCancel()
    _, error = call.outcome()
    assert time.monotonic() - started < 2, "not at once"
    assert controller.code is Code.CANCELLED
    assert controller.Failed()
    assert error is None or error.code is Code.CANCELLED
    answers.release()
    wait_until(lambda: channel.stats()["late_replies_total"] == 1)
    assert server.stats()["replies_sent_total"] == 1
    assert controller.code is Code.CANCELLED
    assert controller.ErrorText()


def test_after_the_call(face, pair, answers):
    _, channel = pair(answers)
    controller = Controller()
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    controller.StartCancel()
    controller.StartCancel()
    assert controller.code is Code.OK
    assert not controller.Failed()
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)


def test_twice_and_by_several_threads(face, pair, answers, wait_until):
    _, channel = pair(answers)
    controllers = [Controller(timeout=20) for _ in range(20)]
    calls = [face.start(channel, "twice", one, HELLO) for one in controllers]
    wait_until(lambda: len(answers.held) == 20)
    start = threading.Barrier(4)

    def cancel():
        start.wait(10)
        for one in controllers:
            one.StartCancel()

    threads = [threading.Thread(target=cancel) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for call in calls:
        call.outcome()
    assert {one.code for one in controllers} == {Code.CANCELLED}
    answers.release()
    wait_until(lambda: channel.stats()["late_replies_total"] == 20)


def test_from_a_callback_of_another_call(pair, answers, wait_until):
    _, channel = pair(answers)
    controller, ended = Controller(timeout=20), []
    stub = Numbers_Stub(channel)
    stub.twice(controller, HELLO, ended.append)
    wait_until(lambda: answers.held)
    stub.push(None, HELLO, lambda response: controller.StartCancel())
    wait_until(lambda: ended == [None])
    assert controller.code is Code.CANCELLED


def test_a_call_that_waits_for_its_server(
    face, channel_factory, wait_until, server_factory, answers
):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        channel = channel_factory("{}:{}".format(*holder.getsockname()), protocol=BaiduStd())
        controller = Controller(timeout=20)
        call = face.start(channel, "push", controller, HELLO)
        wait_until(lambda: channel.stats()["connect_failures_total"])
        controller.StartCancel()
        call.outcome()
        assert controller.code is Code.CANCELLED
        holder.listen()
        server_factory(answers, holder, protocols=[BaiduStd()])
        assert face.call(channel, "push", None, Number(value=2)) == (Number(value=2), None)
    assert answers.values == [2], "what was cancelled before it was sent is never sent"


def test_other_calls_go_on(face, pair, answers, wait_until):
    _, channel = pair(answers)
    controllers = [Controller(timeout=20) for _ in range(10)]
    calls = [
        face.start(channel, "twice", one, Number(value=value))
        for value, one in enumerate(controllers)
    ]
    wait_until(lambda: len(answers.held) == 10)
    for one in controllers[::2]:
        one.StartCancel()
    answers.release()
    for value, call in enumerate(calls):
        response, _ = call.outcome()
        assert response == (Number(value=2 * value) if value % 2 else None)


def test_a_controller_in_use_is_refused_and_free_again_afterwards(face, pair, answers, wait_until):
    _, channel = pair(answers)
    controller = Controller(timeout=20)
    call = face.start(channel, "twice", controller, HELLO)
    wait_until(lambda: answers.held)
    with pytest.raises(RuntimeError):
        Numbers_Stub(channel).push(controller, HELLO)
    with pytest.raises(RuntimeError):
        controller.Reset()
    controller.StartCancel()
    call.outcome()
    for value in range(3):
        number = Number(value=value)
        assert face.call(channel, "push", controller, number) == (number, None)
        assert controller.code is Code.OK
    _, error = face.call(channel, "fail", controller, Number(value=1, note="x"))
    assert controller.code is Code.INTERNAL
    assert error is None or error.code is Code.INTERNAL
    controller.Reset()
    assert controller.code is None
    assert not controller.Failed()


def test_cancelling_the_task_cancels_the_call(make_loop, pair, answers, protocol, wait_until):
    server, channel = pair(answers, protocol)
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))
    controller = Controller(timeout=20)

    async def main():
        async def call():
            return await stub.twice(controller, HELLO)

        # A call that waits for no connection is cancelled where that is asked for.
        assert await stub.push(None, HELLO) == HELLO
        task = asyncio.create_task(call())
        while not answers.held:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while controller.code is None:
            await asyncio.sleep(0.005)

    run(make_loop, main())
    assert controller.code is Code.CANCELLED
    answers.release()
    wait_until(lambda: channel.stats()["late_replies_total"] == 1)
    assert server.stats()["panics_total"] == channel.stats()["panics_total"] == 0


def run(make_loop, coroutine):
    loop = make_loop()
    try:
        return loop.run_until_complete(asyncio.wait_for(coroutine, 20))
    finally:
        loop.close()


def test_wait_for_cancels_the_call(make_loop, pair, answers, wait_until):
    _, channel = pair(answers)
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))
    controller = Controller(timeout=None)

    async def main():
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stub.twice(controller, HELLO), 0.1)
        return await stub.push(None, HELLO)

    assert run(make_loop, main()) == HELLO
    assert controller.code is Code.CANCELLED


def test_startcancel_of_an_awaited_call_is_an_rpc_error(make_loop, pair, answers):
    """The task was not cancelled, so that is not what it may be told."""
    _, channel = pair(answers)
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))
    controller = Controller(timeout=20)

    async def main():
        asyncio.get_running_loop().call_later(0.1, controller.StartCancel)
        with pytest.raises(callmethod.RpcError) as caught:
            await stub.twice(controller, HELLO)
        return caught.value.code

    assert run(make_loop, main()) is Code.CANCELLED


def test_a_cancel_keeps_its_slot_where_answers_come_in_order(pair, answers, wait_until):
    """The late answer must not be taken for the next call's."""
    _, channel = pair(answers, Indexed(reply="in_order"))
    stub = Numbers_Stub(channel)
    controller, told, ended = Controller(timeout=20), [], []
    stub.twice(controller, Number(value=50), told.append)
    wait_until(lambda: answers.held)
    controller.StartCancel()
    wait_until(lambda: told == [None])
    stub.push(Controller(timeout=20), Number(value=7), ended.append)
    answers.release()
    wait_until(lambda: ended)
    assert ended == [Number(value=7)]


def test_the_handler_is_told_nothing_of_a_cancel_before_its_own_end(
    face, pair, answers, wait_until
):
    """These wires carry no cancel; the callback comes exactly once, after the end."""
    _, channel = pair(answers)
    told = []
    controller = Controller(timeout=20)
    call = face.start(channel, "twice", controller, HELLO)
    wait_until(lambda: answers.held)
    controller.StartCancel()
    call.outcome()
    [(in_handler, _, _)] = answers.held
    in_handler.NotifyOnCancel(lambda: told.append(in_handler.IsCanceled()))
    time.sleep(0.05)
    assert told == []
    answers.release()
    wait_until(lambda: told == [False])
    time.sleep(0.05)
    assert told == [False]
