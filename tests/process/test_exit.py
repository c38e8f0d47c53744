"""The interpreter can exit at any moment: the exit code as asked for, no abort, in time.

CALLMETHOD_EXIT_RUNS says how many runs the table of handlers gets in total (200 by default), and
the other tests go by that; `make process-counts` has 500 on each Python. CALLMETHOD_EXIT_SECONDS is
the time that each may take, for machines that have more to do.
"""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

import callmethod
from testing_pb2 import Number, Numbers

RUNS = int(os.environ.get("CALLMETHOD_EXIT_RUNS", "200"))
AT_ONCE = 3  # processes; they spend much of their time in starting up
IN_TIME = float(os.environ.get("CALLMETHOD_EXIT_SECONDS", "3"))
pytestmark = pytest.mark.timeout(600)
DISASTERS = re.compile(r"(?i)fatal|panicked|abort|segmentation|FATAL: exception not rethrown")

TEXT = """
import asyncio, contextlib, socket, struct

kind, way = sys.argv[1:3]
WORKERS = 4
entered = []


def frame(value):
    body = Number(value=value, note="n" * 20).SerializeToString()
    return struct.pack("<IH", 2 + len(body), 0) + body


class Service(Numbers):
    pass


def handler(function):
    Service.push = function


# The endless ones sit on every worker when the end comes; the short ones come in a stream, so that
# the end finds threads on their way into Python and out of it.
if kind == "compute":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        while True:
            sum(range(300))
elif kind == "sleep":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        while True:
            time.sleep(0.001)
elif kind == "block":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        threading.Event().wait()
elif kind == "protobuf":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        while True:
            Number.FromString(request.SerializeToString())
elif kind == "done":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        done(request)
elif kind == "return":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        return request
elif kind == "push":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)
        try:
            Receiver_Stub(rpc_controller.rpc_channel).number(None, request)
        except callmethod.RpcError:
            pass
elif kind == "async":
    @handler
    async def push(self, rpc_controller, request, done):
        entered.append(1)
        await asyncio.sleep(0)
        done(request)
elif kind == "async endless":
    @handler
    async def push(self, rpc_controller, request, done):
        entered.append(1)
        while True:
            await asyncio.sleep(0.001)
elif kind == "callbacks":
    @handler
    def push(self, rpc_controller, request, done):
        entered.append(1)

endless = kind in ("compute", "sleep", "block", "protobuf", "async endless")
server = callmethod.Server("127.0.0.1:0", max_workers=WORKERS)
server.add_service(Service())
server.start()
host, port = server.address.rsplit(":", 1)


streams = []


# The end of the process cuts the connections under these threads.
def stream():
    with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as sock:
        data = b"".join(frame(value) for value in range(1 if endless else 50))

        def drain():
            with contextlib.suppress(OSError):
                while sock.recv(65536):
                    pass

        threading.Thread(target=drain, daemon=True).start()
        streams.append(sock)
        while True:
            sock.sendall(data)
            if endless:
                threading.Event().wait()


def call_back():
    stub = Numbers_Stub(channel)
    more = threading.Semaphore(100)
    while True:
        more.acquire()
        stub.push(callmethod.Controller(), Number(value=1), lambda response: more.release())


channel = callmethod.Channel(server.address, protocol=callmethod.Indexed())
for _ in range(WORKERS):
    threading.Thread(target=call_back if kind == "callbacks" else stream, daemon=True).start()

if way == "threads":
    # Daemon threads inside blocking calls of ours: one that waits for a server, one for the end.
    away = socket.socket()
    away.bind(("127.0.0.1", 0))
    nobody = callmethod.Channel(
        "127.0.0.1:%d" % away.getsockname()[1], protocol=callmethod.Indexed()
    )

    def wait_for_nobody():
        Numbers_Stub(nobody).push(callmethod.Controller(timeout=None), Number(value=1))

    def call_for_ever():
        while True:
            Numbers_Stub(channel).push(None, Number(value=1))

    def until_closed(call):
        with contextlib.suppress(callmethod.RpcError):
            call()

    for call in (wait_for_nobody, call_for_ever, server.wait, lambda: nobody.connect(None)):
        threading.Thread(target=until_closed, args=(call,), daemon=True).start()
    wait_until(lambda: nobody.stats()["connect_failures_total"])

wait_until(lambda: kind == "callbacks" or len(streams) == WORKERS)
wait_until(lambda: len(entered) >= (WORKERS if endless else 300))
say("ready")
if way == "raise":
    raise LookupError("on purpose")
if way == "sigterm":
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(30)
if way == "_exit":
    os._exit(7)
if way == "end":
    sys.stdout.flush()
else:
    sys.exit(7)
"""


