"""Ctrl-C and SIGTERM: waits can be interrupted, and serve_forever drains, then stops."""

import signal
import socket
import struct

import pytest

# Promised are 200 ms; the rest is for a machine that is busy with other tests.
IN_TIME = 0.2 + 0.4

SETUP = """
import socket


class Slow(Numbers):
    def __init__(self):
        self.gate = threading.Event()

    def push(self, rpc_controller, request, done):
        say("entered")
        self.gate.wait(request.value)
        say("finished")


server = callmethod.Server("127.0.0.1:0")
service = Slow()
server.add_service(service)
server.start()
"""

INTERRUPTED = """
away = socket.socket()
away.bind(("127.0.0.1", 0))
channel = callmethod.Channel(
    "127.0.0.1:%d" % away.getsockname()[1], protocol=callmethod.Indexed()
)
controller = callmethod.Controller(timeout=30)


def drain():
    with callmethod.Channel(server.address, protocol=callmethod.Indexed()) as busy:
        Numbers_Stub(busy).push(None, Number(value=30))
        wait_until(lambda: server.stats()["calls_received_total"] == 1)
        server.stop(grace=30)


waits = {
    "call": lambda: Numbers_Stub(channel).push(controller, Number(value=1)),
    "connect": lambda: channel.connect(timeout=30),
    "wait": server.wait,
    "wait with a limit": lambda: server.wait(30),
    "drain": drain,
}
sent = []


def interrupt():
    time.sleep(0.4)  # the main thread is inside its wait by then
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


threading.Thread(target=interrupt).start()
try:
    waits[sys.argv[1]]()
except KeyboardInterrupt:
    say("interrupted", time.monotonic() - sent[0])
if sys.argv[1] == "call":
    say(controller.Failed(), controller.code.name)
service.gate.set()
"""


@pytest.mark.parametrize("wait", ["call", "connect", "wait", "wait with a limit", "drain"])
def test_ctrl_c_ends_a_wait(script, wait):
    one = script(SETUP + INTERRUPTED, wait)
    line = one.line()
    if wait == "drain":
        assert line == "entered"
        line = one.line()
    word, seconds = line.split()
    assert word == "interrupted"
    assert float(seconds) < IN_TIME
    if wait == "call":
        assert one.line() == "True CANCELLED"
    code, _, errors, _ = one.end()
    assert (code, errors) == (0, "")


BLOCK = """
import asyncio


class Endless(Numbers):
    def twice(self, rpc_controller, request, done):
        time.sleep(30)

    async def fail(self, rpc_controller, request, done):
        await asyncio.sleep(30)


def interrupt():
    wait_until(lambda: server.stats()["calls_in_flight"])
    time.sleep(0.2)
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)


async def on_a_loop():
    async with aio_server, callmethod.aio.Channel(server.address) as channel:
        await getattr(Numbers_Stub(channel), method)(callmethod.Controller(timeout=20), REQUEST)


sent, REQUEST = [], Number(value=1)
way, method = sys.argv[1:]
aio_server = callmethod.aio.Server("127.0.0.1:0")
server = aio_server.server if way == "aio" else callmethod.Server("127.0.0.1:0")
server.add_service(Endless())
threading.Thread(target=interrupt).start()
try:
    if way == "aio":
        asyncio.run(on_a_loop())
    else:
        with server:
            channel = callmethod.Channel(server.address)
            getattr(Numbers_Stub(channel), method)(callmethod.Controller(timeout=20), REQUEST)
except KeyboardInterrupt:
    say("interrupted", time.monotonic() - sent[0], server.wait(0))
"""


