"""Every ending of a call, on every face, over every protocol with answers: exactly one of them.

The faces count. What is left of a process that forks or exits is in tests/process/test_calls.py.
"""

import socket
import struct
import threading

import pytest

from callmethod import ChannelOptions, Code, Controller, Indexed, RpcError
from testing_pb2 import Number, Numbers_Stub

HELLO = Number(value=1)


class Scene:
    """A call under way and what its end may come from."""

    def __init__(self, pair, service, protocol, face):
        self.pair = pair
        self.service = service
        self.protocol = protocol
        self.face = face
        self.controller = Controller(timeout=20)
        self.server = self.channel = None

    def call(self, method, note=""):
        self.server, self.channel = self.pair(self.service, self.protocol)
        request = Number(value=21, note=note)
        return self.face.start(self.channel, method, self.controller, request)

    def hold(self, wait_until):
        call = self.call("twice")
        wait_until(lambda: self.service.held)
        return call


def answered(scene, wait_until):
    call = scene.hold(wait_until)
    scene.service.release()
    return call


def failed(scene, wait_until):
    return scene.call("fail", "no such game")


def left_out(scene, wait_until):
    return scene.call("left_out")


def deadline(scene, wait_until):
    scene.controller = Controller(timeout=0.15)
    return scene.call("twice")


def cancelled(scene, wait_until):
    call = scene.hold(wait_until)
    scene.controller.StartCancel()
    return call


def channel_closed(scene, wait_until):
    call = scene.hold(wait_until)
    scene.channel.close(grace=0)
    return call


def server_stopped(scene, wait_until):
    call = scene.hold(wait_until)
    scene.server.stop(grace=0)
    return call


# code, what its text says, the number of brpc's own
ENDINGS = {
    failed: (Code.INTERNAL, "no such game", {2001}),
    left_out: (Code.UNIMPLEMENTED, "left_out", {1002}),
    deadline: (Code.DEADLINE_EXCEEDED, "", {None, 1008}),
    cancelled: (Code.CANCELLED, "", {None, 125}),
    channel_closed: (Code.UNAVAILABLE, "closed", {None, 1009, 1014}),
    server_stopped: (Code.UNAVAILABLE, "", {None, 1009, 1014, 2003}),
}


@pytest.fixture
def scene(face, pair, answers, protocol):
    return Scene(pair, answers, protocol, face)


def assert_failed(face, call, controller, code, says, natives):
    response, error = call.outcome()
    assert response is None
    assert controller.Failed()
    assert controller.code is code
    assert says in controller.ErrorText()
    assert controller.ErrorText()
    assert controller.native_code in natives
    if face.raises:
        assert (error.code, error.text) == (code, controller.ErrorText())
        assert error.native_code == controller.native_code
        assert error.peer
    else:
        assert error is None


def test_an_answer(scene, wait_until):
    call = answered(scene, wait_until)
    assert call.outcome() == (Number(value=42), None)
    assert not scene.controller.Failed()
    assert scene.controller.ErrorText() == ""
    assert scene.controller.code is Code.OK
    assert scene.controller.native_code is None
    wait_until(lambda: scene.server.stats()["calls_total"] == {"ok": 1})
    stats = scene.channel.stats()
    assert stats["calls_sent_total"] == 1
    assert stats["calls_in_flight"] == 0
    assert scene.server.stats()["replies_sent_total"] == 1


@pytest.mark.parametrize("ending", ENDINGS, ids=lambda ending: ending.__name__)
def test_a_failure(ending, scene, face, protocol, wait_until):
    call = ending(scene, wait_until)
    code, says, natives = ENDINGS[ending]
    if isinstance(protocol, Indexed) and ending in {failed, left_out}:
        # These layouts have no error frame: the connection says it.
        code, says, natives = Code.UNAVAILABLE, "", {None}
    assert_failed(face, call, scene.controller, code, says, natives)
    if ending not in {channel_closed, server_stopped}:
        # The channel goes on, and the ending stays the one that it was. Answers in order come
        # after the one that nobody waits for any more.
        scene.service.release()
        assert face.call(scene.channel, "push", None, Number(value=1)) == (Number(value=1), None)
        assert scene.controller.code is code


def read_some(sock):
    assert sock.recv(100)


