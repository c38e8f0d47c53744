"""Run a command in a network of its own: a loopback that nobody else uses, and that paces nothing.

Usage: python scripts/own_network.py COMMAND [ARGUMENT ...]

BBR, the congestion control of many hosts, paces what it sends by what it has measured, and on a
loopback figures would say as much about that as about either end. Here it is Reno, which every
Linux has. Where no such network may be made (`unshare` and `ip` are needed) the command runs all
the same, in the network that there is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

UNSHARE = ("unshare", "--net") if os.geteuid() == 0 else ("unshare", "--net", "--map-root-user")
"""Whoever is root need not become root of a namespace of users, where perf sees no kernel."""
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
INSIDE = "--inside"


def main() -> None:
    words = sys.argv[1:]
    inside = words[:1] == [INSIDE]
    if inside:
        words = words[1:]
    if not words:
        raise SystemExit("own_network.py: which command?")
    if inside:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        CONGESTION.write_text("reno", "ascii")
    elif may_be_made():
        words = inside_of_it(words)
    os.execvp(words[0], words)


def inside_of_it(words: list[str]) -> list[str]:
    """Return the command that makes the network and runs `words` there."""
    return [*UNSHARE, sys.executable, __file__, INSIDE, *words]


def may_be_made() -> bool:
    """Say whether this user may make such a network: it is tried."""
    if not all(map(shutil.which, ("unshare", "ip"))):
        return False
    return subprocess.run(inside_of_it(["true"]), capture_output=True, check=False).returncode == 0


if __name__ == "__main__":
    main()
