"""Servers that die, stand still, or are cut off: each call ends, and whoever is left goes on."""

import os
import random
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

import callmethod
from testing_pb2 import Number, Numbers_Stub

SERVER = """
class Twice(Numbers):
    def push(self, rpc_controller, request, done):
        held.append(done)

    def twice(self, rpc_controller, request, done):
        done(Number(value=request.value * 2))


held = []
protocols = [callmethod.BaiduStd(), callmethod.Indexed(id_width=4, reply="by_id")]
server = callmethod.Server(sys.argv[1], protocols=protocols, max_workers=4)
server.add_service(Twice())
server.start()
say(server.address)
threading.Event().wait()
"""
NEVER = 60.0


class Ends:
    """How calls ended, by number; a call that ends twice is seen."""

    def __init__(self):
        self.all = []

    def call(self, method, number, timeout):
        controller = callmethod.Controller(timeout=timeout)
        method(controller, Number(value=number), lambda _: self.all.append((number, controller)))

    def numbers(self):
        return sorted(number for number, _ in self.all)

    def codes(self):
        return {controller.code for _, controller in self.all}


def call_twice(channel, number=21, timeout=10.0):
    controller = callmethod.Controller(timeout=timeout)
    return Numbers_Stub(channel).twice(controller, Number(value=number)).value


def test_a_server_that_is_killed_ends_its_calls_and_the_next_one_is_found(
    script, channel_factory, wait_until
):
    first = script(SERVER, "127.0.0.1:0")
    address = first.line()
    channel = channel_factory(address, protocol=callmethod.BaiduStd())
    assert call_twice(channel) == 42
    ends = Ends()
    for number in range(50):
        ends.call(Numbers_Stub(channel).push, number, NEVER)
    first.send(signal.SIGKILL)
    wait_until(lambda: len(ends.all) == 50, 10)
    assert ends.codes() == {callmethod.Code.UNAVAILABLE}
    second = script(SERVER, address)
    assert second.line() == address
    assert call_twice(channel) == 42
    assert ends.numbers() == list(range(50))


def test_a_server_that_stands_still_costs_no_more_than_the_deadlines(
    script, channel_factory, wait_until
):
    server = script(SERVER, "127.0.0.1:0")
    channel = channel_factory(server.line(), protocol=callmethod.BaiduStd())
    assert call_twice(channel) == 42
    server.send(signal.SIGSTOP)
    stat = Path(f"/proc/{server.process.pid}/stat")
    try:
        wait_until(lambda: stat.read_text().rpartition(")")[2].split()[0] == "T")
        ends, started = Ends(), time.monotonic()
        for number in range(20):
            ends.call(Numbers_Stub(channel).twice, number, 0.3)
        wait_until(lambda: len(ends.all) == 20, 10)
        assert time.monotonic() - started >= 0.3
        assert ends.codes() == {callmethod.Code.DEADLINE_EXCEEDED}
    finally:
        server.send(signal.SIGCONT)
    assert call_twice(channel) == 42
    # What it answered too late went to nobody.
    assert ends.numbers() == list(range(20))


class Scissors:
    """A proxy that cuts each connection after some bytes, either way, until it is blunt."""

    def __init__(self, address, seed):
        host, port = address.rsplit(":", 1)
        self.target = host, int(port)
        self.random = random.Random(seed)
        self.blunt = False
        self.cuts = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]
        self.threads[0].start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            line = Line(self, near, socket.create_connection(self.target))
            self.threads.append(threading.Thread(target=line.carry))
            self.threads[-1].start()

    def close(self):
        self.blunt = True
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)
            assert not thread.is_alive()


