"""``async def`` handlers: on whose loop they run, in which order, and how they end."""

import asyncio
import importlib.util
import logging
import sys
import threading

import pytest

import callmethod
from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver, Receiver_Stub

HELLO = Number(value=1)


class AsyncNumbers(Numbers):
    """``push`` is the coroutine function that it was given."""

    def __init__(self, handler):
        self.handler = handler

    async def push(self, rpc_controller, request, done):
        return await self.handler(rpc_controller, request, done)


@pytest.fixture
def served(server_factory, raw_socket, frame, wait_until):
    """``served(handler, values)``: a server and a socket on which those calls were sent."""

    def serve(handler, values=(1,)):
        server = server_factory(AsyncNumbers(handler))
        sock = raw_socket(server.address)
        sock.sendall(b"".join(frame(0, Number(value=value)) for value in values))
        return server, sock

    return serve


def server_method(service):
    """Full name of the only method of a service."""
    return service.GetDescriptor().methods[0].full_name


def total(server, outcome):
    return server.stats()["calls_total"].get(outcome, 0)


async def eventually(predicate):
    for _ in range(2500):
        if predicate():
            return
        await asyncio.sleep(0.002)
    pytest.fail("not within five seconds")


def on_running_loop(run, server_factory, raw_socket, frame):
    """Starts a server inside a running loop; both calls must come to that loop."""
    seen = []

    async def handler(controller, request, done):
        seen.append((asyncio.get_running_loop(), threading.get_ident()))
        await asyncio.sleep(0)
        done(request)

    async def main():
        server = server_factory(AsyncNumbers(handler))
        raw_socket(server.address).sendall(frame(0, HELLO) * 2)
        await eventually(lambda: total(server, "ok") == 2)
        assert seen == [(asyncio.get_running_loop(), threading.get_ident())] * 2
        await asyncio.get_running_loop().run_in_executor(None, server.stop, 0.0)

    run(main())
    assert len(seen) == 2


def test_a_task_has_the_name_of_its_method(served, wait_until):
    names = []

    async def handler(controller, request, done):
        names.append(asyncio.current_task().get_name())
        done(request)

    server, _ = served(handler)
    wait_until(lambda: total(server, "ok") == 1)
    assert names == [server_method(AsyncNumbers)]


def test_a_loop_with_a_task_factory_makes_tasks_in_its_own_way_or_says_why_not(
    server_factory, raw_socket, frame
):
    made, names = [], []

    async def handler(controller, request, done):
        await asyncio.sleep(0)
        names.append(asyncio.current_task().get_name())
        done(request)

    def factory(loop, coroutine, **more):
        if len(made) == 1:
            made.append(None)
            raise OSError("no tasks today")
        made.append(asyncio.Task(coroutine, loop=loop, **more))
        return made[-1]

    async def main():
        server = server_factory(AsyncNumbers(handler))
        asyncio.get_running_loop().set_task_factory(factory)
        raw_socket(server.address).sendall(frame(0, HELLO) * 3)
        await eventually(lambda: total(server, "ok") == 2)
        assert total(server, "INTERNAL") == 1
        assert len(made) == 3
        asyncio.get_running_loop().set_task_factory(None)
        await asyncio.get_running_loop().run_in_executor(None, server.stop, 0.0)

    asyncio.run(main())
    assert names == [server_method(AsyncNumbers)] * 2


def test_on_the_loop_that_ran_at_start(server_factory, raw_socket, frame):
    on_running_loop(asyncio.run, server_factory, raw_socket, frame)


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_on_a_uvloop(server_factory, raw_socket, frame):
    import uvloop

    def run(coroutine):
        loop = uvloop.new_event_loop()
        try:
            loop.run_until_complete(coroutine)
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    on_running_loop(run, server_factory, raw_socket, frame)


def test_else_on_a_loop_of_the_servers_own(served, wait_until):
    seen = []

    async def handler(controller, request, done):
        await asyncio.sleep(0)
        seen.append((asyncio.get_running_loop(), threading.get_ident()))
        done(request)

    server, _ = served(handler, range(3))
    wait_until(lambda: total(server, "ok") == 3)
    assert len(set(seen)) == 1
    assert seen[0][1] != threading.get_ident()


