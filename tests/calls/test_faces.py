"""What the three faces promise beside the ending: who runs a callback, and where one may wait."""

import asyncio
import logging
import threading
import time

import pytest

import callmethod
from callmethod import BaiduStd, Code, Controller, RpcError, service
from testing_pb2 import Blob, Number, Numbers_Stub

HELLO = Number(value=1)


def test_a_callback_never_runs_before_the_call_has_returned(pair, answers, protocol, wait_until):
    _, channel = pair(answers, protocol)
    channel.connect()
    stub = Numbers_Stub(channel)
    early, told = [], []
    for value in range(300):
        returned = threading.Event()

        def done(response, returned=returned, value=value):
            # The lock of the interpreter may go to this thread between the return and set().
            if not returned.wait(5):
                early.append(value)
            told.append(threading.get_ident())

        assert stub.push(None, Number(value=value), done) is None
        returned.set()
    wait_until(lambda: len(told) == 300)
    assert early == []
    assert threading.get_ident() not in told
    assert len(set(told)) == 1, "the callbacks of one channel share a thread"


def test_nor_when_it_fails_at_once(pair, answers, wait_until):
    _, channel = pair(answers)
    channel.close()
    told = []
    lock = threading.Lock()
    with lock:  # a callback inside the call would wait for itself
        Numbers_Stub(channel).push(None, HELLO, lambda _: told.append(lock.acquire()))
        time.sleep(0.05)
        assert told == []
    wait_until(lambda: told == [True])
    lock.release()


def test_callbacks_come_in_the_order_in_which_calls_ended(pair, answers, wait_until):
    _, channel = pair(answers)
    stub = Numbers_Stub(channel)
    order = []
    for value in range(50):
        stub.twice(Controller(timeout=20), Number(value=value), lambda r: order.append(r.value))
    wait_until(lambda: len(answers.held) == 50)
    answers.held.reverse()
    expected = [2 * request.value for _, request, _ in answers.held]
    answers.release()
    wait_until(lambda: len(order) == 50)
    assert order == expected


def test_a_slow_callback_delays_callbacks_and_no_calls(pair, answers, wait_until):
    _, channel = pair(answers)
    stub = Numbers_Stub(channel)
    began, gate, told = threading.Event(), threading.Event(), []

    def slow(response):
        began.set()
        told.append(gate.wait(10))

    stub.push(None, HELLO, slow)
    assert began.wait(5)
    stub.push(None, HELLO, told.append)
    for value in range(20):
        assert stub.push(Controller(timeout=5), Number(value=value)) == Number(value=value)
    assert told == []
    gate.set()
    wait_until(lambda: told == [True, HELLO])


def test_a_callback_may_call(pair, answers, wait_until):
    """Blocking, too: an answer needs no callback thread."""
    _, channel = pair(answers)
    stub = Numbers_Stub(channel)
    told = []

    def done(response):
        told.append(stub.push(Controller(timeout=5), Number(value=response.value + 1)))
        stub.push(None, Number(value=9), told.append)

    stub.push(None, HELLO, done)
    wait_until(lambda: told == [Number(value=2), Number(value=9)])


def test_a_callback_that_raises_harms_no_other_call(pair, answers, wait_until, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "callmethod")
    unraisable = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: unraisable.append(info.exc_value))
    _, channel = pair(answers)
    stub = Numbers_Stub(channel)
    error, told = LookupError("the callback's own mistake"), []

    def raises(response):
        raise error

    for _ in range(3):
        stub.push(None, HELLO, raises)
        stub.push(None, HELLO, told.append)
    wait_until(lambda: told == [HELLO] * 3)
    wait_until(lambda: unraisable == [error] * 3)
    wait_until(
        lambda: sum(bool(r.exc_info and r.exc_info[1] is error) for r in caplog.records) == 3
    )
    assert stub.push(None, HELLO) == HELLO


def test_a_done_that_cannot_be_called_is_refused_in_the_call(pair, answers):
    _, channel = pair(answers)
    with pytest.raises(TypeError):
        Numbers_Stub(channel).push(None, HELLO, 7)
    assert answers.values == []


def test_a_blocking_call_on_a_thread_of_a_loop_is_refused(make_loop, pair, answers):
    server, channel = pair(answers)

    async def main():
        for controller in (None, Controller(timeout=1)):
            with pytest.raises(RuntimeError, match=r"callmethod\.aio"):
                Numbers_Stub(channel).push(controller, HELLO)
        told = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        Numbers_Stub(channel).push(
            None, HELLO, lambda response: loop.call_soon_threadsafe(told.set_result, response)
        )
        assert await asyncio.wait_for(told, 5) == HELLO
        stub = Numbers_Stub(channel)
        assert await asyncio.to_thread(stub.push, Controller(timeout=1), HELLO) == HELLO

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert answers.values == [1, 1]
    assert server.stats()["calls_received_total"] == 2


def test_an_awaited_call_without_a_loop_is_refused(pair, answers):
    _, channel = pair(answers)
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))
    with pytest.raises(RuntimeError, match="(?i)loop"):
        stub.push(None, HELLO)
    assert answers.values == []


def test_an_awaitable_channel_takes_callbacks_too(pair, answers, wait_until):
    _, channel = pair(answers)
    told = []
    Numbers_Stub(callmethod.aio.awaitable(channel)).push(None, HELLO, told.append)
    wait_until(lambda: told == [HELLO])


