"""What a service is told of its connections, and one service object for each of them."""

import asyncio
import logging
import socket
import threading

import pytest

from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver_Stub

HELLO = Number(value=1)


class Diary(Numbers):
    """Writes down what happens, per connection."""

    def __init__(self):
        self.lines = []
        self.reasons = []
        self.channels = []

    def on_connected(self, channel):
        self.channels.append(channel)
        self.lines.append(("connected", channel))

    def on_disconnected(self, channel, reason):
        self.reasons.append(reason)
        self.lines.append(("disconnected", channel))

    def push(self, rpc_controller, request, done):
        self.lines.append((request.value, rpc_controller.rpc_channel))


@pytest.fixture
def diary():
    return Diary()


def test_connected_at_accept_before_any_byte(server_factory, raw_socket, read_frame):
    class Greeter(Diary):
        def on_connected(self, channel):
            Receiver_Stub(channel).number(None, Number(value=7))

    sock = raw_socket(server_factory(Greeter()).address)
    assert read_frame(sock) == (0, Number(value=7).SerializeToString())


def test_connected_first_and_disconnected_last(
    diary, server_factory, raw_socket, frame, wait_until
):
    server = server_factory(diary)
    for _ in range(3):
        sock = raw_socket(server.address)
        sock.sendall(b"".join(frame(0, Number(value=value)) for value in range(40)))
        sock.close()
    wait_until(lambda: len(diary.reasons) == 3)
    assert len(set(diary.channels)) == 3
    for channel in diary.channels:
        mine = [what for what, whose in diary.lines if whose is channel]
        assert mine == ["connected", *range(40), "disconnected"]


def test_a_disconnected_channel_is_no_longer_connected(server_factory, raw_socket, wait_until):
    seen = []

    class Asks(Diary):
        def on_connected(self, channel):
            seen.append(channel.connected)

        def on_disconnected(self, channel, reason):
            seen.append(channel.connected)

    raw_socket(server_factory(Asks()).address).close()
    wait_until(lambda: seen == [True, False])


def close_cleanly(sock, **others):
    sock.close()


def close_hard(sock, reset, **others):
    reset(sock)


def close_inside_a_frame(sock, frame, **others):
    sock.sendall(frame(0, HELLO)[:-1])
    sock.close()


def send_length_below_header(sock, **others):
    sock.sendall(b"\x01\x00\x00\x00\x00\x00")


def send_length_above_limit(sock, **others):
    sock.sendall(b"\xff\xff\xff\xff\x00\x00")


def send_unknown_method(sock, frame, **others):
    sock.sendall(frame(5, HELLO))


def send_bad_body(sock, frame, **others):
    sock.sendall(frame(0, b"\xff\xff"))


def close_from_here(diary, **others):
    diary.channels[0].close()


def stop_the_server(server, **others):
    server.stop(grace=0)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (close_cleanly, "peer_closed"),
        (close_hard, "reset"),
        (close_inside_a_frame, "truncated"),
        (send_length_below_header, "length_below_header"),
        (send_length_above_limit, "length_above_limit"),
        (send_unknown_method, "unknown_method"),
        (send_bad_body, "bad_body"),
        (close_from_here, "closed"),
        (stop_the_server, "server_stopped"),
    ],
)
def test_the_reason_of_every_end(
    end, kind, diary, server_factory, raw_socket, frame, reset, wait_until
):
    server = server_factory(diary)
    sock = raw_socket(server.address)
    wait_until(lambda: diary.channels)
    end(sock=sock, server=server, diary=diary, frame=frame, reset=reset)
    wait_until(lambda: diary.reasons)
    wait_until(lambda: server.stats()["connections"] == 0)
    [reason] = diary.reasons
    assert reason.kind == kind
    assert reason.text
    assert str(reason) == reason.text
    ends = {key: count for key, count in server.stats()["disconnects_total"].items() if count}
    assert ends == {kind: 1}


def test_calls_before_the_end_of_the_stream_still_run_and_push(
    server_factory, raw_socket, frame, read_frame, wait_until
):
    reasons = []

    class Echo(Diary):
        def on_disconnected(self, channel, reason):
            reasons.append(reason.kind)

        def push(self, rpc_controller, request, done):
            Receiver_Stub(rpc_controller.rpc_channel).number(None, request)

    sock = raw_socket(server_factory(Echo()).address)
    sock.sendall(b"".join(frame(0, Number(value=value)) for value in range(100)))
    sock.shutdown(socket.SHUT_WR)
    values = [Number.FromString(read_frame(sock)[1]).value for _ in range(100)]
    assert values == list(range(100))
    assert read_frame(sock) is None
    wait_until(lambda: reasons == ["peer_closed"])