def run(script, kind, way):
    """(exit code, stderr) of one run, which must have ended in time."""
    one = script(TEXT, kind, way)
    assert one.line(60) == "ready"
    code, _, errors, seconds = one.end(timeout=IN_TIME + 20)
    one.close()
    assert seconds < IN_TIME, f"{kind} {way} took {seconds:.1f} s to exit"
    print(f"{kind} {way}: {code} after {seconds:.2f} s")
    return code, errors


HANDLERS = [
    "compute",
    "sleep",
    "block",
    "protobuf",
    "done",
    "return",
    "push",
    "async",
    "async endless",
    "callbacks",
]


@pytest.mark.parametrize("kind", HANDLERS)
def test_sys_exit_with_handlers_on_all_workers(script, kind):
    first = RUNS // len(HANDLERS)
    runs = first + (HANDLERS.index(kind) < RUNS - first * len(HANDLERS))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(lambda _: run(script, kind, "exit"), range(runs)))
    assert ends == [(7, "")] * runs


@pytest.mark.parametrize(
    ("way", "code"), [("_exit", 7), ("threads", 7), ("sigterm", -signal.SIGTERM), ("end", 0)]
)
def test_every_other_way_out(script, way, code):
    kinds = ["compute", "done", "push", "async"] if len(HANDLERS) <= RUNS else ["done"]
    kinds *= max(1, RUNS // 100)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(lambda kind: run(script, kind, way), kinds))
    assert ends == [(code, "")] * len(kinds)


@pytest.mark.parametrize("kind", ["sleep", "done"])
def test_an_uncaught_exception(script, kind):
    for _ in range(max(1, RUNS // 100)):
        code, errors = run(script, kind, "raise")
        assert code == 1
        assert errors.rstrip().endswith("LookupError: on purpose")
        assert not DISASTERS.search(errors), errors


CLEAN = """
server = callmethod.Server("127.0.0.1:0")
server.add_service(type("Empty", (Numbers,), {})())
server.start()
with callmethod.Channel(server.address, protocol=callmethod.Indexed()) as channel:
    channel.connect()
server.stop()
say("ready")
"""


def test_an_idle_process_ends_at_once(script):
    one = script(CLEAN)
    assert one.line() == "ready"
    code, _, errors, seconds = one.end()
    assert (code, errors) == (0, "")
    assert seconds < 1.5


LEFT = """
import asyncio

way, address = sys.argv[1:]
REQUEST = Number(value=1)


def in_a_function():
    channel = callmethod.Channel(address)
    return Numbers_Stub(channel).twice(None, REQUEST)


async def on_a_loop():
    channel = callmethod.aio.Channel(address)
    return await Numbers_Stub(channel).twice(None, REQUEST)


if way == "dropped":
    response = Numbers_Stub(callmethod.Channel(address)).twice(None, REQUEST)
elif way == "in a function":
    response = in_a_function()
elif way == "on a loop":
    response = asyncio.run(on_a_loop())
elif way == "kept":
    channel = callmethod.Channel(address)
    response = Numbers_Stub(channel).twice(None, REQUEST)
elif way == "many":
    for _ in range(20):
        response = in_a_function()
assert response.value == 2
say("ready")
"""


@pytest.mark.parametrize("way", ["dropped", "in a function", "on a loop", "kept", "many"])
def test_channels_that_nobody_closed(script, server_factory, way):
    class Doubler(Numbers):
        def twice(self, rpc_controller, request, done):
            done(Number(value=2 * request.value))

    address = server_factory(Doubler(), protocols=[callmethod.BaiduStd()]).address

    def run_one(_):
        one = script(LEFT, way, address)
        assert one.line() == "ready"
        code, _, errors, seconds = one.end()
        one.close()
        return code, errors, seconds < 2

    runs = max(2, RUNS // 10)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(run_one, range(runs)))
    assert ends == [(0, "", True)] * runs
