"""The server goes away, by death or by stopping, and comes back: what calls see of it."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, ChannelOptions, Code, Controller, Hulu, RpcError, Sofa
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
PRPC, WIRES = wire.PRPC, wire.WIRES
number = wire.number

CHILD = Path(__file__).with_name("child_server.py")
PROTOCOLS = [BaiduStd(), Hulu(), Sofa()]
every_protocol = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda p: p.name)


class Child:
    """A server process; it binds when told to."""

    def __init__(self, env: dict[str, str], port: str = "0") -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), port],
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def serve(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        address = self.line()
        assert address.startswith("127.0.0.1:")
        return address

    def end(self, sig: signal.Signals) -> float:
        """End it; when it was gone."""
        self.process.send_signal(sig)
        self.process.wait(20)
        return time.monotonic()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child(child_env: dict[str, str]) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def make(port: str = "0") -> Child:
        children.append(Child(child_env, port))
        return children[-1]

    yield make
    for one in children:
        one.close()


class Caller:
    """Calls every 10 ms from a thread of its own, and keeps when each began and how it ended."""

    def __init__(self, channel: callmethod.Channel, timeout: float = 5.0) -> None:
        self.stub = Numbers_Stub(channel)
        self.timeout = timeout
        self.lock = threading.Lock()
        self.began: list[float] = []
        self.ended: list[tuple[int, str | None]] = []
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        i = 0
        while not self.stopped.wait(0.01):
            controller = Controller(timeout=self.timeout)
            self.began.append(time.monotonic())
            self.stub.twice(controller, Number(value=i), self.done(i, controller))
            i += 1

    def done(self, i: int, controller: Controller) -> Callable[[Any], None]:
        def done(response: Any) -> None:
            error = None
            if response is None:
                assert controller.code is not None
                error = f"{controller.code.name}: {controller.ErrorText()}"
            elif response.value != 2 * i:
                error = f"the answer to {response.value / 2}"
            with self.lock:
                self.ended.append((i, error))

        return done

    def stop(self) -> list[tuple[float, str]]:
        """When the calls that failed began, and why they did; each call has ended once."""
        self.stopped.set()
        self.thread.join(10)
        end = time.monotonic() + self.timeout + 5
        while len(self.ended) < len(self.began) and time.monotonic() < end:
            time.sleep(0.01)
        assert sorted(i for i, _ in self.ended) == list(range(len(self.began)))
        return [(self.began[i], error) for i, error in self.ended if error]


# ---------------------------------------------------------------- death


@every_protocol
@pytest.mark.parametrize("pool_size", [None, 1000])
def test_a_server_killed_with_1000_calls_in_flight(
    child: Callable[..., Child],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    protocol: Any,
    pool_size: int | None,
) -> None:
    if pool_size and protocol != BaiduStd():
        return
    count = 1000
    server = child()
    options = ChannelOptions(timeout=60, pool_size=pool_size)
    stub = Numbers_Stub(channel_factory(server.serve(), protocol=protocol, options=options))
    ended: list[tuple[int, Any, Code | None, float]] = []
    for i in range(count):
        controller = Controller()

        def done(response: Any, i: int = i, controller: Controller = controller) -> None:
            ended.append((i, response, controller.code, time.monotonic()))

        stub.push(controller, Number(value=i), done)
    while server.line() != f"held {count}":
        pass
    assert ended == []
    killed = time.monotonic()
    server.end(signal.SIGKILL)
    wait_until(lambda: len(ended) >= count)
    last = max(at for *_, at in ended) - killed
    print(f"all {count} calls had ended {last * 1000:.0f} ms after the kill")
    assert last < 1  # 0.1 where nothing else runs
    time.sleep(0.05)
    assert sorted(i for i, *_ in ended) == list(range(count))
    assert {(response, code) for _, response, code, _ in ended} == {(None, Code.UNAVAILABLE)}


AWAY = [0, 0.5, 1.5, 4]


def restart(
    child: Callable[..., Child],
    channel: Callable[[str], callmethod.Channel],
    away: float,
    sig: signal.Signals,
) -> tuple[Caller, float, list[tuple[float, str]]]:
    first = child()
    address = first.serve()
    second = child(address.rpartition(":")[2])  # loaded, and not bound yet
    caller = Caller(channel(address))
    time.sleep(0.4)
    died = first.end(sig)
    time.sleep(away)
    second.serve()
    back = time.monotonic()
    time.sleep(1.2)
    failures = caller.stop()
    print(f"away for {back - died:.2f} s: {len(caller.ended)} calls, {len(failures)} failed")
    assert len(caller.ended) > 20
    return caller, died, failures


@pytest.mark.parametrize(
    ("protocol", "away"),
    [(BaiduStd(), away) for away in AWAY] + [(Hulu(), 0.5), (Sofa(), 0.5)],
    ids=lambda p: getattr(p, "name", p),
)
def test_a_server_killed_and_started_again(
    child: Callable[..., Child],
    channel_factory: Callable[..., callmethod.Channel],
    protocol: Any,
    away: float,
) -> None:
    """Only calls fail that had been sent when it died."""
    _, died, failures = restart(
        child, lambda address: channel_factory(address, protocol=protocol), away, signal.SIGKILL
    )
    assert [(at - died, error) for at, error in failures if at > died + 0.05] == []
    assert all(error.startswith("UNAVAILABLE") for _, error in failures)
    assert len(failures) < 60  # those of its last moments, which are long on a busy machine


@pytest.mark.parametrize(
    ("protocol", "away"),
    [(BaiduStd(), away) for away in AWAY] + [(Hulu(), 0.5), (Sofa(), 0.5)],
    ids=lambda p: getattr(p, "name", p),
)
def test_a_server_drained_and_started_again(
    child: Callable[..., Child],
    channel_factory: Callable[..., callmethod.Channel],
    protocol: Any,
    away: float,
) -> None:
    """No call fails at all."""
    _, _, failures = restart(
        child, lambda address: channel_factory(address, protocol=protocol), away, signal.SIGTERM
    )
    assert failures == []


def test_a_pool_over_a_restart(
    child: Callable[..., Child], channel_factory: Callable[..., callmethod.Channel]
) -> None:
    options = ChannelOptions(pool_size=1000)
    _, _, failures = restart(
        child,
        lambda address: channel_factory(address, protocol=BaiduStd(), options=options),
        0.5,
        signal.SIGTERM,
    )
    assert failures == []


# ---------------------------------------------------------------- stopping, in one process


class Held(Numbers):
    def __init__(self) -> None:
        self.held: list[Any] = []

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.held.append((request, done))

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(Number(value=2 * request.value))


@pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
def test_what_a_stranger_sees_of_a_stop(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    kind: Any,
) -> None:
    """Idle connections end, new calls are told so, running ones are answered, and that is all."""
    service = Held()
    server = server_factory(service, protocols=PROTOCOLS)
    idle, busy = raw_socket(server.address), raw_socket(server.address)
    for sock in (idle, busy):
        sock.sendall(kind.call(1, number(1)))
        assert wire.read_answer(sock, kind).id == 1
    busy.sendall(kind.call(2, number(2), wire.PUSH))
    wait_until(lambda: service.held)
    stopped: list[Any] = []
    stopper = threading.Thread(target=lambda: stopped.append(server.stop(grace=10)), daemon=True)
    stopper.start()
    assert wire.read_answer(idle, kind) is None
    with pytest.raises(ConnectionRefusedError):
        raw_socket(server.address)
    for i in range(3, 6):
        busy.sendall(kind.call(i, number(1)))
        answer = wire.read_answer(busy, kind)
        assert (answer.id, answer.code) == (i, 2003)
    assert not stopped
    assert server.stats()["rejected_total"] == {"stopping": 3}
    request, done = service.held.pop()
    done(request)
    answer = wire.read_answer(busy, kind)
    assert (answer.id, answer.code, wire.value_of(answer.body)) == (2, 0, 2)
    assert wire.read_answer(busy, kind) is None
    idle.close()
    busy.close()
    stopper.join(5)
    assert (stopped[0].connections_cut, stopped[0].calls_cut) == (0, 0)


@every_protocol
def test_a_stop_does_not_wait_longer_than_its_grace(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    protocol: Any,
) -> None:
    service = Held()
    server = server_factory(service, protocols=PROTOCOLS)
    stub = Numbers_Stub(channel_factory(server.address, protocol=protocol))
    ended: list[Any] = []
    controller = Controller(timeout=30)
    stub.push(controller, Number(value=1), ended.append)
    wait_until(lambda: service.held)
    began = time.monotonic()
    server.stop(grace=0.2)
    assert 0.2 <= time.monotonic() - began < 2
    wait_until(lambda: ended)
    assert (ended, controller.code) == ([None], Code.UNAVAILABLE)


# ---------------------------------------------------------------- no server


def free_address() -> str:
    import socket as sockets

    with sockets.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


@every_protocol
def test_wait_for_ready_off(
    channel_factory: Callable[..., callmethod.Channel], protocol: Any
) -> None:
    address = free_address()
    options = ChannelOptions(wait_for_ready=False, timeout=20)
    stub = Numbers_Stub(channel_factory(address, protocol=protocol, options=options))
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(RpcError) as caught:
            stub.twice(None, Number(value=1))
        assert caught.value.code is Code.UNAVAILABLE
        assert "refused" in caught.value.text
    assert time.monotonic() - began < 5
    server = callmethod.Server(address, protocols=PROTOCOLS)
    server.add_service(Held())
    with server:
        end = time.monotonic() + 5
        while True:
            try:
                assert stub.twice(None, Number(value=1)).value == 2
            except RpcError:
                assert time.monotonic() < end
                time.sleep(0.05)
            else:
                break


@every_protocol
def test_a_call_waits_for_its_server(
    channel_factory: Callable[..., callmethod.Channel], protocol: Any
) -> None:
    address = free_address()
    stub = Numbers_Stub(channel_factory(address, protocol=protocol))
    began = time.monotonic()
    with pytest.raises(RpcError, match="refused") as caught:
        stub.twice(Controller(timeout=0.3), Number(value=1))
    assert 0.3 <= time.monotonic() - began < 2
    assert caught.value.code is Code.DEADLINE_EXCEEDED
    got: list[Any] = []
    stub.twice(Controller(timeout=10), Number(value=4), got.append)
    time.sleep(0.3)
    server = callmethod.Server(address, protocols=PROTOCOLS)
    server.add_service(Held())
    with server:
        end = time.monotonic() + 5
        while not got and time.monotonic() < end:
            time.sleep(0.005)
        assert [r and r.value for r in got] == [8]


# ---------------------------------------------------------------- the pool


@pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
def test_a_pool_gives_each_call_a_connection(
    channel_factory: Callable[..., callmethod.Channel], wait_until: Callable[..., Any], kind: Any
) -> None:
    go = threading.Event()
    at_once = threading.Semaphore(0)

    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock, kind)) is not None:
            at_once.release()
            assert go.wait(10)
            assert wire.is_quiet(sock, 0.01)  # one call at a time
            sock.sendall(kind.answer(call.id, number(2 * wire.value_of(call.body))))

    with wire.fake_server(script) as server:
        channel = channel_factory(
            server.address,
            protocol=kind.protocol(),
            options=ChannelOptions(pool_size=3, timeout=20),
        )
        stub = Numbers_Stub(channel)
        got: list[int] = []
        for i in range(3):
            stub.twice(None, Number(value=i), lambda r: got.append(r.value))
        for _ in range(3):
            assert at_once.acquire(timeout=5)
        began = time.monotonic()
        with pytest.raises(RpcError, match="3") as caught:
            stub.twice(None, Number(value=9))
        assert time.monotonic() - began < 2
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        go.set()
        wait_until(lambda: sorted(got) == [0, 2, 4])
        for i in range(10):
            assert stub.twice(None, Number(value=i)).value == 2 * i
        assert server.accepted == 3
        channel.close()


def test_a_pooled_connection_after_a_call_without_an_answer(
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    """What comes late for one call is never the next one's answer."""

    def script(sock: socket.socket, n: int) -> None:
        while (call := wire.read_call(sock)) is not None:
            if wire.value_of(call.body) == 0:
                time.sleep(0.2)
                sock.sendall(PRPC.answer(call.id, number(666)))
            else:
                sock.sendall(PRPC.answer(call.id, number(2 * wire.value_of(call.body))))

    with wire.fake_server(script) as server:
        options = ChannelOptions(pool_size=1, timeout=10)
        channel = channel_factory(server.address, protocol=BaiduStd(), options=options)
        stub = Numbers_Stub(channel)
        for i in range(1, 6):
            with pytest.raises(RpcError) as caught:
                stub.twice(Controller(timeout=0.05), Number(value=0))
            assert caught.value.code is Code.DEADLINE_EXCEEDED
            assert stub.twice(None, Number(value=i)).value == 2 * i
        channel.close()


def test_a_pool_over_many_threads(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
) -> None:
    server = server_factory(Held(), protocols=PROTOCOLS)
    options = ChannelOptions(pool_size=8)
    channel = channel_factory(server.address, protocol=BaiduStd(), options=options)
    stub = Numbers_Stub(channel)
    errors: list[BaseException] = []

    def body() -> None:
        try:
            for i in range(100):
                assert stub.twice(None, Number(value=i)).value == 2 * i
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=body) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert server.stats()["connections_total"] <= 8
