"""A player: joins the game and prints what the server pushes, until its input ends (Ctrl-D).

Usage: python client.py host:port name
"""

import sys
import threading

import callmethod
from client_service_pb2 import ClientService
from common_pb2 import RequestMessage
from game_service_pb2 import GameService_Stub


class Player(ClientService):
    """What the server can call at this end."""

    def __init__(self):
        self.welcomed = threading.Event()

    def welcome(self, rpc_controller, request, done):
        """The answer to connect_server."""
        print(f"welcome: {request.message}", flush=True)
        self.welcomed.set()

    def announce(self, rpc_controller, request, done):
        """News of the others."""
        print(f"announce: {request.message}", flush=True)


def main():
    """Join, then listen."""
    try:
        target, name = sys.argv[1:]
    except ValueError:
        sys.exit(__doc__)
    player = Player()
    # service=: this end serves, too, over the connection that it has opened.
    with callmethod.Channel(target, protocol=callmethod.Indexed(), service=player) as channel:
        GameService_Stub(channel).connect_server(None, RequestMessage(message=name))
        if not player.welcomed.wait(timeout=10):
            sys.exit("no welcome within 10 s")
        sys.stdin.read()
    print("bye", flush=True)


if __name__ == "__main__":
    main()
