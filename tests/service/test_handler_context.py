"""What a handler is given: its controller, its context, and the news that the caller is gone."""

import contextvars
import socket
import threading
import weakref
from pathlib import Path

import pytest

from testing_pb2 import Number

HELLO = Number(value=1)


@pytest.fixture
def collected(numbers, server_factory, raw_socket, frame, wait_until):
    """``collected(look, calls)``: what ``look(controller)`` gave in each of that many handlers."""

    def collect(look, calls=1, connections=1):
        seen = []

        def handler(controller, request, done):
            seen.append(look(controller))
            done(request)

        server = server_factory(numbers(handler))
        names = []
        for turn in range(connections):
            sock = raw_socket(server.address)
            names.append("{}:{}".format(*sock.getsockname()))
            sock.sendall(frame(0, HELLO) * calls)
            wait_until(lambda turn=turn: len(seen) == calls * (turn + 1))
        return seen, names

    return collect


def test_the_controller_tells_who_called_what(collected):
    def look(controller):
        return (
            controller.peer,
            controller.protocol,
            controller.method,
            controller.time_remaining(),
            dict(controller.metadata),
            controller.Failed(),
            controller.IsCanceled(),
        )

    seen, [name] = collected(look)
    method = "callmethod.testing.Numbers.push"
    assert seen == [(name, "indexed", method, None, {}, False, False)]
    assert not seen[0][0].endswith(":0")


def test_a_controller_takes_attributes_and_weak_references(collected, wait_until):
    references = []

    def look(controller):
        controller.player = "ada"
        references.append(weakref.ref(controller))
        assert references[-1]() is controller
        return controller.player

    seen, _ = collected(look, calls=3)
    assert seen == ["ada"] * 3
    wait_until(lambda: [reference() for reference in references] == [None] * 3)


def test_a_controller_can_be_kept_and_asked_after_the_call(collected, wait_until):
    [kept, other], _ = collected(lambda controller: controller, calls=2)
    assert kept is not other
    assert kept.method == "callmethod.testing.Numbers.push"
    assert not kept.Failed()
    assert kept.rpc_channel is other.rpc_channel


def test_one_connection_is_one_rpc_channel(collected):
    seen, names = collected(
        lambda controller: (controller.rpc_channel, controller.channel), calls=3, connections=2
    )
    assert all(one is other for one, other in seen)
    channels = [channel for channel, _ in seen]
    assert len({id(channel) for channel in channels}) == 2
    assert channels[0] is channels[1] is channels[2]
    assert channels[3] is channels[4] is channels[5]
    by_channel = dict(zip(channels, range(6), strict=True))
    assert len(by_channel) == 2
    assert [channel.peer for channel in (channels[0], channels[3])] == names
    assert channels[0].connected is True


def test_each_handler_has_a_context_of_its_own(collected):
    variable = contextvars.ContextVar("variable", default="unset")

    def look(controller):
        before = variable.get()
        variable.set("set by a handler")
        return before

    seen, _ = collected(look, calls=5, connections=2)
    assert seen == ["unset"] * 10


def test_handlers_run_on_threads_that_bear_our_name(collected):
    def look(controller):
        path = Path(f"/proc/self/task/{threading.get_native_id()}/comm")
        return path.read_text().strip() if path.exists() else "callmethod-?"

    seen, _ = collected(look, calls=3)
    assert all(name.startswith("callmethod-") for name in seen), seen


def test_thread_locals_work_in_handlers(collected):
    local = threading.local()

    def look(controller):
        local.count = getattr(local, "count", 0) + 1
        return threading.get_ident(), local.count

    seen, _ = collected(look, calls=50)
    last = dict(seen)
    assert sum(last.values()) == 50, "a thread lost its thread locals between two calls"


@pytest.fixture
def notified(numbers, server_factory, raw_socket, frame, wait_until):
    """A handler that waits in its call; (socket, told, controller, release)."""
    release = threading.Event()
    told = []
    controllers = []

    def handler(controller, request, done):
        controller.NotifyOnCancel(lambda: told.append(controller.IsCanceled()))
        controllers.append(controller)
        release.wait(10)
        done(request)

    server = server_factory(numbers(handler))
    sock = raw_socket(server.address)
    sock.sendall(frame(0, HELLO))
    wait_until(lambda: controllers)
    yield server, sock, told, controllers[0], release
    release.set()


def test_notify_on_cancel_tells_of_a_lost_connection_once(notified, reset, wait_until):
    server, sock, told, controller, release = notified
    assert told == []
    reset(sock)
    wait_until(lambda: told)
    assert controller.IsCanceled()
    release.set()
    wait_until(lambda: server.stats()["calls_in_flight"] == 0)
    server.stop(grace=1)
    assert told == [True]


def test_notify_on_cancel_is_called_once_after_a_call_that_nobody_cancelled(
    notified, reset, wait_until
):
    server, sock, told, controller, release = notified
    release.set()
    wait_until(lambda: told)
    assert not controller.IsCanceled()
    reset(sock)
    wait_until(lambda: server.stats()["connections"] == 0)
    server.stop(grace=1)
    assert told == [False]


def test_the_end_of_the_stream_is_no_cancel(notified, wait_until):
    """A peer that has said all may still listen: its calls run to their end."""
    server, sock, told, controller, release = notified
    sock.shutdown(socket.SHUT_WR)
    sock.settimeout(0.2)
    with pytest.raises(TimeoutError):
        sock.recv(1)
    assert told == []
    assert not controller.IsCanceled()
    release.set()
    sock.settimeout(5)
    assert sock.recv(1) == b""
    wait_until(lambda: told == [False])
    assert server.stats()["calls_total"]["ok"] == 1


def test_a_notify_callback_that_raises_harms_nobody(
    numbers, server_factory, raw_socket, frame, wait_until, monkeypatch
):
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: told.append(info.exc_value))
    values = []

    def fails():
        raise LookupError("the callback's own mistake")

    def handler(controller, request, done):
        controller.NotifyOnCancel(fails)
        values.append(request.value)
        done(request)

    server = server_factory(numbers(handler))
    raw_socket(server.address).sendall(frame(0, HELLO) * 3)
    wait_until(lambda: values == [1, 1, 1])
    wait_until(lambda: server.stats()["calls_total"].get("ok") == 3)
    wait_until(lambda: len(told) == 3)
