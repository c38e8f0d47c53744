"""Whatever handlers do with `done` and the controller, calls end once and the server serves on."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import callmethod
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Each example makes a channel and up to a dozen calls.
live = settings(max_examples=max(10, settings().max_examples // 2))

PROTOCOLS = [
    callmethod.BaiduStd(),
    callmethod.Hulu(),
    callmethod.Sofa(),
    callmethod.Indexed(id_width=4, reply="by_id"),
]
RAISED = [
    ValueError,
    MemoryError,
    RecursionError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    BaseException,
    callmethod.RpcError,
]


class Act:
    """One call, seen by its handler."""

    def __init__(self, controller: Any, request: Any, done: Any, keep: list[Any]) -> None:
        self.controller, self.request, self.done = controller, request, done
        self.keep = keep

    def answer(self) -> None:
        self.done(Number(value=self.request.value))

    def answer_none(self) -> None:
        self.done(None)

    def answer_with_another_message(self) -> None:
        self.done(Blob(data=b"?"))

    def answer_with_no_message(self) -> None:
        self.done(7)

    def answer_without_what_is_required(self) -> None:
        self.done(Number())

    def answer_too_many(self) -> None:
        self.done(Number(), Number())

    def try_to_answer(self) -> None:
        with contextlib.suppress(Exception):
            self.answer()

    def fail(self) -> None:
        self.controller.SetFailed("so it was written")

    def look_around(self) -> None:
        for look in self.controller.IsCanceled, self.controller.Failed, self.controller.ErrorText:
            look()
        with contextlib.suppress(Exception):
            self.controller.NotifyOnCancel(lambda: None)
        with contextlib.suppress(Exception):
            self.controller.Reset()
        with contextlib.suppress(Exception):
            self.controller.StartCancel()

    def keep_for_later(self) -> None:
        self.keep.append(self)

    def both_at_once(self) -> None:
        threads = [threading.Thread(target=self.try_to_answer) for _ in range(2)]
        threads += [threading.Thread(target=self.look_around)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)


MOVES = sorted(name for name in vars(Act) if not name.startswith("_"))
# What a handler does, one after the other, and what it gives back or raises in the end.
SCRIPT = st.tuples(
    st.lists(st.sampled_from(MOVES), max_size=4),
    st.one_of(st.none(), st.sampled_from([7, b"", Number(value=1)]), st.sampled_from(RAISED)),
)


class Written(Numbers):
    """Does as it is written in the script of the call."""

    def __init__(self) -> None:
        self.scripts: list[Any] = []
        self.kept: list[Act] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> Any:
        moves, end = self.scripts[request.value]
        act = Act(rpc_controller, request, done, self.kept)
        for move in moves:
            getattr(act, move)()
        if isinstance(end, type):
            raise end if end is not callmethod.RpcError else end(callmethod.Code.ABORTED, "no")
        return end

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=request.value * 2))


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[callmethod.Server, Written]]:
    service = Written()
    server = callmethod.Server("127.0.0.1:0", protocols=PROTOCOLS, max_workers=4)
    server.add_service(service)
    server.start()
    yield server, service
    server.stop(grace=0.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@live
@given(
    scripts=st.lists(SCRIPT, min_size=1, max_size=8),
    protocol=st.sampled_from(PROTOCOLS),
)
def test_each_call_ends_once_and_the_server_serves_on(
    stage: tuple[callmethod.Server, Written],
    wait_until: Callable[..., Any],
    scripts: list[Any],
    protocol: Any,
) -> None:
    server, service = stage
    service.scripts = scripts
    ends: list[int] = []
    with callmethod.Channel(server.address, protocol=protocol) as channel:
        for number in range(len(scripts)):
            controller = callmethod.Controller(timeout=10)
            told = lambda _, number=number: ends.append(number)  # noqa: E731
            Numbers_Stub(channel).push(controller, Number(value=number), told)
        # Those that are kept end when their last reference goes, or by an answer from elsewhere.
        wait_until(lambda: len(ends) + len(service.kept) >= len(scripts), 10)
        late = service.kept[:]
        service.kept.clear()
        while late:
            late[-1].try_to_answer()
            late[-1].look_around()
            late.pop()
        wait_until(lambda: len(ends) == len(scripts), 10)
    with callmethod.Channel(server.address, protocol=protocol) as channel:
        asked = callmethod.Controller(timeout=10)
        assert Numbers_Stub(channel).twice(asked, Number(value=4)).value == 8
    assert sorted(ends) == list(range(len(scripts)))
    stats = wait_until(lambda: (s := server.stats())["calls_in_flight"] == 0 and s)
    assert stats["panics_total"] == 0
    assert stats["calls_received_total"] == sum(stats["calls_total"].values())
