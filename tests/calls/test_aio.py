"""callmethod.aio: any number of loops of any kind, on one channel and on one server."""

import asyncio
import collections
import contextlib
import gc
import re
import threading
import time
import warnings
from pathlib import Path

import pytest

import callmethod
from callmethod import BaiduStd, Code, Controller, RpcError, aio
from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

HELLO = Number(value=1)
LOOPS = 8
CALLS = 40


class AsyncAnswers(Numbers):
    """Handlers that await."""

    def __init__(self):
        self.threads = set()
        self.loops = set()
        self.held = []

    async def push(self, rpc_controller, request, done):
        await asyncio.sleep(0)
        self.threads.add(threading.get_ident())
        self.loops.add(asyncio.get_running_loop())
        return request

    async def twice(self, rpc_controller, request, done):
        self.held.append(done)

    async def fail(self, rpc_controller, request, done):
        raise RpcError(Code.ABORTED, request.note)


@pytest.fixture
def run(make_loop):
    """``run(coroutine)``: on a new loop of either kind, to its end and the loop's."""

    def to_the_end(coroutine):
        loop = make_loop()
        mishaps = []
        loop.set_exception_handler(lambda _, context: mishaps.append(context))
        try:
            result = loop.run_until_complete(asyncio.wait_for(coroutine, 30))
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()
        assert mishaps == []
        return result

    return to_the_end


async def calls_of(stub, first):
    answers = await asyncio.gather(
        *(stub.push(None, Number(value=value)) for value in range(first, first + CALLS))
    )
    return [answer.value for answer in answers]


@pytest.mark.parametrize("service_class", ["sync", "async"])
def test_eight_loops_on_one_channel(
    service_class, pair, answers, protocol, run, in_thread, wait_until
):
    service = answers if service_class == "sync" else AsyncAnswers()
    server, channel = pair(service, protocol)
    start = threading.Barrier(LOOPS)

    def one(number):
        async def main():
            start.wait(10)
            stub = Numbers_Stub(aio.awaitable(channel))
            return await calls_of(stub, number * 1000)

        return run(main())

    results = [in_thread(lambda number=number: one(number)) for number in range(LOOPS)]
    for number, result in enumerate(results):
        assert result(30) == list(range(number * 1000, number * 1000 + CALLS))
    wait_until(lambda: server.stats()["calls_total"] == {"ok": LOOPS * CALLS})
    assert server.stats()["connections_total"] == 1


def test_eight_loops_with_a_channel_each_on_one_server(server_factory, protocol, run, in_thread):
    service = AsyncAnswers()
    server = server_factory(service, protocols=[protocol])

    def one(number):
        async def main():
            async with aio.Channel(server.address, protocol=protocol) as channel:
                await channel.connect()
                assert channel.connected
                return await calls_of(Numbers_Stub(channel), number * 1000)

        return run(main())

    results = [in_thread(lambda number=number: one(number)) for number in range(LOOPS)]
    for number, result in enumerate(results):
        assert result(30) == list(range(number * 1000, number * 1000 + CALLS))
    assert server.stats()["connections_total"] == LOOPS
    assert len(service.threads) == len(service.loops) == 1


def test_loops_of_both_kinds_share_a_channel_with_threads(pair, answers, in_thread, run):
    _, channel = pair(answers)
    stub = Numbers_Stub(channel)

    async def main():
        return await calls_of(Numbers_Stub(aio.awaitable(channel)), 100)

    async def of_asyncio():
        return await main()

    def block():
        return [stub.push(None, Number(value=value)).value for value in range(CALLS)]

    results = [in_thread(lambda: asyncio.run(of_asyncio())), in_thread(lambda: run(main()))]
    blocking = in_thread(block)
    assert [result(20) for result in results] == [list(range(100, 100 + CALLS))] * 2
    assert blocking(20) == list(range(CALLS))


def test_a_loop_closed_with_calls_in_flight_harms_no_other(
    make_loop, pair, answers, wait_until, run
):
    _, channel = pair(answers)
    stub = Numbers_Stub(aio.awaitable(channel))
    controllers = [Controller(timeout=20) for _ in range(5)]

    async def main():
        futures = [stub.twice(controller, HELLO) for controller in controllers]
        while len(answers.held) < 5:
            await asyncio.sleep(0.005)
        return futures

    loop = make_loop()
    futures = loop.run_until_complete(main())
    loop.close()
    answers.release()  # the answers come to a loop that is closed
    assert Numbers_Stub(channel).push(None, HELLO) == HELLO

    async def later():
        with pytest.raises(RuntimeError):  # attached to a different loop
            await futures[0]
        return await stub.push(None, HELLO)

    assert run(later()) == HELLO
    assert channel.stats()["panics_total"] == 0


