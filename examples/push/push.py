"""A server calls its clients: push over baidu_std, with answers.

    python examples/push/push.py

A client that is to be called passes `service=` to its channel. The same with asyncio is in
push_aio.py. Exit code 1 when a line is not as expected.
"""

import logging
import sys

import callmethod
from client_service_pb2 import ClientService, ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService, GameService_Stub

EXPECTED = """\
ada is told: welcome ada
eve is told: welcome eve
ada answers: heard 'the game begins'
eve cannot be called: UNIMPLEMENTED
ada has left: UNAVAILABLE
"""


class Hall(GameService):
    """The server's service. It keeps the way back to everybody who has come in."""

    def __init__(self):
        self.guests = {}  # name -> channel

    def connect_server(self, rpc_controller, request, done):
        """Somebody comes in."""
        self.guests[request.message] = rpc_controller.rpc_channel
        done(RequestMessage(message=f"welcome {request.message}"))


class Guest(ClientService):
    """The client's service: what the server can call."""

    def announce(self, rpc_controller, request, done):
        """Take note, and say so."""
        done(ResponseMessage(message=f"heard {request.message!r}"))


def scenes(server, hall):
    """Play; yield a line about each thing that happens."""
    ada = callmethod.Channel(server.address, service=Guest())
    eve = callmethod.Channel(server.address)
    with ada, eve:
        for name, channel in {"ada": ada, "eve": eve}.items():
            answer = GameService_Stub(channel).connect_server(None, RequestMessage(message=name))
            yield f"{name} is told: {answer.message}"

        # A push is a call like any other: it blocks, calls back or is awaited, and is answered.
        news = ResponseMessage(message="the game begins")
        answer = ClientService_Stub(hall.guests["ada"]).announce(None, news)
        yield f"ada answers: {answer.message}"

        # Without service= a client would take the call for an answer to one of its own. It is not
        # sent.
        try:
            ClientService_Stub(hall.guests["eve"]).announce(None, news)
        except callmethod.RpcError as error:
            yield f"eve cannot be called: {error.code.name}"

    try:
        ClientService_Stub(hall.guests["ada"]).announce(None, news)
    except callmethod.RpcError as error:
        yield f"ada has left: {error.code.name}"


def main():
    """Play, and compare."""
    logging.getLogger("callmethod").setLevel(logging.CRITICAL)  # calls fail on purpose here
    hall, said = Hall(), []
    server = callmethod.Server("127.0.0.1:0", protocols=[callmethod.BaiduStd()])
    server.add_service(hall)
    with server:
        for line in scenes(server, hall):
            print(line, flush=True)
            said.append(line)
    if said != EXPECTED.splitlines():
        sys.exit(f"expected was:\n{EXPECTED}")


if __name__ == "__main__":
    main()
