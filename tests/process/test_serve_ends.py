"""Workers that end or are ended, under load: which calls fail, and who is left."""

import contextlib
import os
import signal
import socket
import time

import pytest

import callmethod
from callmethod import Controller
from testing_pb2 import Number, Numbers_Stub


def test_a_killed_worker_takes_only_its_own_calls_along_and_is_replaced(
    serve, load, gone, wait_until
):
    served = serve(workers=2).up()
    pids = served.pids()
    one = load(served.address)
    # Whoever accepts first gets a connection, so that one of them may have got them all.
    victim = one.answered()[-1]
    killed = time.monotonic()
    os.kill(victim, signal.SIGKILL)
    line = served.until("log WARNING worker lost")
    assert f"pid={victim} " in line
    assert "reason='killed by SIGKILL'" in line
    assert "replaced_total=1" in line
    assert time.monotonic() - killed < 2
    served.until("log INFO worker accepts")
    (fresh,) = served.pids() - pids
    time.sleep(0.3)
    failures = one.stop()
    assert {pid for _, pid, _ in failures} <= {victim}
    assert len(failures) <= 16
    assert all(error.startswith("UNAVAILABLE") for _, _, error in failures), failures
    assert all(began < killed + 0.05 for began, _, _ in failures)
    assert gone([victim])
    assert served.pids() == pids - {victim} | {fresh}
    served.script.send(signal.SIGTERM)
    assert served.returned() == (1, 0)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_drain_under_load_loses_no_call(serve, load, gone, signum):
    """Calls that come too late are not sent, and wait for whoever serves next."""
    served = serve().up()
    pids = served.pids()
    one = load(served.address)
    served.script.send(signum)
    assert served.returned() == (0, 0)
    assert gone(pids)
    before = len(one.answered())
    again = serve(bind=served.address).up()
    time.sleep(0.5)
    assert one.stop() == []
    assert len(one.answered()) > before
    again.script.send(signal.SIGTERM)
    again.returned()


def test_ctrl_c_that_reaches_the_workers_too_is_left_to_the_supervisor(serve, load):
    served = serve().up()
    one = load(served.address, callers=4)
    for pid in served.pids():
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGHUP)
    time.sleep(0.3)
    before = served.pids()
    assert one.stop() == []
    assert served.pids() == before
    served.script.send(signal.SIGINT)
    assert served.returned() == (0, 0)


def test_sigterm_to_a_worker_drains_it_and_it_is_replaced(serve, load, wait_until):
    served = serve().up()
    one = load(served.address)
    first = served.pids()
    os.kill(one.answered()[-1], signal.SIGTERM)
    assert "reason='exit code 0'" in served.until("log WARNING worker lost")
    served.until("log INFO worker accepts")
    assert len(served.pids() & first) == 1
    assert one.stop() == []
    served.script.send(signal.SIGTERM)
    assert served.returned() == (1, 0)


def test_all_processes_told_at_once(serve, load):
    """As service managers do it: SIGTERM for each process of the group."""
    served = serve(workers=2).up()
    one = load(served.address, timeout=3.0)
    for pid in [*served.pids(), served.script.process.pid]:
        os.kill(pid, signal.SIGTERM)
    _, killed = served.returned()
    assert killed == 0
    # Nobody comes back whom the calls that came too late could wait for.
    assert {error.split(":")[0] for _, _, error in one.stop()} <= {"DEADLINE_EXCEEDED"}


ORDER = """
import callmethod._worker as worker

close, stop = worker.close, callmethod.Server.stop


def note(event):
    with open(__file__ + ".order", "a") as order:
        order.write(f"{event} {os.getpid()}\\n")


def late(server):
    # Once, in the first worker that is told.
    try:
        os.mkdir(__file__ + ".late")
        time.sleep(0.4)
    except FileExistsError:
        pass
    close(server)
    note("closed")


def stops(server, grace):
    note("stops")
    return stop(server, grace)


worker.close = late
callmethod.Server.stop = stops
"""


def test_no_worker_drains_while_another_accepts(serve, tmp_path):
    """Else callers that are sent away by the one get into the other, which is to stop as well."""
    served = serve(app=ORDER, workers=4).up()
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 0)
    order = [line.split() for line in (tmp_path / "app.py.order").read_text().splitlines()]
    stops = [event for event, _ in order].index("stops")
    assert len({pid for _, pid in order[:stops]}) == 4, order


def test_who_was_accepted_and_says_something_just_then_is_answered(serve, raw_socket, load_file):
    """What a connection speaks is not known before its first bytes."""
    prpc = load_file("calls/prpc.py")
    app = "import callmethod._worker\n\ncallmethod._worker.SETTLE_SECONDS = 2.0\n"
    served = serve(app=app, workers=1).up()
    sock = raw_socket(served.address)
    time.sleep(0.3)
    served.script.send(signal.SIGTERM)
    served.until("log INFO workers drain")
    time.sleep(0.5)
    sock.sendall(prpc.request("twice", Number(value=0).SerializeToString()))
    assert sock.recv(4) == b"PRPC"
    sock.close()
    assert served.returned() == (0, 0)


def test_a_second_signal_ends_now(serve, channel_factory, gone, wait_until):
    served = serve(grace=60.0).up()
    pids = served.pids()
    channel = channel_factory(served.address, protocol=callmethod.BaiduStd())
    ended = []
    controller = Controller(timeout=60)
    Numbers_Stub(channel).twice(controller, Number(value=30_000), ended.append)
    time.sleep(0.3)
    served.script.send(signal.SIGTERM)
    served.until("log INFO workers drain")
    time.sleep(0.3)
    assert served.script.running()
    assert ended == []
    started = time.monotonic()
    served.script.send(signal.SIGTERM)
    # They end by themselves: what holds them up is a handler, and that is a thread of ours.
    assert served.returned() == (0, 0)
    assert time.monotonic() - started < 4
    assert all("exit code 0" in line for line in served.logged("worker ended"))
    assert gone(pids)
    wait_until(lambda: ended == [None])
    assert controller.code is callmethod.Code.UNAVAILABLE


def test_a_worker_that_does_not_end_is_killed(serve, gone):
    app = """
import threading


def stays():
    threading.Thread(target=time.sleep, args=(600,)).start()
    return make()
"""
    served = serve("app:stays", app=app, workers=1).up()
    pids = served.pids()
    served.script.send(signal.SIGTERM)
    served.until("log INFO workers drain")
    served.script.send(signal.SIGTERM)
    assert served.returned() == (0, 1)
    assert served.logged("worker killed")
    assert gone(pids)


# ---------------------------------------------------------------- the supervisor dies


def refused(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return True
    return False


FORKED = """
# A child of the program that holds whatever it had open.
def ready(address):
    if os.fork() == 0:
        with open("/dev/null", "w") as null:
            for number in (1, 2):
                os.dup2(null.fileno(), number)
        time.sleep(20)
        os._exit(0)
    say("ready", address)


if __name__ == "__main__":
    callmethod.serve("app:make", on_ready=ready, workers=2)
"""


@pytest.mark.parametrize("program", ["", FORKED], ids=["alone", "with a forked child"])
def test_a_killed_supervisor_leaves_no_worker(serve, load, gone, wait_until, program):
    served = serve(program=program).up()
    pids = served.pids()
    one = load(served.address, callers=4, timeout=2.0)
    answering = set(one.answered())
    served.script.send(signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: gone(answering), 3)
    # The forked child holds the port, as it would with any server; workers do not.
    if not program:
        wait_until(lambda: gone(pids), 3 - (time.monotonic() - killed))
        assert refused(served.address)
    one.stop()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