def test_a_call_whose_loop_was_closed_ends(make_loop, pair, answers, wait_until):
    """Its controller says so and is free again, at the latest at the deadline."""
    _, channel = pair(answers)
    controller = Controller(timeout=0.5)

    async def main():
        future = Numbers_Stub(aio.awaitable(channel)).twice(controller, HELLO)
        while not answers.held:
            await asyncio.sleep(0.005)
        return future

    loop = make_loop()
    future = loop.run_until_complete(main())
    loop.close()
    answers.release()
    wait_until(lambda: controller.code is not None, timeout=3)
    assert Numbers_Stub(channel).push(controller, HELLO) == HELLO
    del future


def test_a_call_on_a_loop_that_is_being_closed_is_cancelled(make_loop, pair, answers, wait_until):
    """What asyncio.run does at its end: cancel what is left, then close."""
    _, channel = pair(answers)
    controller = Controller(timeout=20)

    async def call():
        await Numbers_Stub(aio.awaitable(channel)).twice(controller, HELLO)

    async def main():
        task = asyncio.ensure_future(call())
        while not answers.held:
            await asyncio.sleep(0.005)
        return task

    loop = make_loop()
    task = loop.run_until_complete(main())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()
    wait_until(lambda: controller.code is Code.CANCELLED)


def test_async_handlers_on_a_server_whose_loop_was_closed(make_loop, channel_factory, wait_until):
    """The loop that ran at the start is gone: the caller is told, and nobody hangs."""
    server = callmethod.Server("127.0.0.1:0", protocols=[BaiduStd()])
    server.add_service(AsyncAnswers())

    async def main():
        server.start()

    loop = make_loop()
    loop.run_until_complete(main())
    loop.close()
    try:
        channel = channel_factory(server.address, protocol=BaiduStd())
        controller = Controller(timeout=10)
        started = time.monotonic()
        with warnings.catch_warnings():
            # the coroutine that no loop takes
            warnings.filterwarnings("ignore", message="coroutine .* was never awaited")
            with pytest.raises(RpcError, match="(?i)loop") as caught:
                Numbers_Stub(channel).push(controller, HELLO)
            gc.collect()
        assert time.monotonic() - started < 3
        assert caught.value.code in {Code.INTERNAL, Code.UNAVAILABLE, Code.CANCELLED}
    finally:
        server.stop(grace=0)


def test_an_async_handler_awaits_an_outgoing_call(server_factory, answers, run):
    last = server_factory(answers, protocols=[BaiduStd()])

    async def main():
        async with aio.Channel(last.address) as onward:

            class Middle(Numbers):
                async def push(self, rpc_controller, request, done):
                    number = Number(value=request.value + 1)
                    return await Numbers_Stub(onward).push(None, number)

            server = aio.Server("127.0.0.1:0")
            server.add_service(Middle())
            async with server, aio.Channel(server.address) as channel:
                return await calls_of(Numbers_Stub(channel), 0)

    assert run(main()) == list(range(1, CALLS + 1))


def test_an_async_handler_awaits_a_call_to_its_caller(run):
    """A push over baidu_std is an ordinary call, in the middle of the other one."""

    class Server(Numbers):
        async def push(self, rpc_controller, request, done):
            back = Receiver_Stub(aio.awaitable(rpc_controller.rpc_channel))
            return await back.number(Controller(timeout=5), Number(value=request.value + 1))

    class Client(Receiver):
        async def number(self, rpc_controller, request, done):
            await asyncio.sleep(0)
            return Number(value=request.value * 10)

    async def main():
        server = aio.Server("127.0.0.1:0")
        server.add_service(Server())
        async with server, aio.Channel(server.address, service=Client()) as channel:
            stub = Numbers_Stub(channel)
            numbers = [stub.push(None, Number(value=value)) for value in range(CALLS)]
            return [number.value for number in await asyncio.gather(*numbers)]

    assert run(main()) == [(value + 1) * 10 for value in range(CALLS)]


def test_a_failed_call_in_a_handler_fails_the_handler_s_call(server_factory, run):
    last = server_factory(AsyncAnswers(), protocols=[BaiduStd()])

    async def main():
        async with aio.Channel(last.address) as onward:

            class Middle(Numbers):
                async def push(self, rpc_controller, request, done):
                    return await Numbers_Stub(onward).fail(None, request)

            server = aio.Server("127.0.0.1:0")
            server.add_service(Middle())
            async with server, aio.Channel(server.address) as channel:
                with pytest.raises(RpcError) as caught:
                    await Numbers_Stub(channel).push(None, Number(value=1, note="not today"))
                return caught.value.code, caught.value.text

    code, text = run(main())
    assert code is Code.ABORTED
    assert "not today" in text


