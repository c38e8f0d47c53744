"""What a stop does to traffic: it drains, then cuts, tells everyone, and leaves nothing behind."""

import asyncio
import collections
import contextlib
import gc
import re
import socket
import threading
import time
from pathlib import Path

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, Code, Indexed, RpcError
from testing_pb2 import Number, Numbers, Numbers_Stub

HELLO = Number(value=1)


def test_a_stop_without_connections_cuts_nothing(server_factory, recorder):
    server = server_factory(recorder)
    started = time.monotonic()
    summary = server.stop(grace=20)
    assert time.monotonic() - started < 3
    assert (summary.connections_cut, summary.calls_cut, summary.calls_running) == (0, 0, 0)


def test_a_stop_lets_the_running_calls_end(
    server_factory, channel_factory, recorder, in_thread, wait_until
):
    recorder.gate.clear()
    server = server_factory(recorder)
    channel = channel_factory(server.address)
    stub = Numbers_Stub(channel)
    for value in range(5):
        stub.push(None, Number(value=value))
    wait_until(lambda: server.stats()["calls_received_total"] == 5)
    started = time.monotonic()
    stopping = in_thread(lambda: server.stop(grace=20))
    wait_until(lambda: refuses(server.address))
    assert server.wait(0) is False
    recorder.gate.set()
    summary = stopping()
    assert time.monotonic() - started < 10
    assert recorder.values == list(range(5))
    assert (summary.connections_cut, summary.calls_cut, summary.calls_running) == (0, 0, 0)
    assert server.wait(0) is True


