"""Code in the style of the classic tutorial, on a plain blocking socket.

As it stands in many a project since 2014; one line was changed. It read
`from google.protobuf import service`.
"""

from struct import pack, unpack

from callmethod import service


class MyRpcController(service.RpcController):
    def __init__(self, rpc_channel):
        self.rpc_channel = rpc_channel


class MyRpcChannel(service.RpcChannel):
    def __init__(self, rpc_service, conn):
        super().__init__()
        self.rpc_service = rpc_service
        self.conn = conn
        self.rpc_controller = MyRpcController(self)
        self.data = b""

    def CallMethod(self, method_descriptor, rpc_controller, request, response_class, done):
        index = method_descriptor.index
        data = request.SerializeToString()
        total_len = len(data) + 2
        self.conn.sendall(pack("<I", total_len) + pack("<H", index) + data)

    def receive(self):
        """Read once and run the calls that are complete; False at the end of the stream."""
        data = self.conn.recv(1024)
        self.data += data
        while len(self.data) >= 4:
            (total_len,) = unpack("<I", self.data[:4])
            if len(self.data) < 4 + total_len:
                break
            (index,) = unpack("<H", self.data[4:6])
            self.input_data(index, self.data[6 : 4 + total_len])
            self.data = self.data[4 + total_len :]
        return bool(data)

    def input_data(self, index, serialized):
        rpc_service = self.rpc_service
        method = rpc_service.GetDescriptor().methods[index]
        request = rpc_service.GetRequestClass(method)()
        request.ParseFromString(serialized)
        rpc_service.CallMethod(method, self.rpc_controller, request, None)