def test_handlers_run_on_the_loop_of_the_start(run):
    service = AsyncAnswers()

    async def main():
        server = aio.Server("127.0.0.1:0")
        server.add_service(service)
        async with server, aio.Channel(server.address) as channel:
            await calls_of(Numbers_Stub(channel), 0)
        return asyncio.get_running_loop()

    assert {run(main())} == service.loops
    assert service.threads == {threading.get_ident()}


def test_start_wait_stop(run):
    async def main():
        service = AsyncAnswers()
        server = aio.Server("127.0.0.1:0")
        server.add_service(service)
        await server.start()
        waiting = [asyncio.create_task(server.wait()) for _ in range(2)]
        async with aio.Channel(server.address) as channel:
            call = Numbers_Stub(channel).twice(Controller(timeout=10), HELLO)
            while not service.held:
                await asyncio.sleep(0.005)
            assert not any(task.done() for task in waiting)
            stopping = asyncio.create_task(server.stop(grace=10))
            await asyncio.sleep(0.1)
            assert not stopping.done(), "a drain waits for the handlers"
            service.held.pop()(HELLO)
            assert await call == HELLO
            summary = await stopping
        assert (summary.connections_cut, summary.calls_cut, summary.calls_running) == (0, 0, 0)
        for task in waiting:
            await asyncio.wait_for(task, 5)
        await asyncio.wait_for(server.wait(), 5)
        await server.stop()

    run(main())


def test_a_cancelled_wait_leaves_the_server_alone(run):
    async def main():
        server = aio.Server("127.0.0.1:0")
        server.add_service(AsyncAnswers())
        async with server, aio.Channel(server.address) as channel:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(server.wait(), 0.05)
            assert await Numbers_Stub(channel).push(None, HELLO) == HELLO

    run(main())


def test_waiting_calls_do_not_block_the_loop(pair, answers, run):
    _, channel = pair(answers)
    stub = Numbers_Stub(aio.awaitable(channel))

    async def main():
        futures = [stub.twice(Controller(timeout=20), Number(value=v)) for v in range(100)]
        while len(answers.held) < 100:
            await asyncio.sleep(0.005)
        assert await stub.push(None, HELLO) == HELLO
        answers.release()
        return [number.value for number in await asyncio.gather(*futures)]

    assert run(main()) == [2 * value for value in range(100)]


def test_an_error_of_a_call_nobody_awaits_is_no_noise(pair, answers, make_loop):
    """A future that is dropped with its exception unread is reported by asyncio alone."""
    _, channel = pair(answers)
    loop = make_loop()
    mishaps = []
    loop.set_exception_handler(lambda _, context: mishaps.append(context["message"]))

    async def main():
        future = Numbers_Stub(aio.awaitable(channel)).fail(None, Number(value=1, note="x"))
        while not future.done():
            await asyncio.sleep(0.005)
        del future
        gc.collect()
        await asyncio.sleep(0)

    loop.run_until_complete(main())
    loop.close()
    assert all("never retrieved" in message for message in mishaps)
    assert len(mishaps) <= 1


def things_of_the_process():
    """Threads as Python and as the system name them, and what the open files are."""
    tasks, files = [], []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):
            tasks.append((task / "comm").read_text().strip())
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            files.append(re.sub(r"\[\d+\]$", "", str(entry.readlink())))
    return collections.Counter(
        [f"thread {thread.name}" for thread in threading.enumerate()]
        + [f"task {name}" for name in tasks]
        + [f"file {name}" for name in files if not name.startswith("/proc/")]
    )


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_nothing_is_left_behind(run):
    async def main(count):
        for _ in range(count):
            server = aio.Server("127.0.0.1:0")
            server.add_service(AsyncAnswers())
            async with server:
                for _ in range(3):
                    async with aio.Channel(server.address) as channel:
                        await Numbers_Stub(channel).push(None, HELLO)

    run(main(1))
    gc.collect()
    time.sleep(0.2)
    before = things_of_the_process()
    for _ in range(4):
        run(main(3))
    gc.collect()
    end = time.monotonic() + 10
    while (left := things_of_the_process() - before) and time.monotonic() < end:
        time.sleep(0.02)
    assert not left, "left behind"


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_loop_that_ended_holds_no_descriptor(pair, answers, run):
    """At once, not when somebody looks after it: a program may run many short loops."""
    _, channel = pair(answers)

    async def one():
        await Numbers_Stub(aio.awaitable(channel)).push(None, HELLO)

    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    run(one())
    before = descriptors()
    for _ in range(50):
        run(one())
    gc.collect()
    assert descriptors() <= before + 2