@pytest.mark.parametrize("method", ["twice", "fail"], ids=["plain", "async"])
@pytest.mark.parametrize("way", ["plain", "aio"])
def test_ctrl_c_in_the_block_of_a_server(script, way, method):
    """The handler cannot be interrupted, and is not waited for."""
    one = script(BLOCK, way, method)
    word, seconds, stopped = one.line().split()
    assert (word, stopped) == ("interrupted", "True")
    assert float(seconds) < IN_TIME
    code, _, errors, seconds = one.end()
    assert (code, errors) == (0, "")
    assert seconds < 1.5


OWN_HANDLER = """
class Mine(Exception):
    pass


def own(number, stack):
    raise Mine


signal.signal(signal.SIGUSR1, own)
threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
try:
    server.wait(30)
except Mine:
    say("mine")
server.stop(0)
"""


def test_what_a_users_handler_raises_ends_a_wait(script):
    one = script(SETUP + OWN_HANDLER)
    assert one.line() == "mine"
    code, _, errors, _ = one.end()
    assert (code, errors) == (0, "")


SERVES = """
def mine(number, stack):
    say("mine", number)


for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, mine)


def announce():
    # A signal that comes before serve_forever has its handlers in place is no test of them.
    taken = (signal.SIGINT, signal.SIGTERM)
    wait_until(lambda: all(signal.getsignal(number) is not mine for number in taken))
    say(server.address)
    if "stop" in sys.argv:
        server.stop(0)


announcer = threading.Thread(target=announce)
announcer.start()
server.serve_forever(grace=float(sys.argv[1]))
announcer.join()
restored = [signal.getsignal(number) is mine for number in (signal.SIGINT, signal.SIGTERM)]
say("returned", *restored, server.wait(0))
os.kill(os.getpid(), signal.SIGTERM)
say("end")
"""


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def call(sock, value):
    body = bytes([8, value])
    sock.sendall(struct.pack("<IH", 2 + len(body), 0) + body)


def refuses(address):
    try:
        connect(address).close()
    except OSError:
        return True
    return False


def ends_well(one):
    assert one.line() == "returned True True True"
    assert one.line() == f"mine {signal.SIGTERM.value}"
    assert one.line() == "end"
    code, _, errors, seconds = one.end()
    assert (code, errors) == (0, "")
    assert seconds < 3


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_the_first_signal_drains(script, signum, wait_until):
    one = script(SETUP + SERVES, 20)
    address = one.line()
    with connect(address) as sock:
        call(sock, 1)
        assert one.line() == "entered"
        one.send(signum)
        wait_until(lambda: refuses(address))
        assert one.running()
        assert one.line() == "finished"
        assert sock.recv(1) == b"", "the drain ends with the end of our stream"
    ends_well(one)


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGINT), (signal.SIGTERM, signal.SIGINT)],
    ids=["SIGINT SIGINT", "SIGTERM SIGINT"],
)
def test_the_second_signal_stops_at_once(script, first, second, wait_until):
    one = script(SETUP + SERVES, 60)
    address = one.line()
    with connect(address) as sock:
        call(sock, 60)
        assert one.line() == "entered"
        one.send(first)
        wait_until(lambda: refuses(address))
        assert one.running()
        one.send(second)
        ends_well(one)


def test_an_idle_server_ends_with_the_first_signal(script):
    one = script(SETUP + SERVES, 60)
    one.line()
    one.send(signal.SIGTERM)
    ends_well(one)


def test_serve_forever_ends_when_another_thread_stops_the_server(script):
    one = script(SETUP + SERVES, 60, "stop")
    one.line()
    ends_well(one)


def test_serve_forever_off_the_main_thread_raises(numbers_server, in_a_thread):
    with pytest.raises(RuntimeError, match="main thread"):
        in_a_thread(numbers_server.serve_forever)
    assert numbers_server.wait(0) is False


@pytest.fixture
def numbers_server(server_factory):
    from testing_pb2 import Numbers

    return server_factory(type("Empty", (Numbers,), {})())


@pytest.fixture
def in_a_thread():
    from concurrent.futures import ThreadPoolExecutor

    def run(function):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(function).result(10)

    return run