class Own:
    """A user's controller, by shape."""

    def __init__(self):
        self.reasons = []

    def SetFailed(self, reason):
        self.reasons.append(reason)

    def Failed(self):
        return bool(self.reasons)

    def ErrorText(self):
        return "; ".join(self.reasons)

    def Reset(self):
        self.reasons.clear()


class FromTheBase(service.RpcController, Own):
    """The same with protobuf's old base class."""

    SetFailed = Own.SetFailed
    Failed = Own.Failed
    ErrorText = Own.ErrorText
    Reset = Own.Reset

    def __init__(self):
        Own.__init__(self)


@pytest.mark.parametrize("make", [Own, FromTheBase])
def test_a_user_s_own_controller(make, face, pair, answers):
    _, channel = pair(answers)
    controller = make()
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    assert controller.reasons == []
    _, error = face.call(channel, "fail", controller, Number(value=1, note="no such game"))
    [reason] = controller.reasons
    assert "no such game" in reason
    if face.raises:
        assert (error.code, error.text) == (Code.INTERNAL, reason)


def test_the_least_of_a_controller_is_set_failed(face, pair, answers):
    class Least:
        def SetFailed(self, reason):
            self.reason = reason

    _, channel = pair(answers)
    controller = Least()
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    assert not hasattr(controller, "reason")
    face.call(channel, "fail", controller, Number(value=1, note="no such game"))
    assert "no such game" in controller.reason


def test_a_set_failed_that_raises_does_not_hide_the_ending(face, pair, answers, monkeypatch):
    monkeypatch.setattr("sys.unraisablehook", lambda info: None)

    class Broken:
        def SetFailed(self, reason):
            raise LookupError("the controller's own mistake")

    _, channel = pair(answers)
    response, _ = face.call(channel, "fail", Broken(), Number(value=1, note="x"))
    assert response is None
    assert face.call(channel, "push", None, HELLO) == (HELLO, None)


def test_such_a_set_failed_takes_no_other_call_with_it(make_loop, pair, answers, monkeypatch):
    """Endings that reach a loop together are handed out one by one."""
    mistakes: list[object] = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: mistakes.append(info.exc_value))

    class Broken:
        def SetFailed(self, reason):
            raise LookupError("the controller's own mistake")

    _, channel = pair(answers)
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))

    async def main():
        calls = [stub.push(None, Number(value=value)) for value in range(5)]
        broken = stub.fail(Broken(), Number(value=1, note="x"))
        calls += [stub.push(None, Number(value=value)) for value in range(5, 10)]
        time.sleep(0.3)  # noqa: ASYNC251  (all have their answers before the loop looks)
        _, pending = await asyncio.wait([*calls, broken], timeout=5)
        assert [call.result().value for call in calls if call.done()] == list(range(10))
        assert not pending
        assert isinstance(broken.exception(), callmethod.RpcError)

    loop = make_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert [type(mistake) for mistake in mistakes] == [LookupError]


def test_no_controller_at_all(face, pair, answers):
    _, channel = pair(answers)
    assert face.call(channel, "push", None, HELLO) == (HELLO, None)
    response, error = face.call(channel, "fail", None, Number(value=1, note="no such game"))
    assert response is None
    if face.raises:
        assert error.code is Code.INTERNAL
        assert "no such game" in error.text


def test_a_subclassed_controller_keeps_what_the_user_put_there(face, pair, answers):
    class Mine(Controller):
        def __init__(self, name):
            super().__init__(timeout=5)
            self.name = name

    _, channel = pair(answers)
    controller = Mine("ada")
    assert face.call(channel, "push", controller, HELLO) == (HELLO, None)
    assert controller.name == "ada"
    assert controller.code is Code.OK


def test_a_handler_s_controller_is_for_no_outgoing_call(pair, numbers, answers):
    _, onward = pair(answers)
    texts = []

    def push(rpc_controller, request, done):
        for channel in (onward, callmethod.aio.awaitable(onward)):
            try:
                Numbers_Stub(channel).push(rpc_controller, request)
            except RuntimeError as error:
                texts.append(str(error))
        done(request)

    _, channel = pair(numbers(push=push))
    assert Numbers_Stub(channel).push(None, HELLO) == HELLO
    assert "None" in texts[0]
    assert len(texts) == 2
    assert answers.values == []


@pytest.mark.parametrize("request_", [Blob(), None, "text", 7], ids=repr)
def test_a_request_of_another_type_is_the_caller_s_mistake(request_, pair, answers):
    _, channel = pair(answers)
    controller = Controller()
    with pytest.raises(TypeError):
        Numbers_Stub(channel).push(controller, request_)
    assert Numbers_Stub(channel).push(controller, HELLO) == HELLO, "it is free again"
    assert answers.values == [1]


def test_an_error_can_be_pickled_and_says_who(pair, answers):
    import pickle

    server, channel = pair(answers)
    with pytest.raises(RpcError) as caught:
        Numbers_Stub(channel).fail(None, Number(value=1, note="no such game"))
    error = pickle.loads(pickle.dumps(caught.value))
    assert (error.code, error.native_code) == (Code.INTERNAL, 2001)
    assert error.peer == server.address
    assert "no such game" in str(error)
    assert isinstance(error, service.RpcException)


def test_a_bare_channel_speaks_baidu_std(server_factory, answers):
    server = server_factory(answers, protocols=None)
    with callmethod.Channel(server.address) as channel:
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO
    with callmethod.Channel(server.address, protocol=BaiduStd()) as channel:
        assert Numbers_Stub(channel).push(None, HELLO) == HELLO
