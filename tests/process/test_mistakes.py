"""What a user gets wrong harms that user's call and nothing else; in a process of its own, since
pytest replaces the hooks that a mistake ends in."""

PUSHES = """
values = []


class Service(Numbers):
    def push(self, rpc_controller, request, done):
        values.append(request.value)


server = callmethod.Server()
server.add_service(Service())
server.start()
channel = callmethod.Channel(server.address, protocol=callmethod.Indexed())
stub = Numbers_Stub(channel)
"""


def lines_of(script, text):
    one = script(text)
    code, lines, errors, _ = one.end()
    assert code == 0, errors
    return lines, errors


def test_a_callback_that_raises_is_reported_and_the_next_one_runs(script):
    text = """
told = []
stub.push(None, Number(value=1), lambda response: 1 / 0)
stub.push(None, Number(value=2), told.append)
wait_until(lambda: told)
say(told)
channel.close()
server.stop(0)
"""
    lines, errors = lines_of(script, PUSHES + text)
    assert lines == ["[None]"]
    assert "ZeroDivisionError" in errors


def test_a_log_handler_that_raises_is_reported_and_the_log_goes_on(script):
    text = """
class Broken(logging.Handler):
    def emit(self, record):
        raise LookupError("a broken handler")


class Good(logging.Handler):
    seen = []

    def emit(self, record):
        self.seen.append(record.getMessage())


logger = logging.getLogger("callmethod")
logger.setLevel(logging.INFO)
logger.addHandler(Good())
logger.addHandler(Broken())
stub.push(None, Number(value=1))
channel.close()
wait_until(lambda: sum("connection closed" in line for line in Good.seen) == 2)
say("logged")
server.stop(0)
"""
    lines, errors = lines_of(script, PUSHES + text)
    assert lines == ["logged"]
    assert "a broken handler" in errors


def test_done_is_called_on_a_closed_channel_when_nothing_else_runs(script):
    text = """
server.stop(0)
channel.close()
told, controller = [], callmethod.Controller()
stub.push(controller, Number(value=1), told.append)
wait_until(lambda: told)
say(told, controller.code.name)
"""
    lines, _ = lines_of(script, PUSHES + text)
    assert lines == ["[None] UNAVAILABLE"]


def test_system_exit_in_a_coroutine_ends_that_call_alone(script):
    text = """
ended = []


class Service(Numbers):
    async def push(self, rpc_controller, request, done):
        if request.value == 1:
            raise SystemExit(3)
        ended.append(request.value)


server = callmethod.Server()
server.add_service(Service())
server.start()
with callmethod.Channel(server.address, protocol=callmethod.Indexed()) as channel:
    for value in (1, 2):
        Numbers_Stub(channel).push(None, Number(value=value))
    wait_until(lambda: ended == [2])
say(server.stop().calls_running, server.stats()["calls_total"])
"""
    lines, _ = lines_of(script, text)
    assert lines == ["0 {'unanswered': 1, 'INTERNAL': 1}"]


def test_a_stop_from_a_signal_handler_may_be_repeated(script):
    text = """
gate = threading.Event()


class Service(Numbers):
    def push(self, rpc_controller, request, done):
        say("entered")
        gate.wait()


server = callmethod.Server()
server.add_service(Service())
server.start()
channel = callmethod.Channel(server.address, protocol=callmethod.Indexed())
Numbers_Stub(channel).push(None, Number(value=1))
signal.signal(signal.SIGTERM, lambda *_: server.stop(30))
stopping = threading.Thread(target=lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGTERM)))
stopping.start()
wait_until(lambda: server.stats()["calls_received_total"])
os.kill(os.getpid(), signal.SIGTERM)
say(server.wait(5))
"""
    one = script(text)
    assert one.line() == "entered"
    assert one.line(10) == "True"
    assert one.end()[0] == 0


def test_a_service_and_its_channel_let_each_other_go(script):
    text = """
import gc, weakref


class Client(Numbers):
    pass


def play():
    client = Client()
    indexed = callmethod.Indexed()
    client.channel = callmethod.Channel("127.0.0.1:9", protocol=indexed, service=client)
    client.channel.close()
    return weakref.ref(client)


gone = [play() for _ in range(5)]
gc.collect()
say(sum(client() is not None for client in gone))
"""
    lines, _ = lines_of(script, text)
    assert lines == ["0"]
