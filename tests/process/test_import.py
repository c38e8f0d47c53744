"""``import callmethod`` alone starts nothing: no thread, no open file, no signal handler."""

import subprocess
import sys
from pathlib import Path

import pytest

TEXT = """
import os, signal, sys, threading


def look():
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    files = sorted(os.listdir("/proc/self/fd"))
    return len(os.listdir("/proc/self/task")), threading.active_count(), files, handlers


before = look()
import callmethod
import callmethod.service
assert look() == before, (before, look())

options = callmethod.ChannelOptions(), callmethod.Indexed()
codec = callmethod.IndexedCodec(callmethod.Indexed())
controller = callmethod.Controller(timeout=1.0)
assert look() == before, ("after making values", before, look())

print("clean")
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_import_starts_no_thread_and_opens_no_file(child_env):
    ended = subprocess.run(
        [sys.executable, "-c", TEXT],
        env=child_env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stdout == "clean\n", ended.stderr
    assert ended.returncode == 0
