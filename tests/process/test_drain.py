"""SIGTERM under load on the indexed wires, which have no way to say that a server goes.

Those that have one are in test_serve_ends.py and in tests/calls/test_restarts.py.
"""

import signal
import threading

import pytest

import callmethod
from callmethod import Controller, Indexed
from testing_pb2 import Number, Numbers_Stub

KINDS = {
    "one-way": Indexed(),
    "by_id": Indexed(id_width=4, reply="by_id"),
    "in_order": Indexed(reply="in_order"),
}

SERVER = """
KINDS = {
    "one-way": callmethod.Indexed(),
    "by_id": callmethod.Indexed(id_width=4, reply="by_id"),
    "in_order": callmethod.Indexed(reply="in_order"),
}
values = []


class Service(Numbers):
    def twice(self, rpc_controller, request, done):
        time.sleep(0.001)
        values.append(request.value)
        done(Number(value=2 * request.value))


server = callmethod.Server(sys.argv[1], protocols=[KINDS[sys.argv[2]]])
server.add_service(Service())
say("loaded")
sys.stdin.readline()
server.start()
say(server.address)
server.serve_forever(grace=10)
stats = server.stats()
say(len(values), len(set(values)), stats["replies_unsent_total"])
"""


class Caller:
    """Makes one call after the other from a thread of its own."""

    def __init__(self, channel):
        self.stub = Numbers_Stub(channel)
        self.made = 0
        self.failures = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            value, self.made = self.made, self.made + 1
            try:
                response = self.stub.twice(Controller(timeout=20), Number(value=value))
            except callmethod.RpcError as error:
                self.failures.append(str(error))
            else:
                if response is not None and response.value != 2 * value:
                    self.failures.append(f"{response.value} is not twice {value}")

    def stop(self):
        self.over.set()
        self.thread.join(30)
        assert not self.thread.is_alive()


@pytest.mark.parametrize("kind", KINDS)
def test_a_drain_under_load_loses_no_call(script, channel_factory, wait_until, kind):
    first = script(SERVER, "127.0.0.1:0", kind, stdin=True)
    assert first.line() == "loaded"
    first.tell("start")
    address = first.line()
    second = script(SERVER, address, kind, stdin=True)
    assert second.line() == "loaded"
    channels = [channel_factory(address, protocol=KINDS[kind]) for _ in range(8)]
    callers = [Caller(channel) for channel in channels]
    wait_until(lambda: all(caller.made > 50 for caller in callers), 20)
    first.send(signal.SIGTERM)
    ran, _, unsent = map(int, first.line(20).split())
    assert unsent == 0
    assert first.end()[0] == 0
    second.tell("start")
    assert second.line() == address
    made = [caller.made for caller in callers]
    wait_until(
        lambda: all(c.made > before + 20 for c, before in zip(callers, made, strict=True)), 20
    )
    for caller in callers:
        caller.stop()
    failures = [failure for caller in callers for failure in caller.failures]
    for channel in channels:
        channel.close()
    second.send(signal.SIGTERM)
    ran += int(second.line(20).split()[0])
    assert second.end()[0] == 0
    total = sum(caller.made for caller in callers)
    assert failures == []
    # Each was run, and once.
    assert ran == total - sum(channel.stats()["calls_unsent_total"] for channel in channels)
