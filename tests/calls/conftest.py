"""What the tests of calls with answers share: the protocols, the faces of a call, a service.

A test that takes `protocol` runs on each protocol with answers, one that takes `face` with each
face; it knows of neither. The faces count the endings of all their calls: exactly one for each.
"""

import asyncio
import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import callmethod
from callmethod import BaiduStd, Hulu, Indexed, RpcError, Sofa
from testing_pb2 import Number, Numbers, Numbers_Stub

PROTOCOLS = {
    "baidu_std": BaiduStd(),
    "hulu_pbrpc": Hulu(),
    "sofa_pbrpc": Sofa(),
    "indexed by_id": Indexed(id_width=8, reply="by_id"),
    "indexed in_order": Indexed(reply="in_order"),
}
LOOPS = ["asyncio", *(["uvloop"] if importlib.util.find_spec("uvloop") else [])]


class Answers(Numbers):
    """Echoes (push), keeps its caller waiting (twice), fails (fail)."""

    def __init__(self):
        self.held = []  # controller, request and done of the calls that wait
        self.values = []

    def push(self, rpc_controller, request, done):
        self.values.append(request.value)
        done(request)

    def twice(self, rpc_controller, request, done):
        self.values.append(request.value)
        self.held.append((rpc_controller, request, done))

    def release(self):
        while self.held:
            _, request, done = self.held.pop(0)
            done(Number(value=2 * request.value))

    def fail(self, rpc_controller, request, done):
        rpc_controller.SetFailed(request.note)
        done(None)


class Call:
    """One call, whatever its face: how it ended, and how often."""

    def __init__(self):
        self.endings = []
        self.ended = threading.Event()

    def end(self, response, error=None):
        self.endings.append((response, error))
        self.ended.set()

    def outcome(self, timeout=10):
        """(response, the error where the face raises it) of the ending."""
        assert self.ended.wait(timeout), "the call does not end"
        return self.endings[0]


class Face:
    """Starts calls, and knows all that it has started."""

    raises = True  # a failure is raised, and not told by done(None)

    def __init__(self):
        self.calls = []

    def start(self, channel, method, controller, request):
        """Begin a call; `controller` may be None."""
        call = Call()
        self.calls.append(call)
        self.begin(call, channel, method, controller, request)
        return call

    def call(self, channel, method, controller, request):
        """Make a call to its end: (response, error)."""
        return self.start(channel, method, controller, request).outcome()

    def close(self):
        pass


class Blocking(Face):
    def __init__(self):
        super().__init__()
        self.threads = ThreadPoolExecutor(64)

    def begin(self, call, channel, method, controller, request):
        def body():
            try:
                call.end(getattr(Numbers_Stub(channel), method)(controller, request))
            except Exception as error:
                call.end(None, error)

        self.threads.submit(body)

    def close(self):
        self.threads.shutdown()


class Callback(Face):
    raises = False

    def begin(self, call, channel, method, controller, request):
        getattr(Numbers_Stub(channel), method)(controller, request, call.end)


class Awaited(Face):
    """Calls awaited on an event loop, which runs on a thread of its own."""

    def __init__(self, loop):
        super().__init__()
        self.loop = loop
        self.mishaps = []  # a future that is set twice shows here
        self.loop.set_exception_handler(lambda _, context: self.mishaps.append(context))
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()

    def begin(self, call, channel, method, controller, request):
        async def body():
            stub = Numbers_Stub(callmethod.aio.awaitable(channel))
            try:
                call.end(await getattr(stub, method)(controller, request))
            except (RpcError, Exception) as error:
                call.end(None, error)

        asyncio.run_coroutine_threadsafe(body(), self.loop)

    def close(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        assert not self.thread.is_alive(), "the loop does not end"
        self.loop.close()
        assert self.mishaps == []


def new_loop(name):
    if name == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


@pytest.fixture(params=LOOPS)
def make_loop(request):
    """``make_loop()``: a new event loop of either kind."""
    return lambda: new_loop(request.param)


@pytest.fixture(params=PROTOCOLS)
def protocol(request):
    """Every protocol with answers."""
    return PROTOCOLS[request.param]


@pytest.fixture(params=["blocking", "callback", *LOOPS])
def face(request):
    """Every face of a call; at the end each call must have ended exactly once."""
    faces = {"blocking": Blocking, "callback": Callback}
    one = faces[request.param]() if request.param in faces else Awaited(new_loop(request.param))
    yield one
    try:
        for call in one.calls:
            call.outcome()
    finally:
        one.close()
    assert [len(call.endings) for call in one.calls] == [1] * len(one.calls)


@pytest.fixture
def answers():
    """The service of most tests."""
    service = Answers()
    yield service
    service.held.clear()


@pytest.fixture(scope="session")
def answers_class():
    """The class behind ``answers``."""
    return Answers


@pytest.fixture
def pair(server_factory, channel_factory):
    """``pair(service, protocol)``: a started server of that one protocol, and a channel to it."""

    def make(service, protocol=None, options=None, server_options=None, **more):
        protocol = protocol or BaiduStd()
        if server_options is not None:
            more["options"] = server_options
        server = server_factory(service, protocols=[protocol], **more)
        options = {} if options is None else {"options": options}
        return server, channel_factory(server.address, protocol=protocol, **options)

    return make


@pytest.fixture(scope="session")
def numbers():
    """``numbers(push=…, twice=…)``: a Numbers service of the given functions."""

    def make(**handlers):
        def method(function):
            return lambda self, rpc_controller, request, done: function(
                rpc_controller, request, done
            )

        methods = {name: method(function) for name, function in handlers.items()}
        return type("Service", (Numbers,), methods)()

    return make


@pytest.fixture
def in_thread():
    """``in_thread(f)``: runs f on a thread; the returned call gives its result or raises."""
    with ThreadPoolExecutor(16) as threads:

        def run(function):
            future = threads.submit(function)
            return lambda timeout=10: future.result(timeout)

        yield run
