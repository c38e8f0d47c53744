"""Calls from the server to its caller: ``controller.rpc_channel``, from a handler or later.

When a service is told of its connections is in test_connections.py.
"""

import threading

import pytest
from google.protobuf.message import EncodeError

from callmethod import Code, Controller, RpcError
from client_service_pb2 import ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub, Receiver_Stub

HELLO = Number(value=1)
LIMIT = 4 * 1024 * 1024


class Echo(Numbers):
    """Pushes each number back to its caller, and remembers the callers."""

    def __init__(self):
        self.channels = []

    def push(self, rpc_controller, request, done):
        self.channels.append(rpc_controller.rpc_channel)
        Receiver_Stub(rpc_controller.rpc_channel).number(None, request)


@pytest.fixture
def echo():
    return Echo()


@pytest.fixture
def peer(server_factory, raw_socket, frame, read_frame, echo):
    """(server, socket, the server's channel to it): a raw peer that has called once."""
    server = server_factory(echo)
    sock = raw_socket(server.address)
    sock.sendall(frame(0, HELLO))
    assert read_frame(sock) == (0, HELLO.SerializeToString())
    return server, sock, echo.channels[0]


def test_the_answer_of_the_game_is_these_bytes(server_factory, raw_socket):
    class Game(GameService):
        def connect_server(self, rpc_controller, request, done):
            stub = ClientService_Stub(rpc_controller.rpc_channel)
            stub.welcome(None, ResponseMessage(message=request.message))
            stub.announce(None, ResponseMessage(message="!"), done)

    sock = raw_socket(server_factory(Game()).address)
    message = RequestMessage(message="m000000-").SerializeToString()
    assert message == bytes.fromhex("0a086d3030303030302d")
    sock.sendall(bytes.fromhex("0c0000000000") + message)
    expected = bytes.fromhex("0c0000000000") + message + bytes.fromhex("0500000001000a0121")
    received = b""
    while len(received) < len(expected):
        received += sock.recv(100)
    assert received == expected


def test_both_ends_call_each_other(server_factory, channel_factory, inbox, echo, wait_until):
    server = server_factory(echo)
    channel = channel_factory(server.address, service=inbox)
    stub = Numbers_Stub(channel)
    for value in range(200):
        stub.push(None, Number(value=value))
    wait_until(lambda: len(inbox.values) == 200)
    assert inbox.values == list(range(200))
    assert channel.stats()["calls_received_total"] == 200
    assert server.stats()["calls_sent_total"] == 200


def test_a_client_answers_a_push_on_its_rpc_channel(server_factory, channel_factory, wait_until):
    """The two ends play ping-pong: each handler calls the other end."""
    seen = []

    class Player(Numbers):
        def push(self, rpc_controller, request, done):
            seen.append(request.value)
            if request.value < 20:
                next_ = Number(value=request.value + 1)
                Numbers_Stub(rpc_controller.rpc_channel).push(None, next_)

    channel = channel_factory(server_factory(Player()).address, service=Player())
    Numbers_Stub(channel).push(None, Number(value=0))
    wait_until(lambda: len(seen) == 21)
    assert seen == list(range(21))


def test_a_push_from_any_thread_after_the_call(peer, read_frame, in_thread):
    _, sock, channel = peer
    stub = Receiver_Stub(channel)
    stub.number(None, Number(value=2))
    in_thread(lambda: stub.number(Controller(), Number(value=3)))()
    values = [Number.FromString(read_frame(sock)[1]).value for _ in range(2)]
    assert values == [2, 3]
    assert channel.connected is True
    assert channel.peer == "{}:{}".format(*sock.getsockname())


def test_done_of_a_push_is_told_once_it_is_handed_over(peer, wait_until):
    _, _, channel = peer
    told = []
    controller = Controller()
    Receiver_Stub(channel).number(
        controller, HELLO, lambda *given: told.append((given, threading.get_ident()))
    )
    wait_until(lambda: told)
    assert told[0][0] == (None,)
    assert told[0][1] != threading.get_ident()
    assert not controller.Failed()


def test_pushes_of_many_threads_are_whole_frames(peer, read_frame, in_thread):
    _, sock, channel = peer
    stub = Receiver_Stub(channel)

    def push(first):
        for value in range(first, first + 200):
            stub.number(None, Number(value=value, note="x" * (value % 50)))

    results = [in_thread(lambda first=first: push(first)) for first in range(0, 1600, 200)]
    values = [Number.FromString(read_frame(sock)[1]).value for _ in range(1600)]
    for result in results:
        result()
    assert sorted(values) == list(range(1600))
    for first in range(0, 1600, 200):
        mine = [value for value in values if first <= value < first + 200]
        assert mine == sorted(mine)