def test_the_service_of_a_channel_is_told_too(
    server_factory, channel_factory, recorder, diary, wait_until
):
    server = server_factory(recorder)
    channel = channel_factory(server.address, service=diary)
    channel.connect()
    wait_until(lambda: len(diary.channels) == 1)
    server.stop(grace=1)
    wait_until(lambda: diary.reasons)
    assert diary.reasons[0].kind == "peer_closed"


@pytest.fixture
def sessions(server_factory):
    """(server, sessions): a server that makes a session for each connection."""
    made = []

    class Session(Diary):
        def __init__(self, channel):
            super().__init__()
            self.channel = channel
            self.thread = threading.get_ident()
            made.append(self)

    return server_factory(factory=Session), made


def test_a_factory_makes_one_service_for_each_connection(sessions, raw_socket, frame, wait_until):
    server, made = sessions
    for turn in range(3):
        sock = raw_socket(server.address)
        sock.sendall(frame(0, Number(value=turn)) * 2)
        wait_until(lambda turn=turn: len(made) == turn + 1 and len(made[turn].lines) == 3)
        sock.close()
    wait_until(lambda: all(session.reasons for session in made))
    for turn, session in enumerate(made):
        whats, whose = zip(*session.lines, strict=True)
        assert whats == ("connected", turn, turn, "disconnected")
        assert set(whose) == {session.channel}


def test_a_session_is_let_go_with_its_connection(server_factory, raw_socket, wait_until):
    alive = []

    class Session(Numbers):
        def __init__(self, channel):
            alive.append(1)

        def __del__(self):
            alive.pop()

    server = server_factory(factory=Session)
    sock = raw_socket(server.address)
    wait_until(lambda: alive)
    sock.close()
    wait_until(lambda: not alive)


def fail(channel):
    raise LookupError("no seat left")


@pytest.mark.parametrize(
    "broken",
    [fail, lambda channel: None, lambda channel: Numbers, Numbers_Stub],
    ids=["raises", "none", "class", "stub"],
)
def test_a_factory_that_gives_no_service_ends_the_connection_alone(
    broken, server_factory, raw_socket, frame, wait_until, caplog
):
    caplog.set_level(logging.DEBUG, "callmethod")
    diary = Diary()
    turns = []

    def factory(channel):
        turns.append(channel)
        return diary if len(turns) == 1 else broken(channel)

    server = server_factory(factory=factory)
    good = raw_socket(server.address)
    wait_until(lambda: diary.channels)
    assert raw_socket(server.address).recv(1) == b""
    wait_until(lambda: server.stats()["disconnects_total"].get("service_failed") == 1)
    wait_until(lambda: any(record.levelno >= logging.ERROR for record in caplog.records))
    good.sendall(frame(0, HELLO))
    wait_until(lambda: len(diary.lines) == 2)


def raises(error):
    def hook(self, *arguments):
        raise error

    return hook


def raises_in_a_coroutine(error):
    async def hook(self, *arguments):
        raise error

    return hook


def raises_later(error):
    async def hook(self, *arguments):
        await asyncio.sleep(0.001)
        raise error

    return hook


@pytest.mark.parametrize("method", ["on_connected", "on_disconnected"])
@pytest.mark.parametrize("how", [raises, raises_in_a_coroutine, raises_later])
def test_a_hook_that_raises_is_logged_and_harms_nobody(
    method, how, server_factory, raw_socket, frame, wait_until, caplog
):
    caplog.set_level(logging.DEBUG, "callmethod")
    error = LookupError("the hook's own mistake")
    calls = []

    class Broken(Numbers):
        def push(self, rpc_controller, request, done):
            calls.append(request.value)

    setattr(Broken, method, how(error))
    server = server_factory(Broken())
    raw_socket(server.address).close()
    wait_until(lambda: any(r.exc_info and r.exc_info[1] is error for r in caplog.records))
    [record] = [r for r in caplog.records if r.exc_info]
    assert record.levelno == logging.ERROR
    assert record.message.startswith(f"{method} failed peer=127.0.0.1:")
    assert "the hook's own mistake" in record.message
    wait_until(lambda: server.stats()["connections"] == 0)
    assert server.stats()["panics_total"] == 0
    if method == "on_disconnected":
        raw_socket(server.address).sendall(frame(0, HELLO))
        wait_until(lambda: calls == [1])
