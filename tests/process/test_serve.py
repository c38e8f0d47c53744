"""One port, several processes: who answers, where they listen, what a factory may be."""

import errno
import logging
import signal
import socket
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import callmethod
from callmethod._factory import name_of
from testing_pb2 import Numbers

FACTORIES = """
import asyncio

loops = []


async def awaited():
    loops.append(asyncio.get_running_loop())
    return OnLoop()


class OnLoop(Numbers):
    async def twice(self, rpc_controller, request, done):
        assert [asyncio.get_running_loop()] == loops
        return Number(value=os.getpid())


def aio_server():
    server = callmethod.aio.Server()
    server.add_service(Pids())
    return server


class Other(__import__("testing_pb2").Receiver):
    pass


def several():
    server_with_both = callmethod.Server(protocols=[callmethod.BaiduStd()])
    server_with_both.add_service(Pids())
    server_with_both.add_service(Other())
    return server_with_both


class Nested:
    make = Pids
"""

# The factory stands in the program itself, which each worker loads.
PROGRAM = """
class Mine(Numbers):
    def twice(self, rpc_controller, request, done):
        assert __name__ == "__mp_main__"
        assert sys.modules["__main__"].Mine is Mine
        assert sys.argv[1] == "Mine"
        done(Number(value=os.getpid()))


"""


def ends(served):
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)


def test_each_worker_answers(serve, pid_of):
    served = serve(workers=3).up()
    pids = set()
    for _ in range(500):
        pids.add(pid_of(served.address))
        if len(pids) == 3:
            break
    assert pids == served.pids()
    assert len(pids) == 3
    assert len(served.logged("worker accepts")) == 3
    ends(served)


def test_the_supervisor_has_one_thread_and_no_module_of_the_user(serve):
    served = serve().up()
    assert served.log[-1].split()[2:] == ["True", "False"]
    ends(served)


@pytest.mark.parametrize("name", ["awaited", "aio_server", "several", "Pids", "Nested.make"])
def test_what_a_factory_may_be(serve, pid_of, name):
    served = serve(f"app:{name}", app=FACTORIES, workers=1).up()
    assert {pid_of(served.address)} == served.pids()
    ends(served)


def test_a_factory_in_the_program_itself(serve, pid_of):
    served = serve("Mine", program=PROGRAM).up()
    assert pid_of(served.address) in served.pids()
    ends(served)


BUSY = """
class Here(Numbers):
    def twice(self, rpc_controller, request, done):
        done(Number(value=os.getpid()))


def ready(address):
    with callmethod.Channel(server.address) as channel:
        assert Numbers_Stub(channel).twice(None, Number(value=0)).value == os.getpid()
    say("ready", address)


if __name__ == "__main__":
    server = callmethod.Server(max_workers=2)
    server.add_service(Here())
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    with server:
        callmethod.serve("app:make", on_ready=ready, workers=2)
    say("returned", 0, 0)
    sys.exit(0)
"""


def test_a_program_that_has_threads_and_a_server_of_its_own(serve, pid_of):
    served = serve(program=BUSY).up()
    assert pid_of(served.address) in served.pids()
    ends(served)


# ---------------------------------------------------------------- where


def test_ipv6(serve, pid_of):
    served = serve(bind="[::1]:0").up()
    assert served.address.startswith("[::1]:")
    assert pid_of(served.address) in served.pids()
    ends(served)


def test_a_unix_socket_whose_file_goes_with_the_supervisor(serve, pid_of, short_tmp):
    path = Path(short_tmp) / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    served = serve(bind=f"unix:{path}").up()
    assert served.address == f"unix:{path}"
    assert pid_of(served.address) in served.pids()
    ends(served)
    assert not path.exists()


def test_a_socket_that_listens_already(serve, pid_of):
    program = 'given = socket.create_server(("127.0.0.1", 0))\n'
    text = SERVE_A_SOCKET
    served = serve(program="import socket\n" + program + text).up()
    assert pid_of(served.address) in served.pids()
    ends(served)


# `serve` of the fixture takes its options as text, in which no socket can stand.
SERVE_A_SOCKET = """
original = callmethod.serve
callmethod.serve = lambda *args, **options: original(*args, **{**options, "bind": given})
"""


def test_a_port_in_use_is_an_error_of_the_caller():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=where) as caught:
            callmethod.serve("app:make", where)
    assert caught.value.errno == errno.EADDRINUSE


# ---------------------------------------------------------------- mistakes of the caller


def test_off_the_main_thread():
    with ThreadPoolExecutor(1) as pool, pytest.raises(RuntimeError, match="main thread"):
        pool.submit(callmethod.serve, "app:make").result(10)


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {"factory": 7}),
        (ValueError, {"factory": "app"}),
        (ValueError, {"factory": "app:"}),
        (ValueError, {"factory": "app.py:make"[:-5] + "-make"}),
        (ValueError, {"factory": lambda: None}),
        (ValueError, {"factory": Numbers().GetDescriptor}),
        (TypeError, {"bind": 80}),
        (ValueError, {"bind": "nowhere"}),
        (ValueError, {"workers": 0}),
        (ValueError, {"workers": 1.5}),
        (ValueError, {"grace": -1}),
        (ValueError, {"start_timeout": float("nan")}),
        (TypeError, {"on_ready": "ready"}),
    ],
    ids=str,
)
def test_mistakes_raise_before_anything_is_started(error, arguments):
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with pytest.raises(error):
        callmethod.serve(**{"factory": "app:make", **arguments})
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    assert threading.current_thread() is threading.main_thread()


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def test_names():
    assert str(name_of("a.b:C.d")) == "a.b:C.d"
    assert str(name_of(callmethod.Server)) == "callmethod.server:Server"
    assert str(name_of(logging.Logger.debug)) == "logging:Logger.debug"
    module = sys.modules["__main__"]
    # pytest runs by -m: its own module has a name by which a worker would find it.
    if module.__spec__ is not None:
        assert name_of("__main__:x").module == module.__spec__.name


def test_a_program_without_a_file_cannot_hold_the_factory(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__spec__", None)
    monkeypatch.delattr(main, "__file__")
    with pytest.raises(ValueError, match="notebook"):
        name_of("__main__:make")


# ---------------------------------------------------------------- signals of the program itself

OWN_HANDLERS = """
def mine(number, frame):
    say("mine", number)


import signal
numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
for number in numbers:
    signal.signal(number, mine)


def ready(address):
    say("ready", address)
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    callmethod.serve("app:make", on_ready=ready)
    say("restored", *(signal.getsignal(number) is mine for number in numbers))
    say(signal.set_wakeup_fd(-1))
    sys.exit(7)
"""


def test_the_programs_own_handlers_are_put_back(serve):
    served = serve(program=OWN_HANDLERS)
    assert served.until("restored") == "restored True True True"
    assert served.until("-1")
    code, _, errors, _ = served.script.end()
    assert (code, errors) == (7, "")


RAISES = """
def ready(address):
    say("workers", *open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read().split())
    raise LookupError("mine")


if __name__ == "__main__":
    try:
        callmethod.serve("app:make", on_ready=ready, workers=2)
    except LookupError:
        say("raised", len(open(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read()))
    sys.exit(7)
"""


def test_on_ready_that_raises_ends_the_workers(serve, gone):
    served = serve(program=RAISES)
    pids = served.until("workers").split()[1:]
    assert len(pids) == 2
    assert served.until("raised") == "raised 0"
    code, _, errors, _ = served.script.end()
    assert (code, errors) == (7, "")
    assert gone(pids)