def test_a_server_whose_loop_was_closed_still_stops(
    server_factory, raw_socket, frame, in_thread, wait_until
):
    async def handler(controller, request, done):
        done(request)

    async def main():
        return server_factory(AsyncNumbers(handler))

    server = asyncio.run(main())
    raw_socket(server.address).sendall(frame(0, HELLO))
    wait_until(lambda: sum(server.stats()["calls_total"].values()) == 1)
    assert total(server, "ok") == 0
    in_thread(lambda: server.stop(grace=0.2))(5)


def test_one_connection_is_served_in_order_and_never_two_at_once(served, wait_until):
    order = []
    running = []

    async def handler(controller, request, done):
        running.append(request.value)
        assert running == [request.value]
        await asyncio.sleep(0.004 if request.value % 10 == 0 else 0)
        order.append(running.pop())
        done(request)

    server, _ = served(handler, range(100))
    wait_until(lambda: sum(server.stats()["calls_total"].values()) == 100)
    assert order == list(range(100))
    assert total(server, "ok") == 100


def test_connections_are_served_side_by_side(server_factory, raw_socket, frame, wait_until):
    together = []

    async def handler(controller, request, done):
        together.append(request.value)
        while len(together) < 3:
            await asyncio.sleep(0.001)
        done(request)

    server = server_factory(AsyncNumbers(handler))
    for value in range(3):
        raw_socket(server.address).sendall(frame(0, Number(value=value)))
    wait_until(lambda: total(server, "ok") == 3)


def test_more_coroutines_than_workers(server_factory, raw_socket, frame, wait_until):
    """A coroutine that waits holds its connection, and no worker."""
    together = []

    async def handler(controller, request, done):
        together.append(request.value)
        while len(together) < 8:
            await asyncio.sleep(0.001)
        done(request)

    server = server_factory(AsyncNumbers(handler), max_workers=2)
    for value in range(8):
        raw_socket(server.address).sendall(frame(0, Number(value=value)))
    wait_until(lambda: total(server, "ok") == 8)


@pytest.mark.parametrize("suspends", [False, True], ids=["at once", "after a wait"])
def test_an_exception_is_internal_and_logged(served, wait_until, caplog, suspends):
    caplog.set_level(logging.DEBUG, "callmethod")
    error = LookupError("in a coroutine")

    async def handler(controller, request, done):
        if suspends:
            await asyncio.sleep(0.001)
        raise error

    server, _ = served(handler)
    wait_until(lambda: total(server, "INTERNAL") == 1)
    wait_until(lambda: any(r.exc_info and r.exc_info[1] is error for r in caplog.records))
    assert sum(server.stats()["calls_total"].values()) == 1


def test_a_cancelled_coroutine_is_a_failure(served, wait_until):
    async def handler(controller, request, done):
        if request.value == 1:
            asyncio.current_task().cancel()
            await asyncio.sleep(5)
        done(request)

    server, _ = served(handler, [1, 2])
    wait_until(lambda: total(server, "ok") == 1)
    outcomes = {key: count for key, count in server.stats()["calls_total"].items() if count}
    assert sum(outcomes.values()) == 2
    assert set(outcomes) - {"ok"} <= {"CANCELLED", "INTERNAL"}


def test_a_returned_message_ends_the_call(served, wait_until):
    async def handler(controller, request, done):
        await asyncio.sleep(0)
        return request

    server, _ = served(handler)
    wait_until(lambda: total(server, "ok") == 1)
    assert server.stats()["responses_discarded_total"] == 1


def test_done_twice_raises_in_the_coroutine(served, wait_until):
    raised = []

    async def handler(controller, request, done):
        done(request)
        with pytest.raises(RuntimeError, match="done") as caught:
            done(request)
        raised.append(caught.value)

    server, _ = served(handler)
    wait_until(lambda: raised)
    wait_until(lambda: total(server, "ok") == 1)
    assert sum(server.stats()["calls_total"].values()) == 1


