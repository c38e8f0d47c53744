"""An event loop that reads for a server whose handlers are all coroutines, and when it does not."""

import asyncio
import random
import sys
import threading
import time
from pathlib import Path

import pytest

import callmethod
from callmethod import BaiduStd, Code, Controller, RpcError
from callmethod._binding import runs_on_loop
from testing_pb2 import Number, Numbers, Numbers_Stub

HELLO = Number(value=1)
WORKERS = "callmethod-work"
"""What the kernel keeps of the names of workers."""
linux = pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel")


class Twice(Numbers):
    async def twice(self, rpc_controller, request, done):
        return Number(value=2 * request.value)


class Naps(Twice):
    """Blocks its loop where it is asked to."""

    def __init__(self):
        self.blocks = threading.Event()

    async def twice(self, rpc_controller, request, done):
        if request.value < 0:
            self.blocks.set()
            time.sleep(-request.value / 1000)  # noqa: ASYNC251  (that is what is tested)
        return Number(value=2 * request.value)


class Hooked(Twice):
    async def on_connected(self, channel):
        pass


class Mixed(Twice):
    def push(self, rpc_controller, request, done):
        done(request)


class PlainHook(Twice):
    def on_connected(self, channel):
        pass


class Generic(Twice):
    def CallMethod(self, method, rpc_controller, request, done):
        done(request)


def turns_of_workers():
    """How often the workers of this process have waited for something."""
    turns = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().strip() == WORKERS:
            lines = (task / "status").read_text().splitlines()
            turns += int(
                next(line for line in lines if line.startswith("voluntary_ctxt")).split()[1]
            )
    return turns


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("service", "runs"),
    [
        (Twice(), True),
        (Hooked(), True),
        (Mixed(), False),
        (PlainHook(), False),
        (Generic(), False),
        (Numbers(), False),
    ],
    ids=lambda value: type(value).__name__,
)
def test_which_services_run_on_the_loop_alone(service, runs):
    assert runs_on_loop(service) is runs


def worker_turns_a_call(server, channel_factory, calls=300):
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    assert stub.twice(None, HELLO).value == 2
    before = turns_of_workers()
    for value in range(calls):
        assert stub.twice(None, Number(value=value)).value == 2 * value
    return (turns_of_workers() - before) / calls


@linux
@pytest.mark.parametrize("service", [Twice(), Hooked()], ids=["plain", "hooked"])
def test_workers_rest_while_the_loop_reads(service, server_factory, channel_factory):
    server = server_factory(service, protocols=[BaiduStd()])
    assert worker_turns_a_call(server, channel_factory) < 0.5


@linux
@pytest.mark.parametrize("service", [Mixed(), PlainHook()], ids=["mixed", "hook"])
def test_a_plain_function_is_called_by_workers(service, server_factory, channel_factory):
    server = server_factory(service, protocols=[BaiduStd()])
    assert worker_turns_a_call(server, channel_factory) > 0.5


@linux
def test_authentication_is_done_by_workers(server_factory, channel_factory):
    called = []

    def authenticate(context):
        called.append(threading.current_thread().name)
        return True

    server = server_factory(Twice(), protocols=[BaiduStd()], authenticate=authenticate)
    assert worker_turns_a_call(server, channel_factory) > 0.5
    assert all(name.startswith("callmethod-worker") for name in called)


def test_a_loop_that_is_blocked_delays_no_deadline_and_loses_no_call(
    server_factory, channel_factory, in_thread
):
    service = Naps()
    server = server_factory(service, protocols=[BaiduStd()])
    blocker = in_thread(
        lambda: Numbers_Stub(channel_factory(server.address, protocol=BaiduStd())).twice(
            Controller(timeout=20), Number(value=-1500)
        )
    )
    assert service.blocks.wait(10)
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    late = Controller(timeout=0.1)
    begun = time.monotonic()
    with pytest.raises(RpcError) as caught:
        stub.twice(late, HELLO)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - begun < 1
    waits = [
        in_thread(lambda value=value: stub.twice(Controller(timeout=20), Number(value=value)))
        for value in range(20)
    ]
    assert [answered(20).value for answered in waits] == [2 * value for value in range(20)]
    assert blocker(20).value == -3000


