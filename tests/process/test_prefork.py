"""A server as gunicorn and its like make it: a master that binds, and forks what serves."""

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")

PREFORK = """
import socket, warnings

warnings.filterwarnings("ignore", category=DeprecationWarning)


class Pids(Numbers):
    def twice(self, rpc_controller, request, done):
        time.sleep(0.001)
        done(Number(value=os.getpid()))


def end_with(master):
    # However it ends: a test that failed kills it, and would wait for this one.
    while os.getppid() == master:
        time.sleep(0.1)
    os._exit(3)


def work(listener):
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    server = callmethod.Server(listener, protocols=[callmethod.BaiduStd()])
    server.add_service(Pids())
    server.start()
    server.serve_forever(grace=10)


def fork(listener):
    return in_child(lambda: work(listener))


with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
    address = "127.0.0.1:%d" % listener.getsockname()[1]
    workers = {fork(listener) for _ in range(3)}
    say(address)
    for line in sys.stdin:
        if line == "renew\\n":
            # One after the other, and a new one before the old one goes.
            for pid in sorted(workers):
                workers.add(fork(listener))
                time.sleep(0.2)
                os.kill(pid, signal.SIGTERM)
                assert join(pid, 15) == 0
                workers.remove(pid)
            say(*workers)
        elif line == "one\\n":
            # All but one go, and that one stays.
            *going, staying = sorted(workers)
            for pid in going:
                os.kill(pid, signal.SIGTERM)
                assert join(pid, 15) == 0
            workers = {staying}
            say(staying)
        else:
            break
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    assert [join(pid, 15) for pid in workers] == [0] * len(workers)
say("done")
"""


def test_workers_that_inherit_the_listener_come_and_go(script, load, pid_of):
    one = script(PREFORK, stdin=True)
    address = one.line()
    callers = load(address, callers=8)
    one.tell("renew")
    first = set(map(int, one.line(30).split()))
    assert len(first) == 3
    one.tell("renew")
    assert not first & set(map(int, one.line(30).split()))
    # Those that went have left the listener to the last one as it needs it: it accepts, and does
    # not wait in accept() while it should serve.
    one.tell("one")
    last = int(one.line(30))
    assert {pid_of(address) for _ in range(20)} == {last}
    assert callers.stop() == []
    assert len(callers.answered()) > 100
    one.tell("stop")
    code, out, errors, _ = one.end(30)
    assert (code, out, errors) == (0, ["done"], "")