def refuses(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return True
    return False


def test_a_drain_goes_on_reading_until_the_peer_has_said_all(
    server_factory, raw_socket, recorder, frame, in_thread, wait_until
):
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    wait_until(lambda: server.stats()["connections"] == 1)
    stopping = in_thread(lambda: server.stop(grace=20))
    wait_until(lambda: refuses(server.address))
    sock.sendall(b"".join(frame(0, Number(value=value)) for value in range(10)))
    sock.shutdown(socket.SHUT_WR)
    summary = stopping()
    assert recorder.values == list(range(10))
    assert summary.connections_cut == 0


def test_a_peer_that_never_ends_is_cut_after_the_grace(
    server_factory, raw_socket, recorder, wait_until
):
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    sock.sendall(b"\x02")
    wait_until(lambda: server.stats()["bytes_received_total"] == 1)
    started = time.monotonic()
    summary = server.stop(grace=0.3)
    assert 0.25 <= time.monotonic() - started < 3
    assert summary.connections_cut == 1


def test_a_stop_at_once_tells_what_it_cut(server_factory, raw_socket, recorder, frame, wait_until):
    recorder.gate.clear()
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    sock.sendall(frame(0, HELLO) * 4)
    wait_until(lambda: server.stats()["calls_received_total"] == 4 and recorder.values)
    started = time.monotonic()
    summary = server.stop(grace=0)
    assert time.monotonic() - started < 3
    assert summary.connections_cut == 1
    assert summary.calls_cut == 3
    assert summary.calls_running == 1
    assert isinstance(summary, callmethod.StopSummary)
    recorder.gate.set()
    assert recorder.values == [1]


def test_a_stop_waits_for_the_hooks(server_factory, raw_socket, wait_until):
    told = []

    class Slow(Numbers):
        def on_connected(self, channel):
            told.append("connected")

        def on_disconnected(self, channel, reason):
            threading.Event().wait(0.1)
            told.append(reason.kind)

    server = server_factory(Slow())
    raw_socket(server.address)
    wait_until(lambda: told)
    server.stop(grace=0)
    wait_until(lambda: told == ["connected", "server_stopped"])


class Busy(Numbers):
    """Counts the calls, and keeps what it was told of the ends."""

    def __init__(self):
        self.calls = 0
        self.connected = []
        self.ends = []

    def on_connected(self, channel):
        self.connected.append(channel)

    def on_disconnected(self, channel, reason):
        self.ends.append((channel, reason))

    def push(self, rpc_controller, request, done):
        self.calls += 1
        done(request)


def send_until_it_fails(channels, failures):
    """Calls on each channel in turn, until every one has failed."""
    stubs = [Numbers_Stub(channel) for channel in channels]
    while stubs:
        for stub in list(stubs):
            try:
                stub.push(None, HELLO)
            except RpcError as error:
                failures.append(error.code)
                stubs.remove(stub)


def traffic_and_stop(grace, connections, wait_until):
    """One server and its clients, from the first call to the last close, all in here."""
    service = Busy()
    server = callmethod.Server("127.0.0.1:0", protocols=[Indexed()], max_workers=4)
    server.add_service(service)
    server.start()
    options = ChannelOptions(wait_for_ready=False)
    channels = [
        callmethod.Channel(server.address, protocol=Indexed(), options=options)
        for _ in range(connections)
    ]
    for channel in channels:
        channel.connect()
    failures = []
    senders = [
        threading.Thread(target=send_until_it_fails, args=(channels[turn::4], failures))
        for turn in range(4)
    ]
    for sender in senders:
        sender.start()
    wait_until(lambda: service.calls > 20 * connections)

    started = time.monotonic()
    server.stop(grace=grace)
    assert time.monotonic() - started < grace + 5
    for sender in senders:
        sender.join(10)
        assert not sender.is_alive()
    assert failures == [Code.UNAVAILABLE] * connections

    wait_until(lambda: len(service.ends) == connections)
    assert {channel for channel, _ in service.ends} == set(service.connected)
    assert {reason.kind for _, reason in service.ends} <= {"server_stopped", "peer_closed", "reset"}
    assert all(reason.text for _, reason in service.ends)
    stats = server.stats()
    assert stats["connections"] == 0
    assert stats["connections_total"] == connections
    assert sum(stats["disconnects_total"].values()) == connections
    assert stats["panics_total"] == 0
    for channel in channels:
        wait_until(lambda channel=channel: sum(channel.stats()["disconnects_total"].values()) == 1)
        channel.close()


def things_of_the_process():
    """Threads as Python and as the system name them, and what the open files are."""
    tasks, files = [], []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile
            tasks.append((task / "comm").read_text().strip())
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists the folder
            files.append(re.sub(r"\[\d+\]$", "", str(entry.readlink())))
    threads = [f"thread {thread.name}" for thread in threading.enumerate()]
    return collections.Counter(
        threads
        + [f"task {name}" for name in tasks]
        + [f"file {name}" for name in files if not name.startswith("/proc/")]
    )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("grace", [0, 0.5])
def test_a_stop_during_traffic_ends_all_and_leaves_nothing(grace, wait_until):
    traffic_and_stop(0, connections=4, wait_until=wait_until)  # what is started once, and stays
    gc.collect()
    time.sleep(0.2)  # what ends by itself after a stop must not count as there before
    before = things_of_the_process()
    traffic_and_stop(grace, connections=40, wait_until=wait_until)
    gc.collect()
    end = time.monotonic() + 10
    while (left := things_of_the_process() - before) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left, "left behind"


@pytest.mark.parametrize("on_a_loop", [False, True], ids=["own loop", "the user's loop"])
def test_a_coroutine_that_the_stop_cancelled_runs_no_more(channel_factory, wait_until, on_a_loop):
    cancelled, said = [], []

    class Slow(Numbers):
        async def push(self, rpc_controller, request, done):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.append(request.value)
                raise

        async def on_disconnected(self, channel, reason):
            # The farewell of a connection is no handler, and may take a moment.
            await asyncio.sleep(0.05)
            said.append(reason.kind)

    server = callmethod.aio.Server(None, protocols=[BaiduStd()])
    server.add_service(Slow())

    def call():
        channel = channel_factory(server.server, protocol=BaiduStd())
        idle = channel_factory(server.server, protocol=BaiduStd())
        idle.connect()
        Numbers_Stub(channel).push(callmethod.Controller(timeout=20), HELLO, lambda _: None)
        wait_until(lambda: server.stats()["calls_in_flight"] == 1)
        time.sleep(0.1)

    async def main():
        await server.start()
        await asyncio.to_thread(call)
        began = time.monotonic()
        return await server.stop(0.2), time.monotonic() - began

    if on_a_loop:
        summary, seconds = asyncio.run(main())
    else:
        server.server.start()
        call()
        began = time.monotonic()
        summary, seconds = server.server.stop(0.2), time.monotonic() - began
    assert summary.calls_running == 0
    assert cancelled == [1]
    assert len(said) == 2
    assert 0.2 <= seconds < 0.5


@pytest.mark.parametrize("protocol", [BaiduStd(), Indexed()], ids=["answered", "one-way"])
def test_a_stop_within_a_handler_waits_for_its_grace_and_no_longer(
    protocol, channel_factory, numbers, wait_until
):
    """It waits for all handlers, its own among them."""
    stops = []

    def push(rpc_controller, request, done):
        began = time.monotonic()
        summary = server.stop(grace=0.3)
        stops.append((summary, time.monotonic() - began))

    server = callmethod.Server(protocols=[protocol])
    server.add_service(numbers(push))
    server.start()
    options = ChannelOptions(wait_for_ready=False, max_retry=0)
    channel = channel_factory(server.address, protocol=protocol, options=options)
    endings = []
    Numbers_Stub(channel).push(None, HELLO, endings.append)
    assert server.wait(5)
    [(summary, seconds)] = wait_until(lambda: stops)
    assert summary.calls_running == 1
    assert 0.3 <= seconds < 2
    # On the one-way wire the call ended when it was sent.
    wait_until(lambda: endings == [None])


def test_an_aio_stop_within_a_coroutine_ends(channel_factory):
    class Stops(Numbers):
        async def push(self, rpc_controller, request, done):
            await server.stop(0.2)

    server = callmethod.aio.Server(protocols=[BaiduStd()])
    server.add_service(Stops())

    async def main():
        await server.start()
        channel = channel_factory(server.address, protocol=BaiduStd())
        stub = Numbers_Stub(callmethod.aio.awaitable(channel))
        with pytest.raises(RpcError):
            await stub.push(callmethod.Controller(timeout=3), HELLO)
        await asyncio.wait_for(server.wait(), 5)

    began = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - began < 5


def test_a_stop_that_comes_twice_is_one(server_factory, recorder, channel_factory, in_thread):
    server = server_factory(recorder)
    Numbers_Stub(channel_factory(server.address)).push(None, HELLO)
    first = [in_thread(lambda: server.stop(grace=10)) for _ in range(4)]
    summaries = {id(result()) for result in first}
    assert len(summaries) == 1
    began = time.monotonic()
    assert id(server.stop(grace=10)) in summaries
    assert time.monotonic() - began < 0.5


def test_a_stop_while_others_connect_loses_track_of_none(wait_until, in_thread, recorder):
    """Those that come too late are refused, those that come just then are ended."""
    server = callmethod.Server(protocols=[BaiduStd(), Indexed()])
    server.add_service(recorder)
    server.start()
    host, port = server.address.rsplit(":", 1)
    accepted, stopped = [], threading.Event()

    def connect():
        while not stopped.is_set():
            try:
                sock = socket.create_connection((host, int(port)), timeout=5)
            except OSError:
                return
            accepted.append(sock)

    connecting = [in_thread(connect) for _ in range(4)]
    wait_until(lambda: len(accepted) > 200)
    began = time.monotonic()
    server.stop(grace=20)
    assert time.monotonic() - began < 5, "nobody said anything who could be waited for"
    stopped.set()
    for connector in connecting:
        connector()
    for sock in accepted:
        with sock, contextlib.suppress(ConnectionError):
            assert sock.recv(1) == b""
    assert server.stats()["connections"] == 0


def test_a_channel_that_is_closed_while_it_connects_ends_its_calls(
    in_thread, wait_until, load_file
):
    ca = load_file("tls/authority.py").Authority()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        # It accepts, and never says anything: no handshake of TLS ends with it.
        tls = callmethod.ClientTls(ca.pem, server_name="localhost")
        channel = callmethod.Channel(address, protocol=BaiduStd(), tls=tls)
        endings = []
        Numbers_Stub(channel).push(callmethod.Controller(timeout=None), HELLO, endings.append)

        def connect():
            with pytest.raises(RpcError):
                channel.connect(None)

        connecting = in_thread(connect)
        time.sleep(0.1)
        began = time.monotonic()
        channel.close(grace=0.2)
        assert time.monotonic() - began < 2
        wait_until(lambda: endings == [None])
        connecting()
