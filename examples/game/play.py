"""Play one short game: a server process, two client processes, and what each of them said.

    make demo

or, by hand, with the compiled protos on the path:

    PYTHONPATH=build/proto python examples/game/play.py

Every line below is waited for before the next move is made, so the transcript is the same each
time. Exit code 1, with the reason, when a line does not come or a process ends badly.
"""

import queue
import subprocess
import sys
import threading
from pathlib import Path

HERE = Path(__file__).parent
PATIENCE = 20.0  # seconds for any one line, or for a process to end


class Actor:
    """A child process whose lines can be waited for."""

    def __init__(self, name, program, *arguments):
        self.name = name
        self.process = subprocess.Popen(
            [sys.executable, HERE / program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.lines = queue.Queue()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        """Collect what the process prints; None is the end of it."""
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def next_line(self):
        """Wait for a line."""
        try:
            line = self.lines.get(timeout=PATIENCE)
        except queue.Empty:
            sys.exit(f"{self.name} said nothing for {PATIENCE:.0f} s")
        if line is None:
            sys.exit(f"{self.name} ended, exit code {self.process.wait(PATIENCE)}")
        return line

    def says(self, expected):
        """Wait for this line and print it."""
        line = self.next_line()
        if line != expected:
            sys.exit(f"{self.name} said {line!r}, not {expected!r}")
        print(f"{self.name:>6} | {line}", flush=True)

    def ends(self):
        """Wait for a clean end with nothing left unsaid."""
        code = self.process.wait(PATIENCE)
        rest = self.lines.get(timeout=PATIENCE)
        if code != 0 or rest is not None:
            sys.exit(f"{self.name} ended with exit code {code}, last words {rest!r}")


def play(cast):
    """The game. Each process goes into `cast`, so that the caller can clear the stage."""

    def enter(name, program, *arguments):
        actor = Actor(name, program, *arguments)
        cast.append(actor)
        return actor

    server = enter("server", "server.py")
    address = server.next_line()
    print("server | is up", flush=True)

    ada = enter("ada", "client.py", address, "ada")
    ada.says("welcome: welcome ada, players here: 1")

    bob = enter("bob", "client.py", address, "bob")
    bob.says("welcome: welcome bob, players here: 2")
    ada.says("announce: bob has joined")

    bob.process.stdin.close()  # bob leaves
    bob.says("bye")
    bob.ends()
    ada.says("announce: bob has left (peer_closed)")

    ada.process.stdin.close()
    ada.says("bye")
    ada.ends()

    server.process.terminate()  # SIGTERM: serve_forever() drains and returns
    server.says("calls: 2, pushes: 4")
    server.ends()


def main():
    """Play, and leave no process behind whatever happens."""
    cast = []
    try:
        play(cast)
    finally:
        for actor in cast:
            actor.process.kill()
            actor.process.wait()
    print("the game is over, all went as expected")


if __name__ == "__main__":
    main()
