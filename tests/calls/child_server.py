"""A server in a process of its own, for tests that take it down.

`child_server.py PORT`, with 0 for any. Prints `ready` once it could bind, binds when a line comes
on its standard input and prints its address; then serves until SIGTERM, which drains it. `push`
keeps its callers waiting, `twice` answers after 20 ms. It prints `held N`
at every hundredth of them.
"""

import sys
import threading

import callmethod
from testing_pb2 import Number, Numbers


class Service(Numbers):
    def __init__(self):
        self.held = []

    def push(self, rpc_controller, request, done):
        self.held.append(done)
        if len(self.held) % 100 == 0:
            print("held", len(self.held), flush=True)

    def twice(self, rpc_controller, request, done):
        timer = threading.Timer(0.02, done, (Number(value=2 * request.value),))
        timer.daemon = True
        timer.start()


protocols = [callmethod.BaiduStd(), callmethod.Hulu(), callmethod.Sofa()]
server = callmethod.Server(f"127.0.0.1:{sys.argv[1]}", protocols=protocols)
server.add_service(Service())
print("ready", flush=True)
sys.stdin.readline()
server.start()
print(server.address, flush=True)
server.serve_forever()
