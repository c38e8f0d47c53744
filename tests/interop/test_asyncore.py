"""An asyncore peer plays both roles against ours: client of our server, server of our channel.

The peer runs in an interpreter of its own: it is a stranger, and what asyncore says about its own
age (a DeprecationWarning on 3.10 and 3.11, gone from Python 3.12 on, then PyPI's pyasyncore) stays
out of this process.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from client_service_pb2 import ClientService, ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService, GameService_Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import callmethod

PEER = Path(__file__).with_name("asyncore_peer.py")
COUNT = 200


@pytest.fixture
def peer(child_env: dict[str, str]) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the peer with its arguments; it is ended at teardown if it has not left."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "ignore::DeprecationWarning", str(PEER), *arguments],
            env=child_env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def leave(process: subprocess.Popen[str]) -> str:
    """Wait until the peer has left well; what it printed."""
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0, err
    return out


class Game(GameService):
    """Our server end, answering every call by a call."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def connect_server(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.names.append(request.message)
        stub = ClientService_Stub(rpc_controller.rpc_channel)
        if len(self.names) == 1:
            stub.announce(None, ResponseMessage(message="the game begins"))
        stub.welcome(None, ResponseMessage(message="welcome " + request.message))


class Player(ClientService):
    """Our client end, called back over the channel that it called on."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.complete = threading.Event()

    def welcome(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.heard.append(request.message)

    def announce(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.heard.append(request.message)
        if len(self.heard) == 2 * COUNT:
            self.complete.set()


NAMES = [f"m{number:06}-" for number in range(COUNT)]


def test_asyncore_client_of_our_server(
    peer: Callable[..., subprocess.Popen[str]],
    server_factory: Callable[..., callmethod.Server],
    wait_until: Callable[..., Any],
) -> None:
    game = Game()
    server = server_factory(game)
    host, _, port = server.address.rpartition(":")
    lines = leave(peer("connect", host, port, str(COUNT))).splitlines()
    assert lines == ["announce: the game begins", *(f"welcome: welcome {name}" for name in NAMES)]
    assert game.names == NAMES
    wait_until(lambda: server.stats()["connections"] == 0)
    stats = server.stats()
    assert stats["calls_received_total"] == COUNT
    assert stats["calls_sent_total"] == COUNT + 1
    assert not any(stats["rejected_total"].values())


def test_asyncore_server_of_our_channel(
    peer: Callable[..., subprocess.Popen[str]], channel_factory: Callable[..., callmethod.Channel]
) -> None:
    process = peer("serve")
    assert process.stdout is not None
    word, _, port = process.stdout.readline().partition(" ")
    assert word == "port"
    player = Player()
    channel = channel_factory(f"127.0.0.1:{int(port)}", service=player)
    stub = GameService_Stub(channel)
    for name in NAMES:
        assert stub.connect_server(None, RequestMessage(message=name)) is None
    assert player.complete.wait(10)
    assert player.heard == [
        word for name in NAMES for word in (f"welcome {name}", f"{name} is here")
    ]
    channel.close()
    assert leave(process) == "closed\n"
