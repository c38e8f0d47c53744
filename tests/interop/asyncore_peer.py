"""A peer in the classic asyncore style: a stranger that knows nothing of callmethod.

    python asyncore_peer.py connect HOST PORT COUNT   calls connect_server COUNT times, prints
                                                      what it is told, leaves when all is answered
    python asyncore_peer.py serve                     prints its port, welcomes whoever calls,
                                                      leaves when its client has gone

Needs PyPI's pyasyncore where Python has no asyncore (3.12 and newer).
"""

import asyncore
import socket
import sys
from struct import pack, unpack

from client_service_pb2 import ClientService, ClientService_Stub
from common_pb2 import RequestMessage, ResponseMessage
from game_service_pb2 import GameService, GameService_Stub


class RpcController:
    def __init__(self, rpc_channel):
        self.rpc_channel = rpc_channel


class RpcChannel:
    """Frames: '<I' length of what follows, '<H' index of the method, the message."""

    def __init__(self, rpc_service, conn):
        self.rpc_service = rpc_service
        self.conn = conn
        self.rpc_controller = RpcController(self)
        self.data = b""

    def CallMethod(self, method_descriptor, rpc_controller, request, response_class, done):
        data = request.SerializeToString()
        self.conn.send_data(pack("<I", len(data) + 2) + pack("<H", method_descriptor.index) + data)

    def input_data(self, data):
        self.data += data
        while len(self.data) >= 6:
            total_len, index = unpack("<IH", self.data[:6])
            if len(self.data) < 4 + total_len:
                return
            serialized, self.data = self.data[6 : 4 + total_len], self.data[4 + total_len :]
            method = self.rpc_service.GetDescriptor().methods[index]
            request = self.rpc_service.GetRequestClass(method)()
            request.ParseFromString(serialized)
            self.rpc_service.CallMethod(method, self.rpc_controller, request, None)


class Connection(asyncore.dispatcher):
    """One TCP connection with an output buffer, as either end has it."""

    def __init__(self, sock=None):
        asyncore.dispatcher.__init__(self, sock)
        self.obuffer = b""
        self.channel = None

    def send_data(self, data):
        self.obuffer += data

    def handle_read(self):
        data = self.recv(4096)
        if data:
            self.channel.input_data(data)

    def writable(self):
        return not self.connected or bool(self.obuffer)

    def handle_write(self):
        sent = self.send(self.obuffer)
        self.obuffer = self.obuffer[sent:]

    def handle_close(self):
        print("closed", flush=True)
        self.close()

    def handle_error(self):
        # Called while the exception is handled: the peer dies of it, and the test sees how.
        raise  # noqa: PLE0704


class Player(ClientService):
    def __init__(self, conn, count):
        self.conn = conn
        self.left = count

    def welcome(self, rpc_controller, request, done):
        print("welcome:", request.message, flush=True)
        self.left -= 1
        if not self.left:
            self.conn.close()

    def announce(self, rpc_controller, request, done):
        print("announce:", request.message, flush=True)


class Client(Connection):
    def __init__(self, host, port, count):
        Connection.__init__(self)
        self.count = count
        self.channel = RpcChannel(Player(self, count), self)
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.connect((host, port))

    def handle_connect(self):
        stub = GameService_Stub(self.channel)
        for number in range(self.count):
            stub.connect_server(None, RequestMessage(message=f"m{number:06}-"))


class Game(GameService):
    def connect_server(self, rpc_controller, request, done):
        stub = ClientService_Stub(rpc_controller.rpc_channel)
        stub.welcome(None, ResponseMessage(message="welcome " + request.message))
        stub.announce(None, ResponseMessage(message=request.message + " is here"))


class Server(asyncore.dispatcher):
    def __init__(self):
        asyncore.dispatcher.__init__(self)
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.bind(("127.0.0.1", 0))
        self.listen(5)
        print("port", self.socket.getsockname()[1], flush=True)

    def handle_accepted(self, sock, addr):
        conn = Connection(sock)
        conn.channel = RpcChannel(Game(), conn)
        self.close()  # one client is enough; the loop ends when it has gone


def main():
    if sys.argv[1] == "connect":
        Client(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        Server()
    asyncore.loop(timeout=1)


if __name__ == "__main__":
    main()
