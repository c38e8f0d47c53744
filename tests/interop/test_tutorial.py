"""The classic tutorial's own channel on a plain socket against our server, both directions."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from client_service_pb2 import ClientService, ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService, GameService_Stub

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    import callmethod


class Game(GameService):
    """The server end: welcomes the caller and keeps its channel for later."""

    def __init__(self) -> None:
        self.players: list[Any] = []

    def connect_server(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.players.append(rpc_controller.rpc_channel)
        answer = ResponseMessage(message="welcome " + request.message)
        ClientService_Stub(rpc_controller.rpc_channel).welcome(None, answer)


class Player(ClientService):
    """The client end, written for `done` being None."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def welcome(self, rpc_controller: Any, request: Any, done: Any) -> None:
        assert rpc_controller.rpc_channel.rpc_service is self
        self.heard.append(request.message)

    def announce(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.heard.append("all: " + request.message)


def test_both_directions(
    load_file: Callable[[str], ModuleType],
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
) -> None:
    tutorial = load_file("interop/tutorial_channel.py")
    game = Game()
    server = server_factory(game)
    player = Player()
    channel = tutorial.MyRpcChannel(player, raw_socket(server.address))
    stub = GameService_Stub(channel)

    names = [f"m{number:06}-" for number in range(50)]
    for name in names:
        assert stub.connect_server(None, RequestMessage(message=name)) is None
    while len(player.heard) < len(names):
        assert channel.receive()
    assert player.heard == ["welcome " + name for name in names]

    # And a push from a thread that is in no handler.
    assert len(set(game.players)) == 1
    ClientService_Stub(game.players[0]).announce(None, ResponseMessage(message="the game begins"))
    while len(player.heard) == len(names):
        assert channel.receive()
    assert player.heard[-1] == "all: the game begins"

    # The tutorial's client closes its write side and reads to the end.
    channel.conn.shutdown(socket.SHUT_WR)
    assert not channel.receive()
