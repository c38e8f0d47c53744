"""The bytes of the protocol page, sent by a plain socket; the answer is a call the other way."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest

from client_service_pb2 import ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService

if TYPE_CHECKING:
    from collections.abc import Callable

    import callmethod

FRAME = bytes.fromhex("0c000000 0000 0a08 6d3030303030302d")


class Game(GameService):
    """Answers through the channel back to the caller, never through done."""

    def connect_server(self, rpc_controller: Any, request: Any, done: Any) -> None:
        answer = ResponseMessage(message="welcome " + request.message)
        ClientService_Stub(rpc_controller.rpc_channel).welcome(None, answer)
        if request.message.endswith("!"):
            ClientService_Stub(rpc_controller.channel).announce(None, answer)


@pytest.fixture
def server(server_factory: Callable[..., callmethod.Server]) -> callmethod.Server:
    return server_factory(Game())


@pytest.fixture
def sock(server: callmethod.Server, raw_socket: Callable[[str], socket.socket]) -> socket.socket:
    return raw_socket(server.address)


def test_the_frame_is_the_one_of_the_protocol_page() -> None:
    assert RequestMessage(message="m000000-").SerializeToString() == FRAME[6:]


def test_the_answer_comes_back_as_a_call(
    sock: socket.socket, read_frame: Callable[..., Any]
) -> None:
    sock.sendall(FRAME)
    index, body = read_frame(sock)
    assert index == 0
    assert ResponseMessage.FromString(body).message == "welcome m000000-"


def test_the_answer_is_these_bytes(sock: socket.socket) -> None:
    sock.sendall(FRAME)
    expected = bytes.fromhex("14000000 0000 0a10") + b"welcome m000000-"
    data = b""
    while len(data) < len(expected):
        data += sock.recv(100)
    assert data == expected


def test_the_index_of_the_method_called_back(
    sock: socket.socket, read_frame: Callable[..., Any], write_frame: Callable[..., None]
) -> None:
    write_frame(sock, 0, RequestMessage(message="hi!").SerializeToString())
    assert [read_frame(sock)[0], read_frame(sock)[0]] == [0, 1]


def test_many_frames_in_one_write(sock: socket.socket, read_frame: Callable[..., Any]) -> None:
    sock.sendall(FRAME * 100)
    assert {read_frame(sock) for _ in range(100)} == {(0, b"\x0a\x10welcome m000000-")}


def test_a_closed_write_side_still_gets_its_answers(
    sock: socket.socket, read_frame: Callable[..., Any]
) -> None:
    sock.sendall(FRAME * 3)
    sock.shutdown(socket.SHUT_WR)
    assert [read_frame(sock)[0] for _ in range(3)] == [0, 0, 0]
    assert read_frame(sock) is None


def test_a_frame_split_at_every_byte(
    server: callmethod.Server,
    sock: socket.socket,
    read_frame: Callable[..., Any],
    wait_until: Callable[..., Any],
) -> None:
    sent = 0
    for cut in range(1, len(FRAME)):
        for part in (FRAME[:cut], FRAME[cut:]):
            sock.sendall(part)
            sent += len(part)
            # The other half is sent only when the server has taken this one.
            wait_until(lambda: server.stats()["bytes_received_total"] == sent)  # noqa: B023
        assert ResponseMessage.FromString(read_frame(sock)[1]).message == "welcome m000000-"
    assert server.stats()["calls_received_total"] == len(FRAME) - 1


def test_over_a_unix_socket(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    read_frame: Callable[..., Any],
    short_tmp: str,
) -> None:
    server = server_factory(Game(), f"unix:{short_tmp}/game")
    assert server.address == f"unix:{short_tmp}/game"
    sock = raw_socket(server.address)
    sock.sendall(FRAME)
    assert read_frame(sock) == (0, b"\x0a\x10welcome m000000-")