def reset(sock):
    read_some(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def half_an_answer(sock):
    read_some(sock)
    sock.sendall(b"\x10\x00")


@pytest.mark.parametrize("loss", [read_some, reset, half_an_answer])
def test_a_connection_lost(loss, face, channel_factory, protocol):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        channel = channel_factory("{}:{}".format(*listening.getsockname()), protocol=protocol)
        controller = Controller(timeout=20)
        call = face.start(channel, "push", controller, Number(value=1))
        listening.settimeout(10)
        sock, _ = listening.accept()
        with sock:
            loss(sock)
        assert_failed(face, call, controller, Code.UNAVAILABLE, "", {None, 1009, 1014})
    assert channel.stats()["retries_total"] == 0, "what may have been sent is not sent again"


def test_a_server_that_is_not_there(face, channel_factory, protocol):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        channel = channel_factory(
            "{}:{}".format(*nobody.getsockname()),
            protocol=protocol,
            options=ChannelOptions(wait_for_ready=False),
        )
        controller = Controller(timeout=20)
        call = face.start(channel, "push", controller, Number(value=1))
        assert_failed(face, call, controller, Code.UNAVAILABLE, "refused", {None, 111, 112, 1009})


def test_a_channel_that_was_closed_before(face, pair, answers, protocol):
    _, channel = pair(answers, protocol)
    channel.close()
    controller = Controller(timeout=20)
    call = face.start(channel, "push", controller, Number(value=1))
    assert_failed(face, call, controller, Code.UNAVAILABLE, "channel is closed", {None, 1009})
    assert answers.values == []


def test_many_calls_of_which_each_ends_as_its_own(face, pair, answers, protocol, wait_until):
    server, channel = pair(answers, protocol)
    calls = [
        (value, face.start(channel, "push", Controller(timeout=20), Number(value=value)))
        for value in range(200)
    ]
    for value, call in calls:
        assert call.outcome() == (Number(value=value), None)
    wait_until(lambda: server.stats()["calls_total"] == {"ok": 200})
    assert channel.stats()["connects_total"] == 1


def test_two_endings_at_once(face, pair, answers, protocol, wait_until):
    """An answer, a cancel, a deadline and a close race: whichever wins, it is one."""
    codes = {Code.OK, Code.CANCELLED, Code.DEADLINE_EXCEEDED, Code.UNAVAILABLE}
    for turn in range(8):
        _, channel = pair(answers, protocol)
        controllers = [Controller(timeout=0.3) for _ in range(12)]
        calls = [
            face.start(channel, "twice", controller, Number(value=turn))
            for controller in controllers
        ]
        wait_until(lambda: len(answers.held) >= 12)
        racers = [
            threading.Thread(target=answers.release),
            threading.Thread(target=lambda: [one.StartCancel() for one in controllers[::-1]]),  # noqa: B023
            threading.Thread(target=lambda: channel.close(grace=0)),  # noqa: B023
        ]
        for racer in racers:
            racer.start()
        for racer in racers:
            racer.join()
        for call, controller in zip(calls, controllers, strict=True):
            response, _ = call.outcome()
            assert controller.code in codes
            assert (response is None) == controller.Failed() == (controller.code is not Code.OK)
        answers.held.clear()


@pytest.mark.parametrize("size", [1_000, 300_000, 5_000_000])
@pytest.mark.parametrize("way", ["SetFailed", "exception"])
def test_a_long_text_of_a_failure_costs_no_other_call(way, size, pair, protocol, answers_class):
    """An exception may well carry what it was about: a long one is cut, or replaced."""
    if isinstance(protocol, Indexed):
        pytest.skip("no error frame: the connection says it, however short the text")

    class Wordy(answers_class):
        def fail(self, rpc_controller, request, done):
            if way == "exception":
                raise LookupError("x" * size)
            rpc_controller.SetFailed("x" * size)
            done(None)

    service = Wordy()
    _, channel = pair(service, protocol)
    stub = Numbers_Stub(channel)
    other, ended = Controller(timeout=20), threading.Event()
    stub.twice(other, Number(value=1), lambda response: ended.set())
    with pytest.raises(RpcError) as caught:
        stub.fail(Controller(timeout=20), Number(value=1))
    assert caught.value.code is Code.INTERNAL
    assert "xxx" in caught.value.text
    assert stub.push(None, Number(value=1)) == Number(value=1)
    assert other.code is None
    service.release()
    assert ended.wait(10)
    assert other.code is Code.OK
    assert channel.stats()["connects_total"] == 1


@pytest.mark.parametrize(
    ("chosen", "sent", "code"),
    [
        (2003, 5014, Code.UNAVAILABLE),
        (2004, 5008, Code.RESOURCE_EXHAUSTED),
        (2001, 2001, Code.INTERNAL),
    ],
)
def test_a_call_that_was_run_is_not_made_again_whatever_its_handler_says(
    chosen, sent, code, face, pair, numbers
):
    ran = []

    def push(controller, request, done):
        ran.append(request.value)
        raise RpcError(Code.NOT_FOUND, "as chosen", native_code=chosen)

    server, channel = pair(numbers(push=push, twice=lambda _, request, done: done(request)))
    controller = Controller()
    _, error = face.call(channel, "push", controller, HELLO)
    assert (controller.code, controller.native_code) == (code, sent)
    assert controller.ErrorText() == "as chosen"
    if face.raises:
        assert (error.code, error.native_code) == (code, sent)
    assert face.call(channel, "twice", None, HELLO) == (HELLO, None)
    assert ran == [1]
    assert channel.stats()["retries_total"] == 0
    assert channel.stats()["connects_total"] == 1
    assert server.stats()["calls_total"] == {"ok": 1, "NOT_FOUND": 1}


def test_an_end_that_cannot_be_told_takes_no_other_along(
    face, pair, answers, wait_until, monkeypatch
):
    _, channel = pair(answers)
    init = RpcError.__init__

    def poisoned(self, code, text="", peer=None, native_code=None):
        if text == "poison":
            raise MemoryError("no room for that")
        init(self, code, text, peer, native_code)

    monkeypatch.setattr(RpcError, "__init__", poisoned)
    controllers = [Controller(timeout=20) for _ in range(9)]
    calls = [
        face.start(channel, "twice", controller, Number(value=place))
        for place, controller in enumerate(controllers)
    ]
    wait_until(lambda: len(answers.held) == 9)
    for place, (controller, request, done) in enumerate(answers.held):
        if place % 3 == 1:
            controller.SetFailed("poison")
        done(request)
    answers.held.clear()
    poison = {request for request in range(9) if answers.values.index(request) % 3 == 1}
    for place, call in enumerate(calls):
        response, error = call.outcome()
        if place not in poison:
            assert (response, error) == (Number(value=place), None)
            continue
        assert response is None
        if face.raises and not isinstance(error, MemoryError):
            assert error.code is Code.INTERNAL
            assert "no room for that" in error.text
