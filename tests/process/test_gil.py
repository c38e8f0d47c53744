"""Python stands still, and what the core promises is kept to the moment all the same.

A handler holds the GIL and lets nobody else run: no other handler, no callback, no logging.
CALLMETHOD_TEST_SLOW=1 has it do so for 10 s.
"""

import contextlib
import os
import socket
import time

import pytest

HOLDS = 10.0 if os.environ.get("CALLMETHOD_TEST_SLOW") else 3.0
LATE = 0.5  # how much later than promised something may be on a busy machine

DEADLINE, HANDSHAKE, FRAME, IDLE = 0.5, 0.7, 1.0, 1.5
ERPCTIMEDOUT, ELIMIT = 1008, 2004

SERVER = """
import ctypes

holds, handshake, frame, idle = map(float, sys.argv[1:])
libc = ctypes.PyDLL(None)
HOLDING = b"holding" + os.linesep.encode()
sys.setswitchinterval(3600)


class Service(Numbers):
    def push(self, rpc_controller, request, done):
        # Called without letting go of the GIL, unlike print and time.sleep; and nobody is given it
        # in between.
        libc.write(1, HOLDING, len(HOLDING))
        libc.usleep(int(holds * 1e6))
        done(request)

    def twice(self, rpc_controller, request, done):
        done(Number(value=2 * request.value))


options = callmethod.ServerOptions(
    max_concurrency=2,
    max_connections=7,
    handshake_timeout=handshake,
    frame_timeout=frame,
    idle_timeout=idle,
)
server = callmethod.Server(options=options, max_workers=4)
server.add_service(Service())
with server:
    say(server.address)
    wait_until(lambda: sum(server.stats()["calls_total"].values()) >= 5, 60)
    time.sleep(0.1)
    stats = server.stats()
    say({key: stats[key] for key in ("rejected_total", "disconnects_total")})
"""


@pytest.fixture
def wire(load_file):
    return load_file("calls/wire.py")


def ends_after(sock, began):
    """Seconds from `began` to the end of the connection, on which nothing came."""
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    return time.monotonic() - began


def on_time(seconds, promised):
    return promised - 0.05 <= seconds <= promised + LATE


@pytest.mark.timeout(60)
def test_what_is_promised_is_kept_while_a_handler_holds_the_gil(script, raw_socket, wire):
    prpc = wire.PRPC
    one = script(SERVER, HOLDS, HANDSHAKE, FRAME, IDLE)
    address = one.line()

    def call(sock, cid, method, more=b""):
        meta = prpc.named(wire.NUMBERS, method, more) + wire.field(4, cid)
        sock.sendall(prpc.frame(meta, wire.number(cid)))

    holder, idle, half, late, refused = (raw_socket(address) for _ in range(5))
    for sock in (holder, idle, half, late, refused):
        sock.settimeout(HOLDS + 20)
    call(idle, 5, wire.TWICE)
    assert wire.value_of(wire.read_answer(idle).body) == 10
    quiet_since = time.monotonic()
    call(holder, 1, wire.PUSH)
    assert one.line() == "holding"
    began = time.monotonic()

    # A deadline: brpc's timeout_ms.
    call(late, 2, wire.TWICE, wire.field(8, int(DEADLINE * 1000)))
    half.sendall(prpc.call(4, wire.number(4))[:20])
    silent = raw_socket(address)
    another = raw_socket(address)
    # Room for two calls, and one of them waits for a worker that waits for the GIL.
    sent = time.monotonic()
    call(refused, 3, wire.TWICE)
    answer = wire.read_answer(refused)
    assert (answer.id, answer.code) == (3, ELIMIT)
    assert time.monotonic() - sent < LATE
    # Room for seven connections.
    sent = time.monotonic()
    with socket.create_connection(silent.getpeername(), timeout=10) as above:
        assert ends_after(above, sent) < LATE

    answer = wire.read_answer(late)
    assert (answer.id, answer.code) == (2, ERPCTIMEDOUT)
    assert on_time(time.monotonic() - began, DEADLINE)
    assert on_time(ends_after(silent, began), HANDSHAKE)
    assert on_time(ends_after(another, began), HANDSHAKE)
    assert on_time(ends_after(half, began), FRAME)
    # It is looked for that eight times in this time.
    assert IDLE - 0.05 <= ends_after(idle, quiet_since) <= IDLE * 9 / 8 + LATE
    assert time.monotonic() - began < HOLDS - LATE, "all of it while the GIL was held"

    answer = wire.read_answer(holder)
    assert (answer.id, answer.code) == (1, 0)
    assert time.monotonic() - began >= HOLDS - LATE
    fresh = raw_socket(address)
    for cid in (6, 7):
        call(fresh, cid, wire.TWICE)
        assert wire.value_of(wire.read_answer(fresh).body) == 2 * cid
    counted = eval(one.line())
    assert counted["rejected_total"] == {
        "handshake_timeout": 2,
        "too_many_connections": 1,
        "frame_timeout": 1,
        "overload": 1,
        "expired": 1,
    }
    assert counted["disconnects_total"]["idle_timeout"] >= 1
    assert one.end()[0] == 0
