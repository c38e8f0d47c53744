"""The channel of the classic tutorial on asyncore, with ids so that calls can be answered.

Its way of doing things is kept: a buffer that is cut at the front, GetRequestClass and CallMethod
for each call, a handle_write for whatever waits. Reads are larger than the tutorial's 4 KiB, which
would have measured nothing else.
"""

from __future__ import annotations

import asyncore
import select
import socket
import warnings
from struct import pack, unpack_from

from common import announce, parser
from handlers import Echo

READ = 256 * 1024
BACKLOG = 4096


class RpcController:
    def __init__(self, rpc_channel):
        self.rpc_channel = rpc_channel


class RpcChannel:
    def __init__(self, rpc_service, conn):
        self.rpc_service = rpc_service
        self.conn = conn
        self.rpc_controller = RpcController(self)
        self.data = bytearray()

    def input_data(self, data):
        self.data += data
        at = 0
        while len(self.data) - at >= 10:
            total_len, call_id, index = unpack_from("<IIH", self.data, at)
            end = at + 4 + total_len
            if len(self.data) < end:
                break
            self.call(call_id, index, bytes(self.data[at + 10 : end]))
            at = end
        del self.data[:at]

    def call(self, call_id, index, serialized):
        method = self.rpc_service.GetDescriptor().methods[index]
        request = self.rpc_service.GetRequestClass(method)()
        request.ParseFromString(serialized)

        def done(response):
            body = response.SerializeToString()
            self.conn.send_data(pack("<II", len(body) + 4, call_id) + body)

        self.rpc_service.CallMethod(method, self.rpc_controller, request, done)


class Connection(asyncore.dispatcher):
    def __init__(self, sock, rpc_service):
        super().__init__(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.obuffer = bytearray()
        self.channel = RpcChannel(rpc_service, self)

    def send_data(self, data):
        self.obuffer += data

    def handle_read(self):
        data = self.recv(READ)
        if data:
            self.channel.input_data(data)
        if self.obuffer:
            self.handle_write()

    def writable(self):
        return bool(self.obuffer)

    def handle_write(self):
        sent = self.send(self.obuffer)
        del self.obuffer[:sent]

    def handle_close(self):
        self.close()

    def handle_error(self):
        raise  # noqa: PLE0704  (called while the exception is handled)


class Server(asyncore.dispatcher):
    def __init__(self, port, rpc_service):
        super().__init__()
        self.rpc_service = rpc_service
        self.create_socket(socket.AF_INET, socket.SOCK_STREAM)
        self.set_reuse_addr()
        self.bind(("127.0.0.1", port))
        self.listen(BACKLOG)

    def handle_accepted(self, sock, addr):
        Connection(sock, self.rpc_service)


def main():
    options = parser(__doc__).parse_args()
    server = Server(options.port, Echo(options.nap, options.compute))
    announce(server.socket.getsockname()[1])
    # asyncore's own poll() asks for all descriptors anew each time, as it always did.
    asyncore.loop(timeout=1, use_poll=hasattr(select, "poll"))


if __name__ == "__main__":
    warnings.simplefilter("ignore", DeprecationWarning)
    main()
