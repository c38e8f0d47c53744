"""A thousand connections, a hundred calls each way on each: counted at both ends."""

import time

from google.protobuf.internal import api_implementation

from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

CONNECTIONS = 1000
# The pure-Python protobuf parses and writes some twenty times slower: the same connections, a
# tenth of the calls.
CALLS = 10 if api_implementation.Type() == "python" else 100
TOTAL = CONNECTIONS * CALLS
SENDERS = 4


class Tally:
    """How often each number came, one byte a number; a number belongs to one connection."""

    def __init__(self):
        self.seen = bytearray(TOTAL)
        self.out_of_order = []
        self.last = {}

    def note(self, connection, value):
        self.seen[value] += 1
        if self.last.get(connection, -1) >= value:
            self.out_of_order.append(value)
        self.last[connection] = value

    def whole(self):
        return self.seen.count(1) == TOTAL


def test_none_is_lost_and_none_doubled(
    server_factory, channel_factory, in_thread, many_files, wait_until
):
    many_files(2 * CONNECTIONS + 500)
    at_server, at_clients = Tally(), Tally()

    class Echo(Numbers):
        def push(self, rpc_controller, request, done):
            peer = rpc_controller.rpc_channel
            at_server.note(peer, request.value)
            Receiver_Stub(peer).number(None, request)

    class Client(Receiver):
        def number(self, rpc_controller, request, done):
            at_clients.note(self, request.value)

    server = server_factory(Echo())
    channels = [channel_factory(server.address, service=Client()) for _ in range(CONNECTIONS)]
    started = time.monotonic()

    def send(first):
        mine = range(first, CONNECTIONS, SENDERS)
        stubs = [(connection, Numbers_Stub(channels[connection])) for connection in mine]
        for turn in range(CALLS):
            for connection, stub in stubs:
                stub.push(None, Number(value=connection * CALLS + turn))

    for result in [in_thread(lambda first=first: send(first)) for first in range(SENDERS)]:
        result(timeout=60)
    wait_until(at_server.whole, timeout=30)
    wait_until(at_clients.whole, timeout=30)
    assert time.monotonic() - started < 60

    assert at_server.out_of_order == []
    assert at_clients.out_of_order == []
    stats = server.stats()
    assert stats["connections"] == stats["connections_total"] == CONNECTIONS
    assert stats["calls_received_total"] == stats["calls_sent_total"] == TOTAL
    wait_until(lambda: sum(server.stats()["calls_total"].values()) == TOTAL)
    assert server.stats()["calls_total"]["unanswered"] == TOTAL
    for channel in channels:
        ours = channel.stats()
        assert ours["calls_sent_total"] == ours["calls_received_total"] == CALLS
        assert ours["connects_total"] == 1

    for channel in channels:
        channel.close()
    wait_until(lambda: server.stats()["connections"] == 0, timeout=10)
    assert server.stats()["disconnects_total"]["peer_closed"] == CONNECTIONS
    # A late second copy would be here by now.
    assert at_server.whole()
    assert at_clients.whole()
    assert server.stats()["calls_in_flight"] == 0
    assert server.stats()["panics_total"] == 0
