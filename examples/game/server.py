"""The game's server: welcomes whoever joins, and tells the others.

Usage: python server.py [host:port]

The first line it prints is the address. Ctrl-C or SIGTERM ends it.
"""

import logging
import sys

import callmethod
from client_service_pb2 import ClientService_Stub
from common_pb2 import ResponseMessage
from game_service_pb2 import GameService

log = logging.getLogger("game")


class Game(GameService):
    """One object for all players: a subclass of the class that protoc generated, nothing else.

    A player is the channel back to their client: `rpc_controller.rpc_channel` is the same object
    in every call of one connection. No locks, because the server below runs everything in here on
    one thread.
    """

    def __init__(self):
        self.players = {}  # channel -> name

    def connect_server(self, rpc_controller, request, done):
        """A player joins. The wire has no replies, so the answer is a call the other way."""
        channel = rpc_controller.rpc_channel
        name = self.players[channel] = request.message
        text = f"welcome {name}, players here: {len(self.players)}"
        ClientService_Stub(channel).welcome(None, ResponseMessage(message=text))
        self.tell_all_but(channel, f"{name} has joined")

    def on_disconnected(self, channel, reason):
        """callmethod calls this by its name, once for each connection that ends."""
        name = self.players.pop(channel, None)
        if name is not None:
            self.tell_all_but(channel, f"{name} has left ({reason.kind})")

    def tell_all_but(self, channel, text):
        """Push to every other player."""
        for other in self.players:
            if other is not channel:
                try:
                    ClientService_Stub(other).announce(None, ResponseMessage(message=text))
                except callmethod.RpcError:
                    # They have just gone, or have stopped reading: no harm to the others.
                    log.exception("no announcement for %s", self.players[other])


def main():
    """Serve until told to stop."""
    bind = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0"
    logging.basicConfig(level=logging.WARNING)
    server = callmethod.Server(bind, protocols=[callmethod.Indexed()], max_workers=1)
    server.add_service(Game())
    server.start()
    print(server.address, flush=True)
    server.serve_forever()
    counted = server.stats()
    print(f"calls: {counted['calls_received_total']}, pushes: {counted['calls_sent_total']}")


if __name__ == "__main__":
    main()
