"""A fork: what was made before it fails at once in the child, new things work, the parent too."""

import os
import sys

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

SETUP = """
import gc, warnings

# From Python 3.12 on a fork in a process with threads warns; here it is what is tested.
warnings.filterwarnings("ignore", category=DeprecationWarning)


class Recorder(Numbers):
    def __init__(self):
        self.values = []

    def push(self, rpc_controller, request, done):
        self.values.append(request.value)
        done(request)


def make_server():
    server = callmethod.Server("127.0.0.1:0")
    recorder = Recorder()
    server.add_service(recorder)
    return server, recorder


def make_channel(target):
    return callmethod.Channel(target, protocol=callmethod.Indexed())


def call(channel, value):
    Numbers_Stub(channel).push(None, Number(value=value))


def works_from_scratch():
    server, recorder = make_server()
    with server, make_channel(server.address) as channel:
        for value in range(10):
            call(channel, value)
        wait_until(lambda: recorder.values == list(range(10)))
"""

OLD_ONES = """
server, recorder = make_server()
server.start()
idle_server, _ = make_server()
channel = make_channel(server.address)
idle_channel = make_channel(server.address)
call(channel, 1)
wait_until(lambda: recorder.values == [1])


def child():
    controller = callmethod.Controller()
    for old in (channel, idle_channel):
        refused(lambda: call(old, 2))
        refused(lambda: Numbers_Stub(old).push(controller, Number(value=2), say))
        refused(old.connect)
    refused(lambda: server.wait(0))
    refused(lambda: server.stop(0))
    refused(idle_server.start)
    works_from_scratch()
    # collected in the child, they leave the parent's sockets alone
    globals().update(channel=None, server=None, idle_channel=None, idle_server=None)
    gc.collect()


assert join(in_child(child)) == 0
call(channel, 3)
wait_until(lambda: recorder.values == [1, 3])
assert channel.stats()["connects_total"] == 1, "the child broke the parent's connection"
idle_server.start()
idle_server.stop()
server.stop()
say("done")
"""

NORMAL_EXIT = """
server, recorder = make_server()
server.start()
channel = make_channel(server.address)
call(channel, 1)
wait_until(lambda: recorder.values == [1])
pid = os.fork()
if pid == 0:
    works_from_scratch()
    sys.exit(7)
assert join(pid) == 7
call(channel, 2)
wait_until(lambda: recorder.values == [1, 2])
assert channel.stats()["connects_total"] == 1
channel.close()
server.stop()
say("done")
"""

IN_FLIGHT = """
server, recorder = make_server()
server.start()
channel = make_channel(server.address)
stop = threading.Event()
sent = []


def traffic():
    stub = Numbers_Stub(channel)
    while not stop.is_set():
        sent.append(1)
        stub.push(None, Number(value=len(sent)))


thread = threading.Thread(target=traffic)
thread.start()
for turn in range(20):
    before = len(recorder.values)
    wait_until(lambda: len(recorder.values) > before + 20)
    assert join(in_child(works_from_scratch)) == 0, turn
stop.set()
thread.join()
wait_until(lambda: len(recorder.values) == len(sent))
assert recorder.values == list(range(1, len(sent) + 1))
assert channel.stats()["connects_total"] == 1
channel.close()
server.stop()
say("done")
"""

MULTIPROCESSING = """
import multiprocessing


def work(address, value):
    with make_channel(address) as channel:
        call(channel, value)
    return value


def main():
    method = sys.argv[1]
    context = multiprocessing.get_context(method)
    server, recorder = make_server()
    with server, make_channel(server.address) as channel:
        call(channel, 100)
        with context.Pool(2) as pool:
            tasks = [(server.address, value) for value in range(8)]
            assert pool.starmap(work, tasks, chunksize=1) == list(range(8))
            pool.close()
            pool.join()
        wait_until(lambda: sorted(recorder.values) == [*range(8), 100])
        call(channel, 101)
        wait_until(lambda: len(recorder.values) == 10)
    say("done")


if __name__ == "__main__":
    main()
"""

FROM_A_HANDLER = """
import subprocess

codes = []


class Runs(Numbers):
    def push(self, rpc_controller, request, done):
        codes.append(subprocess.run([sys.executable, "-c", "raise SystemExit(5)"]).returncode)

    def twice(self, rpc_controller, request, done):
        codes.append(join(in_child(works_from_scratch)))


server = callmethod.Server("127.0.0.1:0")
server.add_service(Runs())
with server, make_channel(server.address) as channel:
    Numbers_Stub(channel).push(None, Number(value=1))
    Numbers_Stub(channel).twice(None, Number(value=1))
    wait_until(lambda: codes == [5, 0])
say("done")
"""

INHERITANCE = """
server, recorder = make_server()
before = set(os.listdir("/proc/self/fd"))
server.start()
channel = make_channel(server.address)
call(channel, 1)
wait_until(lambda: recorder.values == [1])
for name in set(os.listdir("/proc/self/fd")) - before:
    try:
        assert not os.get_inheritable(int(name)), os.readlink("/proc/self/fd/" + name)
    except OSError:
        pass  # the listing itself
channel.close()
server.stop()
say("done")
"""


def assert_done(one):
    code, out, errors, _ = one.end(timeout=60)
    assert (code, out, errors) == (0, ["done"], "")


@pytest.mark.parametrize(
    "text",
    [OLD_ONES, NORMAL_EXIT, IN_FLIGHT, FROM_A_HANDLER],
    ids=["old ones are refused", "normal exit", "calls in flight", "from a handler"],
)
def test_a_fork(script, text):
    assert_done(script(SETUP + text))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(script, method):
    assert_done(script(SETUP + MULTIPROCESSING, method))


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_other_programs_inherit_nothing(script):
    assert_done(script(SETUP + INHERITANCE))
