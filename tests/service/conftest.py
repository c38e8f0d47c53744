"""What the service tests share: frames made by hand, an address that refuses, a recorder."""

import resource
import socket
import struct
import threading

import pytest

import testing_pb2


class Recorder(testing_pb2.Numbers):
    """Keeps the values it was called with; a value can be made to wait at the gate."""

    def __init__(self):
        self.values = []
        self.gate = threading.Event()
        self.gate.set()

    def push(self, rpc_controller, request, done):
        self.values.append(request.value)
        self.gate.wait(10)
        done(request)


class Inbox(testing_pb2.Receiver):
    """The client's service: keeps the numbers that the server pushed."""

    def __init__(self):
        self.values = []

    def number(self, rpc_controller, request, done):
        self.values.append(request.value)


@pytest.fixture
def recorder():
    """A Numbers service that records; its gate is opened again at the end."""
    service = Recorder()
    yield service
    service.gate.set()


@pytest.fixture
def inbox():
    """A Receiver service that records."""
    return Inbox()


@pytest.fixture(scope="session")
def inbox_class():
    """The class behind ``inbox``, for tests that need several."""
    return Inbox


@pytest.fixture(scope="session")
def frame():
    """``frame(index, message_or_bytes)``: a frame of the default layout, made by hand."""

    def make(index, message):
        body = message if isinstance(message, bytes) else message.SerializeToString()
        return struct.pack("<IH", 2 + len(body), index) + body

    return make


@pytest.fixture(scope="session")
def numbers():
    """``numbers(handler)``: a Numbers service whose ``push`` is the given function."""

    def make(handler):
        class Service(testing_pb2.Numbers):
            def push(self, rpc_controller, request, done):
                return handler(rpc_controller, request, done)

        return Service()

    return make


@pytest.fixture(scope="session")
def reset():
    """``reset(socket)``: ends the connection with RST, which is a loss and no end of stream."""

    def hard_close(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return hard_close


@pytest.fixture
def holder():
    """A bound socket that refuses connections until the test calls its ``listen()``."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@pytest.fixture
def refusing(holder):
    """The address of ``holder``: refuses for as long as nobody listens."""
    return f"127.0.0.1:{holder.getsockname()[1]}"


@pytest.fixture
def many_files():
    """``many_files(needed)``: room for so many in this process, or the test is skipped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def need(needed):
        if hard != resource.RLIM_INFINITY and hard < needed:
            pytest.skip(f"needs {needed} file descriptors, the hard limit is {hard}")
        if soft != resource.RLIM_INFINITY and soft < needed:
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))

    yield need
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
def in_thread():
    """``in_thread(f)``: runs f on a thread; the returned call gives its result or raises."""
    threads = []

    def run(function):
        box = {}

        def body():
            try:
                box["result"] = function()
            except BaseException as error:
                box["error"] = error

        thread = threading.Thread(target=body)
        thread.start()
        threads.append(thread)

        def result(timeout=10):
            thread.join(timeout)
            assert not thread.is_alive(), "the thread still runs"
            if "error" in box:
                raise box["error"]
            return box["result"]

        return result

    yield run
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive(), "a thread of the test was left behind"
