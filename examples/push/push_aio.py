"""A server calls its clients, with asyncio at both ends: push.py in coroutines.

    python examples/push/push_aio.py

Exit code 1 when a line is not as expected.
"""

import asyncio
import sys

import callmethod
from client_service_pb2 import ClientService, ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService, GameService_Stub

EXPECTED = """\
ada answers: ada heard 'ada comes in'
ada is told: welcome ada
bob answers: bob heard 'bob comes in'
bob is told: welcome bob
all answer: ada heard 'the game begins', bob heard 'the game begins'
"""


class Hall(GameService):
    """The server's service. It keeps the way back to everybody who has come in."""

    def __init__(self, say):
        self.guests = []
        self.say = say

    async def connect_server(self, rpc_controller, request, done):
        """Somebody comes in, and is called back before their own call is answered."""
        # The way back blocks, like callmethod.Channel; awaitable() makes its calls awaitable.
        guest = ClientService_Stub(callmethod.aio.awaitable(rpc_controller.rpc_channel))
        self.guests.append(guest)
        news = ResponseMessage(message=f"{request.message} comes in")
        answer = await guest.announce(None, news)
        self.say(f"{request.message} answers: {answer.message}")
        return RequestMessage(message=f"welcome {request.message}")

    async def tell_all(self, text):
        """Call all guests at once, and wait for their answers."""
        news = ResponseMessage(message=text)
        answers = await asyncio.gather(*(guest.announce(None, news) for guest in self.guests))
        self.say("all answer: " + ", ".join(answer.message for answer in answers))


class Guest(ClientService):
    """The client's service: what the server can call."""

    def __init__(self, name):
        self.name = name

    async def announce(self, rpc_controller, request, done):
        """Take note, and say so."""
        return ResponseMessage(message=f"{self.name} heard {request.message!r}")


async def main():
    """Play, and compare."""
    said = []

    def say(line):
        print(line, flush=True)
        said.append(line)

    hall = Hall(say)
    server = callmethod.aio.Server("127.0.0.1:0", protocols=[callmethod.BaiduStd()])
    server.add_service(hall)
    async with (
        server,
        callmethod.aio.Channel(server.address, service=Guest("ada")) as ada,
        callmethod.aio.Channel(server.address, service=Guest("bob")) as bob,
    ):
        for name, channel in {"ada": ada, "bob": bob}.items():
            answer = await GameService_Stub(channel).connect_server(
                None, RequestMessage(message=name)
            )
            say(f"{name} is told: {answer.message}")
        await hall.tell_all("the game begins")
    if said != EXPECTED.splitlines():
        sys.exit(f"expected was:\n{EXPECTED}")


if __name__ == "__main__":
    asyncio.run(main())
