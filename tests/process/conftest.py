"""Scripts in interpreters of their own: what a process does can only be seen from outside."""

import itertools
import queue
import subprocess
import sys
import threading
import time

import pytest

PRELUDE = """\
import logging, os, signal, sys, threading, time
import callmethod
from testing_pb2 import Number, Numbers, Numbers_Stub, Receiver_Stub

logging.getLogger("callmethod").addHandler(logging.NullHandler())  # stderr is for what went wrong


def say(*words):
    print(*words, flush=True)


def wait_until(predicate, timeout=10):
    end = time.monotonic() + timeout
    while not predicate():
        assert time.monotonic() < end, "the script waited in vain"
        time.sleep(0.005)
"""


class Script:
    """A running interpreter whose lines can be read one by one; no wait for it is without end."""

    def __init__(self, path, arguments, env):
        self.errors = path.with_suffix(".stderr")
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(path), *map(str, arguments)],
                stdin=subprocess.DEVNULL,
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


@pytest.fixture
def script(tmp_path, child_env):
    """``script(text, *arguments)``: starts the text, after the prelude, as a file of its own.

    A file and not ``-c``, so that multiprocessing can spawn from it.
    """
    started = []
    numbers = itertools.count()
    # A user's setting would show warnings of others on stderr.
    env = {name: value for name, value in child_env.items() if name != "PYTHONWARNINGS"}

    def start(text, *arguments):
        path = tmp_path / f"script_{next(numbers)}.py"  # scripts may be started by several threads
        path.write_text(PRELUDE + text)
        one = Script(path, arguments, env)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()
