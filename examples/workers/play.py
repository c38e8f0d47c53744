"""What becomes of a port with several processes: one is killed, all are renewed, all are ended.

    python examples/workers/play.py

It starts server.py and prints a line about each thing that happens; exit code 1 when one is not as
expected.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import callmethod
from echo_pb2 import EchoRequest, EchoService_Stub

SERVER = Path(__file__).with_name("server.py")
PATIENCE = 20.0  # seconds for anything to happen
EXPECTED = """\
two workers answer
one is killed, and two answer again
all are renewed, and no call failed meanwhile
the server ends: exit code 0
"""


def who_answers(address):
    """Ask with a new connection: any of the workers may take it."""
    with callmethod.Channel(address) as channel:
        answer = EchoService_Stub(channel).Echo(None, EchoRequest(message="hello"))
    return int(answer.message.rpartition(" ")[2])


def find_two(address, but_not=()):
    """Ask until two workers have answered that are none of those."""
    found = set()
    end = time.monotonic() + PATIENCE
    while len(found) < 2:  # noqa: PLR2004  (as many as server.py has)
        if time.monotonic() > end:
            sys.exit(f"only {found} answered")
        found.add(who_answers(address))
        found -= set(but_not)
    return found


def scenes(server):
    """Play; yield a line about each thing that happens."""
    address = server.stdout.readline().strip()
    first = find_two(address)
    yield "two workers answer"

    # Calls that it had under way would fail, and no others: the port is open all the time.
    victim = first.pop()
    os.kill(victim, signal.SIGKILL)
    second = find_two(address, but_not={victim})
    yield "one is killed, and two answer again"

    # A new worker accepts before an old one ends, and channels of callmethod are told to move on.
    with callmethod.Channel(address) as channel:
        stub = EchoService_Stub(channel)
        stub.Echo(None, EchoRequest(message="hello"))
        server.send_signal(signal.SIGHUP)
        find_two(address, but_not=second)
        for _ in range(100):
            stub.Echo(None, EchoRequest(message="hello"))
    yield "all are renewed, and no call failed meanwhile"

    server.terminate()
    yield f"the server ends: exit code {server.wait(PATIENCE)}"


def main():
    """Play, and compare."""
    said = []
    with subprocess.Popen(
        [sys.executable, SERVER, "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            for line in scenes(server):
                print(line, flush=True)
                said.append(line)
        finally:
            server.kill()  # its workers notice, and end as well
    if said != EXPECTED.splitlines():
        sys.exit(f"expected was:\n{EXPECTED}")


if __name__ == "__main__":
    main()