@linux
@pytest.mark.parametrize(
    ("size", "options", "left_to_workers"),
    [(1_000, {}, False), (300_000, {}, True), (1_000, {"compression": "gzip"}, True)],
    ids=["small", "large", "compressed"],
)
def test_what_takes_long_to_read_is_left_to_workers(
    size, options, left_to_workers, server_factory, channel_factory
):
    class Notes(Numbers):
        async def push(self, rpc_controller, request, done):
            return Number(value=len(request.note))

    server = server_factory(Notes(), protocols=[BaiduStd()])
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    note = random.Random(1).randbytes(size // 2).hex()
    stub.push(None, HELLO)
    before = turns_of_workers()
    for _ in range(100):
        request = Number(value=0, note=note)
        assert stub.push(Controller(timeout=20, **options), request).value == size
    turns = turns_of_workers() - before
    assert turns > 50 if left_to_workers else turns < 50


def test_beside_a_server_with_workers(server_factory, channel_factory, numbers, in_thread):
    """Their workers read for both."""
    plain = server_factory(numbers(lambda controller, request, done: done(request)))
    hosted = server_factory(Twice(), protocols=[BaiduStd()])
    stub = Numbers_Stub(channel_factory(hosted.address, protocol=BaiduStd()))
    pushing = threading.Event()

    def push():
        other = Numbers_Stub(channel_factory(plain.address, protocol=callmethod.Indexed()))
        while not pushing.is_set():
            other.push(None, HELLO)
            pushing.wait(0.001)

    pusher = in_thread(push)
    for value in range(500):
        assert stub.twice(Controller(timeout=20), Number(value=value)).value == 2 * value
    pushing.set()
    pusher(10)


def test_two_servers_on_one_loop():
    async def main():
        servers = [callmethod.aio.Server(protocols=[BaiduStd()]) for _ in range(2)]
        for server in servers:
            server.add_service(Twice())
        async with servers[0], servers[1]:
            for _ in range(100):
                for server in servers:
                    async with callmethod.aio.Channel(server.address) as channel:
                        assert (await Numbers_Stub(channel).twice(None, HELLO)).value == 2

    asyncio.run(main())


@linux
def test_servers_that_come_and_go_leave_no_descriptor(wait_until):
    def serving():
        server = callmethod.aio.Server(protocols=[BaiduStd()])
        server.add_service(Twice())
        return server

    async def main():
        # What is shared is there as long as one server is.
        async with serving():
            await once()
            before = descriptors()
            for _ in range(10):
                await once()
            await asyncio.to_thread(wait_until, lambda: descriptors() <= before)

    async def once():
        async with serving() as server, callmethod.aio.Channel(server.server) as channel:
            assert (await Numbers_Stub(channel).twice(None, HELLO)).value == 2

    asyncio.run(main())


@linux
def test_a_loop_that_is_gone_leaves_the_server_to_workers(server_factory, channel_factory):
    async def start():
        return server_factory(Twice(), protocols=[BaiduStd()])

    server = asyncio.run(start())
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    for _ in range(3):
        with pytest.raises(RpcError, match="loop is closed"):
            stub.twice(Controller(timeout=20), HELLO)


def test_a_loop_that_pauses_goes_on(server_factory, channel_factory, in_thread):
    loop = asyncio.new_event_loop()

    async def start():
        return server_factory(Twice(), protocols=[BaiduStd()])

    server = loop.run_until_complete(start())
    stub = Numbers_Stub(channel_factory(server.address, protocol=BaiduStd()))
    calls = [in_thread(lambda: stub.twice(Controller(timeout=20), HELLO)) for _ in range(5)]
    time.sleep(0.2)  # nobody runs the loop
    loop.run_until_complete(asyncio.sleep(0.5))
    assert [answered(10).value for answered in calls] == [2] * 5
    server.stop(0)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
