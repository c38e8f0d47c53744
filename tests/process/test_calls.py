"""Calls with answers when their process forks or exits: one ending in the process that called,
none in the other, and the exit code that was asked for."""

import os
import signal

import pytest

# As in test_exit.py.
IN_TIME = float(os.environ.get("CALLMETHOD_EXIT_SECONDS", "3"))
EXITS = max(1, int(os.environ.get("CALLMETHOD_EXIT_RUNS", "200")) // 250)

SETUP = """
import asyncio, warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)  # forks with threads: the subject
PROTOCOLS = {
    "baidu_std": callmethod.BaiduStd(),
    "hulu_pbrpc": callmethod.Hulu(),
    "sofa_pbrpc": callmethod.Sofa(),
    "by_id": callmethod.Indexed(id_width=4, reply="by_id"),
    "in_order": callmethod.Indexed(reply="in_order"),
}
protocol = PROTOCOLS[sys.argv[1]]
held = []


class Holds(Numbers):
    def push(self, rpc_controller, request, done):
        done(request)

    def twice(self, rpc_controller, request, done):
        held.append((request, done))


def make_pair():
    server = callmethod.Server(protocols=[protocol])
    server.add_service(Holds())
    server.start()
    return server, callmethod.Channel(server.address, protocol=protocol)


endings = []


def block(stub):
    try:
        endings.append(("blocking", os.getpid(), stub.twice(None, Number(value=1)).value))
    except BaseException as error:
        endings.append(("blocking", os.getpid(), error))


def call_back(stub):
    stub.twice(
        None, Number(value=1), lambda r: endings.append(("callback", os.getpid(), r and r.value))
    )


async def awaiting(channel):
    stub = Numbers_Stub(callmethod.aio.awaitable(channel))
    try:
        endings.append(("awaited", os.getpid(), (await stub.twice(None, Number(value=1))).value))
    except BaseException as error:
        endings.append(("awaited", os.getpid(), error))


def start_all(channel, daemon=False):
    stub = Numbers_Stub(channel)
    threads = [
        threading.Thread(target=block, args=(stub,), daemon=daemon),
        threading.Thread(target=lambda: asyncio.run(awaiting(channel)), daemon=daemon),
    ]
    for thread in threads:
        thread.start()
    call_back(stub)
    wait_until(lambda: len(held) == 3)
    return threads
"""

FORK = """
server, channel = make_pair()
threads = start_all(channel)


def child():
    started = time.monotonic()
    stub = Numbers_Stub(channel)
    for controller in (None, callmethod.Controller()):
        for done in (None, endings.append):
            refused(lambda: stub.push(controller, Number(value=2), done))

    async def awaited():
        await Numbers_Stub(callmethod.aio.awaitable(channel)).push(None, Number(value=2))

    refused(lambda: asyncio.run(awaited()))
    assert time.monotonic() - started < 2
    fresh_server, fresh = make_pair()
    assert Numbers_Stub(fresh).push(None, Number(value=5)).value == 5
    fresh.close()
    fresh_server.stop()
    time.sleep(0.3)
    assert endings == [], endings  # the calls in flight are the parent's


assert join(in_child(child), 20) == 0
assert endings == [], endings
for request, done in held:
    done(Number(value=42))
wait_until(lambda: len(endings) == 3)
for thread in threads:
    thread.join()
time.sleep(0.1)
assert sorted(endings) == [(face, os.getpid(), 42) for face in ("awaited", "blocking", "callback")]
assert channel.stats()["connects_total"] == 1
channel.close()
server.stop()
say("done")
"""

EXIT = """
server, channel = make_pair()
start_all(channel, daemon=True)
say("exiting")
way = sys.argv[2]
if way == "exit":
    sys.exit(7)
if way == "raise":
    raise LookupError("on purpose")
if way == "_exit":
    os._exit(7)
if way == "sigterm":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
"""

KILLED = """
# The server is in the child: `held` is its own.
ready, tell = os.pipe()
pid = os.fork()
if pid == 0:
    server, _ = make_pair()
    os.write(tell, server.address.encode() + b"\\n")
    wait_until(lambda: len(held) == 1000, 30)
    os.write(tell, b"held\\n")
    time.sleep(60)
    os._exit(0)
os.close(tell)
lines = os.fdopen(ready)
channel = callmethod.Channel(lines.readline().strip(), protocol=protocol)
stub = Numbers_Stub(channel)
controllers = [callmethod.Controller(timeout=60) for _ in range(1000)]
ended = []
for controller in controllers:
    stub.twice(controller, Number(value=1), lambda r: ended.append((r, time.monotonic())))
assert lines.readline() == "held\\n"
killed = time.monotonic()
os.kill(pid, signal.SIGKILL)
wait_until(lambda: len(ended) >= 1000)
os.waitpid(pid, 0)
time.sleep(0.2)
assert len(ended) == 1000
assert {response for response, _ in ended} == {None}
assert {controller.code.name for controller in controllers} == {"UNAVAILABLE"}
say(ended[-1][1] - killed)
channel.close()
"""

PROTOCOLS = ["baidu_std", "hulu_pbrpc", "sofa_pbrpc", "by_id", "in_order"]

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")


@needs_fork
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_fork_with_calls_in_flight(script, protocol):
    code, out, errors, _ = script(SETUP + FORK, protocol).end(timeout=60)
    assert (code, out, errors) == (0, ["done"], "")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("way", "expected"),
    [("exit", 7), ("end", 0), ("raise", 1), ("_exit", 7), ("sigterm", -signal.SIGTERM)],
)
def test_an_exit_with_calls_in_flight(script, protocol, way, expected):
    for _ in range(EXITS):
        one = script(SETUP + EXIT, protocol, way)
        assert one.line() == "exiting"
        code, out, errors, seconds = one.end()
        one.close()
        assert (code, out) == (expected, [])
        assert seconds < IN_TIME
        if way == "raise":
            assert errors.startswith("Traceback")
            assert errors.rstrip().endswith("LookupError: on purpose")
            assert errors.count("Traceback") == 1, errors
        else:
            assert errors == ""


@needs_fork
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_server_killed_with_a_thousand_calls_in_flight(script, protocol):
    code, out, errors, _ = script(SETUP + KILLED, protocol).end(timeout=60)
    assert (code, errors) == (0, "")
    # Promised are 100 ms from the reset; the kernel takes its own time to end the process.
    assert float(out[0]) < 0.5
