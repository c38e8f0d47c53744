"""The log: one line for a connection and for a failure, written by a thread of Python's own."""

import logging
import re
import socket
import threading

import pytest

from callmethod import Code, RpcError
from testing_pb2 import Number, Numbers

HELLO = Number(value=1)
# C0 and C1 controls, which is where a forged line or a terminal's escape would begin
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Collector(logging.Handler):
    """Keeps the records and the threads that brought them; can be made to block."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.records = []
        self.threads = set()
        self.gate = threading.Event()
        self.gate.set()

    def emit(self, record):
        self.records.append(record)
        self.threads.add(threading.current_thread())
        self.gate.wait(20)

    def texts(self, part):
        return [text for text in (r.getMessage() for r in list(self.records)) if part in text]


@pytest.fixture
def log():
    """The only handler of the logger while the test runs."""
    logger = logging.getLogger("callmethod")
    collector = Collector()
    before = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield collector
    collector.gate.set()
    logger.removeHandler(collector)
    logger.level, logger.propagate = before


class Fails(Numbers):
    def __init__(self):
        self.calls = 0

    def push(self, rpc_controller, request, done):
        self.calls += 1
        raise RpcError(Code.ABORTED, "on purpose")

    def twice(self, rpc_controller, request, done):
        raise LookupError(request.note)

    def fail(self, rpc_controller, request, done):
        rpc_controller.SetFailed(request.note)
        done(None)


def test_one_line_opens_and_one_closes_a_connection(
    log, recorder, server_factory, raw_socket, frame, wait_until
):
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    peer = "{}:{}".format(*sock.getsockname())
    sock.sendall(frame(0, HELLO) * 5)
    wait_until(lambda: len(recorder.values) == 5)
    sock.close()
    wait_until(lambda: log.texts("connection closed"))
    [opened] = log.texts("connection opened")
    [closed] = log.texts("connection closed")
    assert f"peer={peer} " in opened + " "
    assert "protocol=indexed" in opened
    assert f"peer={peer} " in closed
    assert "kind=peer_closed" in closed
    assert re.search(r'reason="[^"]+"', closed)
    levels = {r.levelno for r in log.records if r.getMessage().startswith("connection ")}
    assert levels == {logging.INFO}


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ("010000000000", "length_below_header"),
        ("ffffffff0000", "length_above_limit"),
        ("020000000900", "unknown_method"),
        ("040000000000ffff", "bad_body"),
        ("0400000000", "truncated"),
    ],
)
def test_bad_input_is_one_warning_of_its_kind(
    log, data, kind, recorder, server_factory, raw_socket, wait_until
):
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    peer = "{}:{}".format(*sock.getsockname())
    sock.sendall(bytes.fromhex(data))
    sock.shutdown(socket.SHUT_WR)
    wait_until(lambda: log.texts("connection closed"))
    [warning] = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    assert f"kind={kind}" in warning
    assert f"peer={peer}" in warning
    assert not any(r.levelno > logging.WARNING for r in log.records)


def test_a_failed_handler_is_one_error_line(log, server_factory, raw_socket, frame, wait_until):
    server = server_factory(Fails())
    sock = raw_socket(server.address)
    peer = "{}:{}".format(*sock.getsockname())
    sock.sendall(frame(1, Number(value=1, note="no such player")))
    wait_until(lambda: any(r.levelno == logging.ERROR for r in log.records))
    server.stop(grace=0)
    [record] = [r for r in log.records if r.levelno >= logging.ERROR]
    assert record.exc_info[0] is LookupError
    assert record.exc_info[2].tb_next is not None or record.exc_info[2].tb_frame
    assert peer in record.getMessage()
    assert "twice" in record.getMessage()


def test_records_come_from_a_thread_of_pythons_own(
    log, server_factory, raw_socket, frame, wait_until
):
    server = server_factory(Fails())
    sock = raw_socket(server.address)
    sock.sendall(frame(1, Number(value=1, note="x")) + frame(3, HELLO) + frame(9, HELLO))
    wait_until(lambda: log.texts("connection closed"))
    server.stop(grace=1)
    assert len(log.records) >= 4
    for thread in log.threads:
        assert not isinstance(thread, threading._DummyThread), "a thread of Rust's called logging"
        assert thread is not threading.main_thread()
        assert thread.name.startswith("callmethod-")
    for record in log.records:
        assert record.threadName.startswith("callmethod-")
        assert record.name.startswith("callmethod")


def test_a_record_has_the_time_of_what_it_tells(
    log, recorder, server_factory, raw_socket, wait_until
):
    server = server_factory(recorder)
    log.gate.clear()
    raw_socket(server.address)
    wait_until(lambda: len(log.records) == 1)
    raw_socket(server.address)
    wait_until(lambda: server.stats()["connections"] == 2)
    log.gate.set()
    wait_until(lambda: len(log.texts("connection opened")) == 2)
    times = [record.created for record in log.records]
    assert times == sorted(times)


def test_a_handler_that_blocks_does_not_stop_the_serving(
    log, server_factory, raw_socket, frame, wait_until
):
    service = Fails()
    server = server_factory(service)
    log.gate.clear()
    first = raw_socket(server.address)
    first.sendall(frame(0, HELLO))
    wait_until(lambda: log.records)
    for _ in range(3):
        raw_socket(server.address).sendall(frame(0, HELLO) * 20)
    wait_until(lambda: service.calls == 61)
    assert server.stats()["calls_total"]["ABORTED"] == 61
    assert server.stats()["connections"] == 4
    assert len(log.records) == 1
    log.gate.set()
    wait_until(lambda: len(log.texts("on purpose")) == 61)
    assert server.stats()["log_records_dropped_total"] == 0


def test_what_the_ring_cannot_hold_is_dropped_and_counted(
    log, server_factory, raw_socket, frame, wait_until
):
    service = Fails()
    server = server_factory(service)
    log.gate.clear()
    sock = raw_socket(server.address)
    wait_until(lambda: log.records)
    sent = 0
    while not server.stats()["log_records_dropped_total"]:
        assert sent < 100_000, "the ring has no bound"
        sock.sendall(frame(0, HELLO) * 500)
        sent += 500
        wait_until(lambda: service.calls == sent)  # noqa: B023  (called at once)
    wait_until(lambda: server.stats()["calls_total"]["ABORTED"] == sent)
    dropped = server.stats()["log_records_dropped_total"]
    log.gate.set()
    wait_until(lambda: len(log.texts("on purpose")) == sent - dropped)

    def another_is_written():
        sock.sendall(frame(0, HELLO))
        return len(log.texts("on purpose")) > sent - dropped

    # It goes on when there is room again, and a line may come once in a while.
    wait_until(another_is_written)


EVIL = "x\n2026 CRITICAL forged\r\x1b[31m\x9b\x00 \u2028end"


@pytest.mark.parametrize("index", [1, 2], ids=["exception", "SetFailed"])
def test_text_of_a_peer_is_escaped(log, index, server_factory, raw_socket, frame, wait_until):
    server = server_factory(Fails())
    raw_socket(server.address).sendall(frame(index, Number(value=1, note=EVIL)))
    wait_until(lambda: any(r.levelno == logging.ERROR for r in log.records))
    for record in log.records:
        assert not CONTROLS.search(record.getMessage()), record.getMessage()
        assert "\u2028" not in record.getMessage()


def test_the_name_of_a_peer_is_escaped(log, recorder, server_factory, frame, wait_until, tmp_path):
    server_factory(recorder, bind=f"unix:{tmp_path}/s")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"{tmp_path}/c\nWARNING forged\x1b[31m")
        sock.connect(f"{tmp_path}/s")
        sock.sendall(frame(9, HELLO))
        wait_until(lambda: log.texts("connection closed"))
    assert len(log.records) >= 2
    for record in log.records:
        assert not CONTROLS.search(record.getMessage()), record.getMessage()


def test_a_level_that_is_off_costs_no_record(
    log, recorder, server_factory, raw_socket, frame, wait_until
):
    logging.getLogger("callmethod").setLevel(logging.WARNING)
    server = server_factory(recorder)
    sock = raw_socket(server.address)
    sock.sendall(frame(9, HELLO))
    wait_until(lambda: server.stats()["connections"] == 0 and log.texts("kind=unknown_method"))
    server.stop(grace=0)
    assert {record.levelno for record in log.records} == {logging.WARNING}


def test_a_log_handler_that_raises_stops_no_later_record(
    log, recorder, server_factory, raw_socket, wait_until, monkeypatch
):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    told = []
    monkeypatch.setattr("sys.unraisablehook", lambda info: told.append(info.exc_value))
    turns = []

    class Raises(logging.Handler):
        def emit(self, record):
            turns.append(record)
            raise LookupError("the log handler's own mistake")

    broken = Raises()
    logger = logging.getLogger("callmethod")
    logger.addHandler(broken)
    try:
        server = server_factory(recorder)
        for _ in range(3):
            raw_socket(server.address).close()
        wait_until(lambda: len(log.texts("connection closed")) == 3)
        wait_until(lambda: len(turns) == len(told) == 6)
    finally:
        logger.removeHandler(broken)
