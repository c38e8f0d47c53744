"""What is done a thousand times leaves nothing behind: objects, cycles, threads, files.

Each way of making or ending a call is gone through until all that is made once is made, then again
and again; the number of objects that the collector knows must not grow with the number of rounds.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, Controller, RpcError
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable

ONE = Number(value=1)
CALLS = 40
"""In a round."""
ROUNDS = 8
PATIENT = {"timeout": 20}


class Service(Numbers):
    """Handlers that make circles of what they are given."""

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        rpc_controller.mine = (rpc_controller, rpc_controller.rpc_channel, request, done)
        rpc_controller.NotifyOnCancel(lambda mine=rpc_controller: mine)
        done(Number(value=2 * request.value))

    def fail(self, rpc_controller: Any, request: Any, done: Any) -> None:
        rpc_controller.mine = done
        # The traceback holds the frame, which holds all arguments.
        raise RuntimeError(f"no {request.value}")

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        # It ends with its connection or its deadline, or when the circle is collected.
        rpc_controller.mine = (rpc_controller, done)

    async def blob(self, rpc_controller: Any, request: Any, done: Any) -> Any:
        rpc_controller.mine = (rpc_controller, done)
        await asyncio.sleep(0)
        return request


@pytest.fixture(autouse=True)
def no_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """The records that pytest keeps have tracebacks, and these have all there was."""
    monkeypatch.setattr(logging.getLogger("callmethod"), "disabled", True)


def held() -> tuple[int, int, int]:
    """Objects that the collector knows, threads, files."""
    for _ in range(3):
        gc.collect()
    return (
        len(gc.get_objects()),
        threading.active_count(),
        len(list(Path("/proc/self/fd").iterdir())),
    )


def blocking(channel: Any) -> None:
    for _ in range(CALLS):
        controller = Controller(**PATIENT)
        controller.mine = (controller, channel)
        assert Numbers_Stub(channel).twice(controller, ONE).value == 2


def failing(channel: Any) -> None:
    kept = []
    for _ in range(CALLS):
        controller = Controller(**PATIENT)
        with pytest.raises(RpcError) as caught:
            Numbers_Stub(channel).fail(controller, ONE)
        controller.mine = caught.value
        kept.append((kept, caught.value))


def called_back(channel: Any) -> None:
    left = threading.Semaphore(0)
    for _ in range(CALLS):
        controller = Controller(**PATIENT)

        def done(response: Any, held: Any = (channel, controller)) -> None:
            left.release()

        controller.mine = done
        controller.NotifyOnCancel(lambda mine=controller: mine)
        Numbers_Stub(channel).twice(controller, ONE, done)
    for _ in range(CALLS):
        assert left.acquire(timeout=20)


def cancelled(channel: Any) -> None:
    left = threading.Semaphore(0)
    for _ in range(CALLS):
        controller = Controller(**PATIENT)

        def done(response: Any, held: Any = controller) -> None:
            left.release()

        controller.mine = done
        Numbers_Stub(channel).push(controller, ONE, done)
        controller.StartCancel()
    for _ in range(CALLS):
        assert left.acquire(timeout=20)


def late(channel: Any) -> None:
    left = threading.Semaphore(0)
    for _ in range(CALLS):
        controller = Controller(timeout=0.01)
        controller.mine = controller
        Numbers_Stub(channel).push(controller, ONE, lambda _: left.release())
    for _ in range(CALLS):
        assert left.acquire(timeout=20)


def awaited(channel: Any) -> None:
    async def main() -> None:
        stub = Numbers_Stub(callmethod.aio.awaitable(channel))
        tasks = [
            asyncio.ensure_future(stub.twice(Controller(**PATIENT), ONE)) for _ in range(CALLS)
        ]
        await asyncio.sleep(0)
        for task in tasks[::4]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def coroutines(channel: Any) -> None:
    from testing_pb2 import Blob

    for _ in range(CALLS):
        assert Numbers_Stub(channel).blob(Controller(**PATIENT), Blob(data=b"b")).data == b"b"


def new_channels(channel: Any) -> None:
    """Closed, dropped, and in a circle of their own."""
    target = channel.target_of_test
    for number in range(CALLS // 4):
        one = callmethod.Channel(target, protocol=BaiduStd())
        assert Numbers_Stub(one).twice(Controller(**PATIENT), ONE).value == 2
        if number % 3 == 0:
            one.close()
        elif number % 3 == 1:
            one.itself = one


WAYS = [
    blocking,
    failing,
    called_back,
    cancelled,
    late,
    awaited,
    coroutines,
    new_channels,
]


class Channel(callmethod.Channel):
    """One with attributes of its own."""


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_nothing_is_left_of_many_calls(
    server_factory: Callable[..., callmethod.Server],
    wait_until: Callable[..., Any],
    way: Callable[[Any], None],
) -> None:
    server = server_factory(Service(), protocols=[BaiduStd()])
    with Channel(server.address, protocol=BaiduStd()) as channel:
        channel.target_of_test = server.address

        def settled() -> tuple[int, int, int]:
            # Circles with `done` in them end their calls when they are collected.
            wait_until(lambda: gc.collect() >= 0 and server.stats()["calls_in_flight"] == 0, 20)
            wait_until(lambda: server.stats()["connections"] <= 1, 20)
            return held()

        for _ in range(3):
            way(channel)
        before = settled()
        for _ in range(ROUNDS):
            way(channel)
        after = settled()
    objects, threads, files = (now - then for now, then in zip(after, before, strict=True))
    # One object a call would be eight times that.
    assert objects < CALLS, f"{objects} objects more after {ROUNDS * CALLS} calls"
    assert threads <= 0
    assert files <= 0


def test_a_server_and_all_that_it_knew_is_let_go(
    wait_until: Callable[..., Any],
) -> None:
    def play() -> list[weakref.ref[Any]]:
        service = Service()
        server = callmethod.Server("127.0.0.1:0", protocols=[BaiduStd()])
        server.add_service(service)
        service.server = server  # type: ignore[attr-defined]
        with server, callmethod.Channel(server.address) as channel:
            blocking(channel)
            cancelled(channel)
            return [weakref.ref(one) for one in (service, server, channel)]

    gone = [reference for _ in range(3) for reference in play()]
    wait_until(lambda: gc.collect() >= 0 and not any(reference() for reference in gone), 20)


def test_memory_does_not_grow_with_calls(
    server_factory: Callable[..., callmethod.Server],
) -> None:
    """What the collector does not see: the core's own memory, and bytes."""
    server = server_factory(Service(), protocols=[BaiduStd()])

    def resident() -> int:
        gc.collect()
        return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * 4096

    with callmethod.Channel(server.address, protocol=BaiduStd()) as channel:
        stub = Numbers_Stub(channel)
        request = Number(value=1, note="n" * 10_000)
        for _ in range(500):
            stub.twice(Controller(**PATIENT), request)
        before = resident()
        for _ in range(2_000):
            stub.twice(Controller(**PATIENT), request)
        grown = resident() - before
    # 20 MB went each way.
    assert grown < 6 << 20
