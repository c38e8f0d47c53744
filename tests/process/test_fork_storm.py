"""Forks, again and again, with a thousand calls in flight: the parent's calls all end, once each,
and the child starts from scratch.

CALLMETHOD_FORK_RUNS says how many forks (10 by default); `make process-counts` makes 200.
"""

import os

import pytest

RUNS = int(os.environ.get("CALLMETHOD_FORK_RUNS", "10"))

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

STORM = """
import asyncio, warnings

# From Python 3.12 on a fork in a process with threads warns; here it is what is tested.
warnings.filterwarnings("ignore", category=DeprecationWarning)

RUNS = int(sys.argv[1])
CALLS = 1000
BLOCKING = AWAITED = 20
PROTOCOLS = [
    callmethod.BaiduStd(),
    callmethod.Indexed(id_width=4, reply="by_id"),
    callmethod.Hulu(),
    callmethod.Sofa(),
    callmethod.Indexed(reply="in_order"),
]


class Holds(Numbers):
    def __init__(self):
        self.held = []
        self.lock = threading.Lock()

    def push(self, rpc_controller, request, done):
        done(request)

    def twice(self, rpc_controller, request, done):
        with self.lock:
            self.held.append((request.value, done))

    def release(self):
        with self.lock:
            held, self.held = self.held, []
        for value, done in held:
            done(Number(value=2 * value))


def make_pair(protocol):
    service = Holds()
    server = callmethod.Server(protocols=[protocol])
    server.add_service(service)
    server.start()
    return service, server, callmethod.Channel(server.address, protocol=protocol)


async def await_all(channel, values, ended):
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))

    async def one(value):
        response = await stub.twice(callmethod.Controller(timeout=60), Number(value=value))
        ended.append((value, response.value))

    await asyncio.gather(*map(one, values))


def start(channel, ended):
    stub = Numbers_Stub(channel)

    def block(value):
        response = stub.twice(callmethod.Controller(timeout=60), Number(value=value))
        ended.append((value, response.value))

    def call_back(value):
        stub.twice(
            callmethod.Controller(timeout=60),
            Number(value=value),
            lambda response: ended.append((value, response and response.value)),
        )

    awaited = range(BLOCKING, BLOCKING + AWAITED)
    threads = [threading.Thread(target=block, args=(value,)) for value in range(BLOCKING)]
    threads.append(
        threading.Thread(target=lambda: asyncio.run(await_all(channel, awaited, ended)))
    )
    for thread in threads:
        thread.start()
    for value in range(BLOCKING + AWAITED, CALLS):
        call_back(value)
    return threads


def child(protocol, server, channel, ended):
    took = [
        refused(lambda: Numbers_Stub(channel).push(None, Number(value=1))),
        refused(lambda: Numbers_Stub(channel).push(None, Number(value=1), say)),
        refused(lambda: server.stop(0)),
        refused(channel.connect),
    ]
    before = len(ended)
    started = time.monotonic()
    _, fresh_server, fresh = make_pair(protocol)
    assert Numbers_Stub(fresh).push(None, Number(value=5)).value == 5
    took.append(time.monotonic() - started)
    fresh.close()
    fresh_server.stop()
    assert len(ended) == before, "a call of the parent's ended in the child"
    return took


pairs = [(protocol, *make_pair(protocol)) for protocol in PROTOCOLS]
refusals, firsts = [], []
for run in range(RUNS):
    protocol, service, server, channel = pairs[run % len(pairs)]
    ended = []
    threads = start(channel, ended)
    # On the wire whose answers have an order, calls run one at a time, but these let go at once.
    wait_until(lambda: len(service.held) == CALLS, 30)
    # What the child measured comes through a pipe.
    read, write = os.pipe()
    pid = in_child(lambda: os.write(write, repr(child(protocol, server, channel, ended)).encode()))
    os.close(write)
    # Half of the forks are joined first, half find calls that end meanwhile.
    if run % 2:
        service.release()
    assert join(pid, 20) == 0
    with os.fdopen(read, "rb") as pipe:
        *refusal, first = eval(pipe.read())
    refusals += refusal
    firsts.append(first)
    service.release()
    wait_until(lambda: len(ended) >= CALLS, 30)
    for thread in threads:
        thread.join()
    assert sorted(ended) == [(value, 2 * value) for value in range(CALLS)], run
for _, _, server, channel in pairs:
    assert channel.stats()["connects_total"] == 1, "a child broke the parent's connection"
    assert server.stats()["panics_total"] == channel.stats()["panics_total"] == 0
    channel.close()
    server.stop()
say(f"{RUNS} forks, {CALLS} calls in flight at each")
say(f"slowest refusal {max(refusals):.4f} s, slowest first call {max(firsts):.3f} s")
"""


@pytest.mark.timeout(30 + 5 * RUNS)
def test_forks_with_a_thousand_calls_in_flight(script):
    code, out, errors, _ = script(STORM, RUNS).end(timeout=20 + 5 * RUNS)
    assert (code, errors) == (0, "")
    assert out[0] == f"{RUNS} forks, 1000 calls in flight at each"
    print("\n".join(out))
