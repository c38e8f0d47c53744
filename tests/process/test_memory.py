"""What the allocator does with large messages, in a process that has a server."""

import platform

import pytest

MESSAGES = """
import resource


def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


def make(times):
    # As a handler does: the bytes, the message of them, and the message's own bytes.
    for _ in range(times):
        blocks = bytes(1_000_000), bytearray(b"x" * 1_000_000), bytes(1_000_000)
        del blocks


def work():
    make(10)
    before = faults()
    make(20)
    say(faults() - before)


if sys.argv[1] == "with":
    server = callmethod.Server("127.0.0.1:0")
    server.add_service(Numbers())
    server.start()
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the bounds are those of glibc")
def test_the_memory_of_a_large_message_is_used_for_the_next_one(script):
    faults = {
        with_server: int(script(MESSAGES, with_server).line()) for with_server in ("with", "no")
    }
    # A message is 244 pages.
    assert faults["no"] > 20 * 244
    assert faults["with"] < 20 * 24
