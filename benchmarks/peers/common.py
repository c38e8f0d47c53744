"""What every server does: say where it listens, and end some day. SIGTERM ends it before."""

from __future__ import annotations

import argparse
import signal

SECONDS = 900
"""No peer lives longer, whatever became of its runner."""


def parser(doc: str | None) -> argparse.ArgumentParser:
    """Make a parser of the options that all servers have."""
    made = argparse.ArgumentParser(description=doc)
    made.add_argument("--port", type=int, default=0, help="0: any that is free")
    made.add_argument("--nap", type=float, default=1.0, help="seconds that `nap` sleeps")
    made.add_argument("--compute", type=float, default=1.0, help="seconds that `compute` computes")
    signal.alarm(SECONDS)
    return made


def announce(port: int) -> None:
    """Say that the server listens; the runner waits for this line."""
    print(f"127.0.0.1:{port}", flush=True)
