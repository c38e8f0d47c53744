"""Controllers of the caller's side: ours, subclassed, the user's own, or none."""

import time
import weakref

import pytest

from callmethod import ChannelOptions, Code, Controller, RpcError
from testing_pb2 import Number, Numbers_Stub, Receiver_Stub


class OwnController:
    """A controller of the user's that knows nothing of callmethod."""

    def __init__(self):
        self.texts = []

    def Reset(self):
        self.texts.clear()

    def Failed(self):
        return bool(self.texts)

    def ErrorText(self):
        return "; ".join(self.texts)

    def SetFailed(self, reason):
        self.texts.append(reason)

    def StartCancel(self):
        pass

    def IsCanceled(self):
        return False

    def NotifyOnCancel(self, callback):
        pass


class WithOtherInit(Controller):
    """Takes arguments of its own and never calls ours."""

    def __init__(self, player, *, level):
        self.player = player
        self.level = level


@pytest.fixture
def stub(server_factory, channel_factory, recorder):
    return Numbers_Stub(channel_factory(server_factory(recorder).address))


@pytest.fixture
def failing(channel_factory, refusing):
    """A stub whose calls fail after 0.2 s: nobody listens."""
    return Numbers_Stub(channel_factory(refusing, options=ChannelOptions(timeout=0.2)))


def test_a_new_controller_has_not_failed():
    controller = Controller()
    assert not controller.Failed()
    assert not controller.ErrorText()
    assert not controller.IsCanceled()
    assert controller.code is None


@pytest.mark.parametrize("timeout", [1.5, 2, None])
def test_a_controller_keeps_its_timeout(timeout):
    assert Controller(timeout).timeout == timeout
    assert Controller(timeout=timeout).timeout == timeout


@pytest.mark.parametrize("timeout", [-1, float("nan")])
def test_a_timeout_that_makes_no_sense_is_refused(timeout, stub):
    with pytest.raises(ValueError, match="timeout"):
        stub.push(Controller(timeout=timeout), Number(value=1))


def test_without_a_timeout_the_channels_default_counts(failing):
    started = time.monotonic()
    with pytest.raises(RpcError) as caught:
        failing.push(Controller(), Number(value=1))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert 0.15 <= time.monotonic() - started < 2


def test_timeout_none_waits_beyond_the_default(
    failing, holder, server_factory, recorder, in_thread, wait_until
):
    result = in_thread(lambda: failing.push(Controller(timeout=None), Number(value=5)))
    with pytest.raises(RpcError):  # the default has passed for sure when this one ends
        failing.push(Controller(timeout=0.5), Number(value=6))
    holder.listen()
    server_factory(recorder, bind=holder)
    assert result() is None
    wait_until(lambda: recorder.values == [5])


def test_none_as_controller(stub, failing, recorder, wait_until):
    assert stub.push(None, Number(value=1)) is None
    wait_until(lambda: recorder.values == [1])
    with pytest.raises(RpcError) as caught:
        failing.push(None, Number(value=1))
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert caught.value.text in str(caught.value)
    told = []
    failing.push(None, Number(value=1), told.append)
    wait_until(lambda: told == [None])


def test_the_users_own_controller_is_told(stub, failing, recorder, wait_until):
    controller = OwnController()
    assert stub.push(controller, Number(value=1)) is None
    wait_until(lambda: recorder.values == [1])
    assert not controller.Failed()
    with pytest.raises(RpcError) as caught:
        failing.push(controller, Number(value=1))
    assert controller.texts == [caught.value.text]


def test_the_users_own_controller_is_told_before_done(failing, wait_until):
    controller = OwnController()
    told = []
    failing.push(
        controller, Number(value=1), lambda response: told.append((response, controller.Failed()))
    )
    wait_until(lambda: told)
    assert told == [(None, True)]
    assert len(controller.texts) == 1


def test_an_own_controller_that_raises_harms_nobody_else(failing, wait_until, monkeypatch):
    mistakes = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: mistakes.append(info.exc_value))

    class Broken(OwnController):
        def SetFailed(self, reason):
            raise LookupError("the controller's own mistake")

    told = []
    failing.push(Broken(), Number(value=1), told.append)
    failing.push(None, Number(value=2), told.append)
    wait_until(lambda: told == [None, None])
    wait_until(lambda: len(mistakes) == 1)


def test_a_subclass_may_have_any_init(stub, failing, recorder, wait_until):
    controller = WithOtherInit("ada", level=3)
    stub.push(controller, Number(value=1))
    wait_until(lambda: recorder.values == [1])
    assert (controller.player, controller.level) == ("ada", 3)
    with pytest.raises(RpcError):
        failing.push(controller, Number(value=1))
    assert controller.Failed()
    assert controller.code is Code.DEADLINE_EXCEEDED


def test_user_attributes_and_weak_references(stub, wait_until):
    controller = Controller(timeout=2)
    controller.player = "ada"
    reference = weakref.ref(controller)
    stub.push(controller, Number(value=1))
    assert reference() is controller
    assert controller.player == "ada"
    del controller
    wait_until(lambda: reference() is None)  # nobody keeps it once the call has ended


def test_a_controller_is_reset_by_its_next_use(stub, failing):
    controller = Controller()
    with pytest.raises(RpcError):
        failing.push(controller, Number(value=1))
    assert controller.Failed()
    stub.push(controller, Number(value=1))
    assert not controller.Failed()
    assert not controller.ErrorText()


def test_reset_forgets_a_failure(failing):
    controller = Controller()
    with pytest.raises(RpcError):
        failing.push(controller, Number(value=1))
    controller.Reset()
    assert not controller.Failed()
    assert not controller.ErrorText()
    assert controller.code is None
    assert controller.timeout != 0.2, "the channel's default is not the controller's"


def test_a_controller_in_use_cannot_be_used(failing, wait_until):
    controller = Controller(timeout=30)
    told = []
    failing.push(controller, Number(value=1), told.append)
    with pytest.raises(RuntimeError, match="progress"):
        failing.push(controller, Number(value=2), told.append)
    with pytest.raises(RuntimeError, match="progress"):
        failing.push(controller, Number(value=2))
    assert told == []
    controller.StartCancel()
    wait_until(lambda: told == [None])


def test_the_controller_of_a_handler_cannot_go_outward(
    numbers, server_factory, channel_factory, stub, recorder, wait_until
):
    errors = []

    def handler(rpc_controller, request, done):
        for outward in (Receiver_Stub(rpc_controller.rpc_channel).number, stub.push):
            try:
                outward(rpc_controller, Number(value=1))
            except RuntimeError as error:
                errors.append(str(error))

    server = server_factory(numbers(handler))
    Numbers_Stub(channel_factory(server.address)).push(None, Number(value=1))
    wait_until(lambda: len(errors) == 2)
    assert all("None" in text for text in errors), errors
    assert recorder.values == []
    assert server.stats()["calls_sent_total"] == 0