def test_a_push_to_a_connection_that_is_gone_is_unavailable(peer, wait_until):
    server, sock, channel = peer
    sock.close()
    wait_until(lambda: server.stats()["connections"] == 0)
    assert channel.connected is False
    stub = Receiver_Stub(channel)
    with pytest.raises(RpcError) as caught:
        stub.number(None, HELLO)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.peer == channel.peer
    controller = Controller()
    told = []
    stub.number(controller, HELLO, told.append)
    wait_until(lambda: told == [None])
    assert controller.code is Code.UNAVAILABLE
    assert server.stats()["calls_sent_total"] == 1


def test_a_push_to_a_stopped_server_s_connection_is_unavailable(peer):
    server, _, channel = peer
    server.stop(grace=0)
    with pytest.raises(RpcError) as caught:
        Receiver_Stub(channel).number(None, HELLO)
    assert caught.value.code is Code.UNAVAILABLE


def test_mistakes_of_the_sender_send_nothing(peer, read_frame):
    server, sock, channel = peer
    stub = Receiver_Stub(channel)
    with pytest.raises(TypeError, match="Number"):
        stub.number(None, Blob())
    with pytest.raises((EncodeError, ValueError, RpcError), match="value"):
        stub.number(None, Number())
    with pytest.raises((ValueError, RpcError), match=str(LIMIT)):
        stub.blob(None, Blob(data=bytes(LIMIT)))
    assert server.stats()["calls_sent_total"] == 1
    stub.number(None, Number(value=2))
    assert read_frame(sock) == (0, Number(value=2).SerializeToString())


def test_a_broadcast(server_factory, channel_factory, inbox_class, wait_until):
    class Table(Numbers):
        def __init__(self):
            self.players = set()

        def on_connected(self, channel):
            self.players.add(channel)

        def on_disconnected(self, channel, reason):
            self.players.discard(channel)

        def push(self, rpc_controller, request, done):
            for player in list(self.players):
                if player is not rpc_controller.rpc_channel:
                    Receiver_Stub(player).number(None, request)

    table = Table()
    server = server_factory(table)
    inboxes = [inbox_class() for _ in range(4)]
    channels = [channel_factory(server.address, service=inbox) for inbox in inboxes]
    for channel in channels:
        channel.connect()
    wait_until(lambda: len(table.players) == 4)
    Numbers_Stub(channels[0]).push(None, Number(value=5))
    wait_until(lambda: [inbox.values for inbox in inboxes] == [[], [5], [5], [5]])
    channels[1].close()
    wait_until(lambda: len(table.players) == 3)
    for player in list(table.players):  # from a thread that is no handler's
        Receiver_Stub(player).number(None, Number(value=6))
    wait_until(lambda: [inbox.values for inbox in inboxes] == [[6], [5], [5, 6], [5, 6]])


def flood(channel, blob):
    """How many blobs were accepted until the first refusal; bounded, whatever the peer does."""
    for count in range(1024):
        try:
            Receiver_Stub(channel).blob(None, blob)
        except RpcError as error:
            return count, error
    pytest.fail("64 MiB were accepted for a peer that reads nothing")


def test_a_slow_reader_is_refused_and_others_are_not(
    peer, raw_socket, frame, read_frame, wait_until, echo
):
    server, slow, channel = peer
    blob = Blob(data=bytes(64 * 1024))
    accepted, error = flood(channel, blob)
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert accepted * 64 * 1024 >= LIMIT - 64 * 1024
    assert channel.connected is True

    quick = raw_socket(server.address)
    for value in range(50):
        quick.sendall(frame(0, Number(value=value)))
        assert Number.FromString(read_frame(quick)[1]).value == value

    for _ in range(accepted):  # what was accepted comes whole, once the peer reads
        index, body = read_frame(slow)
        assert index == 1
        assert len(body) == blob.ByteSize()
    Receiver_Stub(channel).number(None, Number(value=99))
    assert read_frame(slow) == (0, Number(value=99).SerializeToString())
    wait_until(lambda: server.stats()["calls_sent_total"] == 1 + accepted + 50 + 1)


def test_a_refused_push_with_done_says_so(peer, wait_until):
    _, _, channel = peer
    blob = Blob(data=bytes(256 * 1024))
    flood(channel, blob)
    controller = Controller()
    told = []
    Receiver_Stub(channel).blob(controller, blob, told.append)
    wait_until(lambda: told == [None])
    assert controller.code is Code.RESOURCE_EXHAUSTED


def test_close_of_a_peer_ends_its_connection(peer, wait_until):
    server, sock, channel = peer
    channel.close()
    channel.close()
    assert sock.recv(1) == b""
    wait_until(lambda: server.stats()["connections"] == 0)
    assert channel.connected is False
    assert server.stats()["disconnects_total"]["closed"] == 1
    with pytest.raises(RpcError) as caught:
        Receiver_Stub(channel).number(None, HELLO)
    assert caught.value.code is Code.UNAVAILABLE
