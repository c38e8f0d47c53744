"""An event loop reads the answers to its calls itself, where nobody else waits for any."""

import pytest

SERVER = """
class Service(Numbers):
    def twice(self, rpc_controller, request, done):
        done(Number(value=2 * request.value))


server = callmethod.Server(protocols=[callmethod.BaiduStd()])
server.add_service(Service())
server.start()
say(server.address)
server.serve_forever()
"""

CLIENT = """
import asyncio
import concurrent.futures
from pathlib import Path

from callmethod import Controller

CALLS = 300


def turns_of_ours():
    turns = 0
    for task in Path("/proc/self/task").iterdir():
        if (task / "comm").read_text().startswith("callmethod"):
            lines = (task / "status").read_text().splitlines()
            turns += int(next(x for x in lines if x.startswith("voluntary_ctxt")).split()[1])
    return turns


async def ask(stub, count):
    for value in range(count):
        response = await stub.twice(Controller(timeout=20), Number(value=value))
        assert response.value == 2 * value


async def loop_of(address, count, gate=None):
    async with callmethod.aio.Channel(address) as channel:
        stub = Numbers_Stub(channel)
        # Until whoever has read so far leaves it to the loop.
        warm = time.monotonic() + 0.3
        while time.monotonic() < warm:
            await ask(stub, 1)
        if gate is not None:
            await asyncio.to_thread(gate.wait)
        before = turns_of_ours()
        await ask(stub, count)
        return (turns_of_ours() - before) / count


def alone(address):
    return asyncio.run(loop_of(address, CALLS))


def beside_a_thread(address):
    over = threading.Event()

    def block():
        stub, made = Numbers_Stub(callmethod.Channel(address)), 0
        while not over.is_set():
            assert stub.twice(Controller(timeout=20), Number(value=made)).value == 2 * made
            made += 1
        return made

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        blocking = pool.submit(block)
        turns = asyncio.run(loop_of(address, CALLS))
        over.set()
        assert blocking.result(20) > 10
    return turns


def beside_another(address):
    gate = threading.Barrier(2)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        loops = [pool.submit(asyncio.run, loop_of(address, CALLS, gate)) for _ in range(2)]
        return min(loop.result(60) for loop in loops)


def one_after_the_other(address):
    return max(alone(address) for _ in range(5))


def blocked(address):
    async def main():
        async with callmethod.aio.Channel(address) as channel:
            stub = Numbers_Stub(channel)
            await ask(stub, 1)
            for pause in (0.0, 0.05, 0.5) * 3:
                calls = [stub.twice(Controller(timeout=20), Number(value=v)) for v in range(20)]
                await asyncio.sleep(0)
                time.sleep(pause)
                assert [(await call).value for call in calls] == [2 * v for v in range(20)]

    asyncio.run(main())
    return 0.0


say(globals()[sys.argv[2]](sys.argv[1]))
"""


@pytest.fixture
def turns(script):
    """``turns(name)``: how often threads of ours waited for something, for each call of that."""

    def run(name):
        server = script(SERVER)
        client = script(CLIENT, server.line(), name)
        turns = float(client.line(60))
        assert client.end()[0] == 0
        return turns

    return run


@pytest.mark.parametrize("name", ["alone", "one_after_the_other"])
def test_our_threads_rest_while_one_loop_calls(turns, name):
    assert turns(name) < 0.5


@pytest.mark.parametrize("name", ["beside_a_thread", "beside_another"])
def test_all_are_answered_where_others_wait_as_well(turns, name):
    turns(name)


def test_all_are_answered_while_the_loop_is_blocked(turns):
    turns("blocked")