class Line:
    """One connection through the proxy."""

    def __init__(self, scissors, near, far):
        self.scissors = scissors
        self.ways = {near: far, far: near}
        self.left = {end: scissors.random.randrange(2_000) for end in self.ways}

    def carry(self):
        try:
            while self.move():
                pass
        except OSError:
            pass  # one end broke; so does the other
        for end in self.ways:
            end.close()

    def move(self):
        """Carry what is there; whether the line goes on."""
        for source in select.select(list(self.ways), [], [])[0]:
            data = source.recv(4096)
            if not data:
                return False
            if not self.scissors.blunt and self.left[source] < len(data):
                self.ways[source].sendall(data[: self.left[source]])
                self.scissors.cuts += 1
                return False
            self.left[source] -= len(data)
            self.ways[source].sendall(data)
        return True


@pytest.fixture
def cut_lines():
    """``cut_lines(address)``: a proxy to it that cuts."""
    made = []

    def make(address):
        made.append(Scissors(address, seed=7))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.mark.parametrize(
    "protocol",
    [callmethod.BaiduStd(), callmethod.Indexed(id_width=4, reply="by_id")],
    ids=lambda protocol: type(protocol).__name__,
)
def test_a_line_that_is_cut_anywhere_ends_each_call_once(
    script, channel_factory, wait_until, cut_lines, protocol
):
    server = script(SERVER, "127.0.0.1:0")
    scissors = cut_lines(server.line())
    channel = channel_factory(scissors.address, protocol=protocol)
    ends = Ends()
    for number in range(300):
        ends.call(Numbers_Stub(channel).twice, number, 20.0)
        if number % 10 == 0:
            time.sleep(0.005)
    wait_until(lambda: len(ends.all) == 300, 30)
    assert ends.codes() <= {None, callmethod.Code.OK, callmethod.Code.UNAVAILABLE}
    assert scissors.cuts > 2
    scissors.blunt = True
    wait_until(lambda: call_twice(channel) == 42, 10)
    assert ends.numbers() == list(range(300))
    channel.close()


NAMESPACE = ["unshare", "--map-root-user", "--net"]

VANISHED = """
if len(sys.argv) == 1:
    os.execvp("unshare", ["unshare", "--map-root-user", "--net", sys.executable, __file__, "in"])

import subprocess

def lo(state):
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


class Late(Numbers):
    def twice(self, rpc_controller, request, done):
        called.set()
        answer.wait()
        done(request)


called, answer = threading.Event(), threading.Event()
lo("up")
server = callmethod.Server("127.0.0.1:0")
server.add_service(Late())
server.start()
channel = callmethod.Channel(server.address, protocol=callmethod.BaiduStd())
controller = callmethod.Controller(timeout=120)
ended = []
Numbers_Stub(channel).twice(controller, Number(value=1), lambda _: ended.append(time.monotonic()))
called.wait(10)
lo("down")
vanished = time.monotonic()
answer.set()  # it is written, and nobody takes it
wait_until(lambda: server.stats()["connections"] == 0, 50)
say(f"server {time.monotonic() - vanished:.0f}")
wait_until(lambda: ended, 90)
say(f"channel {ended[0] - vanished:.0f} {controller.code.name}")
channel.close()
server.stop()
"""


@pytest.mark.skipif("CALLMETHOD_TEST_SLOW" not in os.environ, reason="waits for a minute and more")
@pytest.mark.timeout(300)
def test_a_peer_that_vanishes_is_given_up_by_the_system(script):
    """No packet says that it is gone: the network is taken down under both ends."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        pytest.skip("unshare and ip are needed for a network of our own")
    probe = subprocess.run(
        [*NAMESPACE, "ip", "link", "set", "lo", "up"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        pytest.skip(f"no network of our own: {probe.stderr.strip()}")
    vanished = script(VANISHED)
    # An answer that nobody takes: TCP_USER_TIMEOUT, 30 s.
    end, seconds = vanished.line(90).split()
    assert end == "server"
    assert 25 <= int(seconds) <= 45
    # A caller that only waits: a first probe after 60 s, and a second one 10 s later.
    end, seconds, code = vanished.line(120).split()
    assert (end, code) == ("channel", "UNAVAILABLE")
    assert 55 <= int(seconds) <= 90
