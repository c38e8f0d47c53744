"""Scripts in interpreters of their own: what a process does can only be seen from outside."""

import itertools
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import callmethod

PRELUDE = """\
import logging, os, signal, sys, threading, time
import callmethod
from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver_Stub

logging.getLogger("callmethod").addHandler(logging.NullHandler())  # stderr is for what went wrong


def say(*words):
    print(*words, flush=True)


def wait_until(predicate, timeout=30):
    end = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < end, "the script waited in vain"
        time.sleep(0.005)


def in_child(function):
    # Runs it in a forked child; a failure or a hang of the child is one of ours.
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            function()
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return pid


def join(pid, timeout=10):
    status = []

    def ended():
        status[:] = os.waitpid(pid, os.WNOHANG)
        return status[0] == pid

    try:
        wait_until(ended, timeout)
    except AssertionError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise AssertionError("the child hung")
    return os.waitstatus_to_exitcode(status[1])


def refused(function):
    # How long it took until it was said that what is used was made before the fork.
    started = time.monotonic()
    try:
        function()
    except RuntimeError as error:
        assert "before fork" in str(error), error
    else:
        raise AssertionError("not refused")
    took = time.monotonic() - started
    assert took < 0.5, took
    return took
"""


class Script:
    """A running interpreter whose lines can be read one by one; no wait for it is without end."""

    def __init__(self, path, arguments, env, stdin):
        self.errors = path.with_suffix(".stderr")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(path), *map(str, arguments)],
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=env,
            )
        self.lines = queue.SimpleQueue()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def stderr(self):
        return self.errors.read_text(errors="replace")

    def line(self, timeout=20.0):
        """The next line it printed; a script that died or hangs shows its errors."""
        try:
            line = self.lines.get(timeout=timeout)
        except queue.Empty:
            pytest.fail(f"no line within {timeout} s; stderr: {self.stderr()}")
        if line is None:
            self.lines.put(None)
            self.process.wait(10)
            pytest.fail(f"ended with {self.process.returncode}; stderr: {self.stderr()}")
        return line

    def tell(self, line):
        """Write a line for it to read; only where it was started with ``stdin=True``."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def send(self, signum):
        self.process.send_signal(signum)

    def running(self):
        return self.process.poll() is None

    def end(self, timeout=10.0):
        """(exit code, unread lines, stderr, seconds it took to end from now)."""
        started = time.monotonic()
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {timeout} s; stderr: {self.stderr()}")
        seconds = time.monotonic() - started
        self.reader.join(10)
        left = list(iter(self.lines.get, None))
        self.lines.put(None)
        return self.process.returncode, left, self.stderr(), seconds

    def close(self):
        if self.running():
            self.process.kill()
            self.process.wait(10)
        self.reader.join(10)  # a child that the script left behind would hold the pipe
        assert not self.reader.is_alive(), "the script left a process behind"
        self.process.stdout.close()
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def script(tmp_path, child_env):
    """``script(text, *arguments, stdin=False)``: starts the text, after the prelude, as a file.

    A file and not ``-c``, so that multiprocessing can spawn from it.
    """
    started = []
    numbers = itertools.count()
    # A user's setting would show warnings of others on stderr.
    env = {name: value for name, value in child_env.items() if name != "PYTHONWARNINGS"}

    def start(text, *arguments, stdin=False):
        path = tmp_path / f"script_{next(numbers)}.py"  # scripts may be started by several threads
        path.write_text(PRELUDE + text)
        one = Script(path, arguments, env, stdin)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()


APP = """\
import logging, os, time

import callmethod
from testing_pb2 import Number, Numbers

logging.getLogger("callmethod").addHandler(logging.NullHandler())


class Pids(Numbers):
    '''Answers with the number of its process, after as many milliseconds as it was asked for.'''

    def twice(self, rpc_controller, request, done):
        time.sleep(request.value / 1000)
        done(Number(value=os.getpid()))


def make():
    server = callmethod.Server(None, max_workers=32)
    server.add_service(Pids())
    return server
"""

SERVE = """\
class Lines(logging.Handler):
    def emit(self, record):
        say("log", record.levelname, record.getMessage().replace("\\n", "|"))


def ready(address):
    counts = len(os.listdir("/proc/self/task")), threading.active_count()
    say("ready", address, counts == (1, 1), "app" in sys.modules)


if __name__ == "__main__":
    logging.getLogger("callmethod").addHandler(Lines())
    logging.getLogger("callmethod").setLevel(logging.INFO)
    factory, options = sys.argv[1], eval(sys.argv[2])
    if not factory.isidentifier():
        summary = callmethod.serve(factory, on_ready=ready, **options)
    else:
        summary = callmethod.serve(globals()[factory], on_ready=ready, **options)
    say("returned", summary.replaced, summary.killed)
"""


def has_ended(pid):
    """Whether a process runs no more, though nobody may have asked for its exit code yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Served:
    """A program that serves from worker processes; what it printed is read in order."""

    def __init__(self, script):
        self.script = script
        self.log = []
        self.address = None

    def until(self, start, timeout=20.0):
        """Read to the line that starts so, and return it."""
        while not (line := self.script.line(timeout)).startswith(start):
            self.log.append(line)
        self.log.append(line)
        return line

    def up(self):
        self.address = self.until("ready").split()[1]
        return self

    def logged(self, text):
        return [line for line in self.log if text in line]

    def pids(self):
        """Its workers that run, asked of the system."""
        pid = self.script.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {int(child) for child in children if not has_ended(child)}

    def returned(self, timeout=10.0):
        """Wait for its end in good order: (replaced, killed)."""
        words = self.until("returned", timeout).split()
        code, _, errors, _ = self.script.end()
        assert (code, errors) == (0, "")
        return int(words[1]), int(words[2])


@pytest.fixture
def serve(script, tmp_path):
    """``serve(factory, **options)``: starts a program that calls `callmethod.serve`.

    `app` is added to the module `app`, `program` to the program in front of the call.
    """

    def start(factory="app:make", app="", program="", **options):
        (tmp_path / "app.py").write_text(APP + app)
        return Served(script(program + SERVE, factory, repr({"workers": 2, **options})))

    return start


@pytest.fixture
def gone():
    """``gone(pids)``: whether none of these processes runs any more."""

    return lambda pids: all(map(has_ended, pids))


@pytest.fixture
def pid_of(channel_factory):
    """``pid_of(address)``: the process that answers a new connection."""
    from testing_pb2 import Number, Numbers_Stub

    def ask(address):
        channel = channel_factory(address, protocol=callmethod.BaiduStd())
        pid = Numbers_Stub(channel).twice(callmethod.Controller(timeout=10), Number(value=0)).value
        channel.close()
        return pid

    return ask


@pytest.fixture
def load(wait_until, load_file):
    """``load(address)``: callers that call all the time; see load.py."""
    Load = load_file("process/load.py").Load
    loads = []

    def start(address, callers=16, timeout=20.0, calls_per_channel=10**9):
        one = Load(address, callers, timeout, calls_per_channel)
        loads.append(one)
        wait_until(lambda: len(one.answered()) > 10 * callers, 20)
        return one

    yield start
    for one in loads:
        one.over.set()