def test_done_may_come_after_the_coroutine(served, wait_until):
    async def handler(controller, request, done):
        asyncio.get_running_loop().call_later(0.02, done, request)

    server, _ = served(handler, range(3))
    wait_until(lambda: total(server, "ok") == 3)
    assert sum(server.stats()["calls_total"].values()) == 3


def test_a_dropped_done_is_unanswered(served, wait_until):
    async def handler(controller, request, done):
        await asyncio.sleep(0)

    server, _ = served(handler, range(3))
    wait_until(lambda: total(server, "unanswered") == 3)


def test_a_push_from_a_coroutine(served, read_frame):
    async def handler(controller, request, done):
        stub = Receiver_Stub(controller.rpc_channel)
        stub.number(None, Number(value=request.value * 10))
        await asyncio.sleep(0)
        ended = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()
        stub.number(
            None,
            Number(value=request.value * 10 + 1),
            lambda response: loop.call_soon_threadsafe(ended.set_result, response),
        )
        assert await ended is None

    _, sock = served(handler, [1, 2])
    values = [Number.FromString(read_frame(sock)[1]).value for _ in range(4)]
    assert values == [10, 11, 20, 21]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout came with Python 3.11")
def test_timeouts_and_task_groups_work_inside(served, wait_until):
    seen = []

    async def handler(controller, request, done):
        assert asyncio.current_task() is not None
        try:
            async with asyncio.timeout(0.01):
                await asyncio.sleep(10)
        except TimeoutError:
            seen.append("timeout")
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(0))
        seen.append("group")
        done(request)

    server, _ = served(handler)
    wait_until(lambda: sum(server.stats()["calls_total"].values()) == 1)
    assert seen == ["timeout", "group"]
    assert total(server, "ok") == 1


def test_sync_and_async_methods_of_one_service_keep_their_order(
    server_factory, raw_socket, frame, wait_until
):
    order = []

    class Mixed(Numbers):
        async def push(self, rpc_controller, request, done):
            await asyncio.sleep(0.001)
            order.append(request.value)

        def twice(self, rpc_controller, request, done):
            order.append(request.value)

    server = server_factory(Mixed())
    raw_socket(server.address).sendall(
        b"".join(frame(value % 2, Number(value=value)) for value in range(60))
    )
    wait_until(lambda: len(order) == 60)
    assert order == list(range(60))


def test_hooks_of_several_services_may_all_be_coroutines(channel_factory, wait_until):
    lines = []
    opened = threading.Event()

    class First(Numbers):
        async def on_connected(self, channel):
            lines.append("first begins")
            while not opened.is_set():
                await asyncio.sleep(0.01)
            lines.append("first")

        async def on_disconnected(self, channel, reason):
            await asyncio.sleep(0.05)
            lines.append("first left")

        def push(self, rpc_controller, request, done):
            lines.append("call")
            done(request)

    class Second(Receiver):
        async def on_connected(self, channel):
            await asyncio.sleep(0)
            lines.append("second")

        async def on_disconnected(self, channel, reason):
            await asyncio.sleep(0)
            lines.append("second left")

    server = callmethod.Server("127.0.0.1:0", protocols=[callmethod.BaiduStd()])
    server.add_service(First())
    server.add_service(Second())
    server.start()
    channel = channel_factory(server.address, protocol=callmethod.BaiduStd())
    told = []
    Numbers_Stub(channel).push(None, HELLO, told.append)
    wait_until(lambda: {"first begins", "second"} <= set(lines))
    assert told == []
    opened.set()
    wait_until(lambda: told == [HELLO])
    assert sorted(lines[:3]) == ["first", "first begins", "second"]
    assert lines[3:] == ["call"]
    channel.close()
    wait_until(lambda: len(lines) == 6)
    assert sorted(lines[4:]) == ["first left", "second left"]
    server.stop(grace=1.0)
    assert server.stats()["panics_total"] == 0
