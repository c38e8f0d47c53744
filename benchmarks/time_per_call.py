"""Says in nanoseconds where the time of a call goes on the server, ours and the opponent's.

`make bench-profile` calls it with a build that has kept its symbols. A server's time on its CPU for
a call is measured first, then once more while perf(1) looks 5,000 times a second at where it is;
the shares of the second are applied to the first.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from runner import load
from runner.contestants import OURS, OURS_ASYNC_UVLOOP, OURS_BAIDU, UVLOOP, UVLOOP_TASKS
from runner.load import Cell
from runner.processes import Process
from runner.settings import PROTOS, ROOT, Settings, two_cpus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from runner.contestants import Contestant

SITE = ROOT / "build" / "profile" / "site"
"""Where callmethod lies with its symbols."""
CELLS = (Cell(8, 64), Cell(64, 1))
ASYNC_CELLS = (Cell(8, 64),)
HERTZ = 5000
KERNEL = "kernel: system calls, TCP"

PARTS: tuple[tuple[str, str, str], ...] = (
    (KERNEL, r"kernel|\[.*\.ko\]", ""),
    ("protobuf", r"_message|_upb", ""),
    (
        "garbage collector",
        r"^(lib)?python",
        r"^(gc_|visit_|subtract_refs|deduce_unreachable|.*_traverse$)",
    ),
    ("interpreter: handler, objects", r"^(lib)?python", ""),
    ("allocator of C", r"libc", r"alloc|free|malloc|arena|unlink_chunk"),
    ("copies, comparisons", r"libc", r"mem(cpy|move|set|cmp|chr)"),
    ("wire: encode, decode", r"_core", r"_core::wire|prost|bytes::"),
    ("net: read, admit, write", r"_core", r"_core::net|mio"),
    ("call: lanes, tickets, doors", r"_core", r"_core::(call|metrics|status)"),
    ("python: the border", r"_core", r"_core::python|pyo3"),
    ("tokio", r"_core", r"tokio"),
    ("uvloop, libuv", r"uvloop|loop\.", ""),
    ("other", "", ""),
)
"""Names of parts, and what object and symbol of a sample match; the first one that does counts."""


def part(library: str, symbol: str) -> str:
    """Name the part of a call to which a sample belongs."""
    return next(
        name
        for name, libraries, symbols in PARTS
        if re.search(libraries, library) and re.search(symbols, symbol)
    )


def shares(
    settings: Settings, server: Process, address: str, cell: Cell, who: Contestant
) -> Counter[str]:
    """Put load on a server and count the samples of each part; there are none while it rests."""
    with tempfile.TemporaryDirectory(prefix="profile-") as folder:
        data = Path(folder, "perf.data")
        under_load = threading.Thread(
            target=load.framed,
            args=(settings, address, who.protocol, cell, settings.cpus[1:]),
        )
        under_load.start()
        record = ["perf", "record", f"--freq={HERTZ}", f"--pid={server.pid}", f"--output={data}"]
        perf([*record, "--", "sleep", str(settings.seconds)])
        under_load.join()
        report = ["perf", "report", f"--input={data}", "--stdio", "--sort=dso,symbol"]
        text = perf([*report, "--field-separator=|", "--show-nr-samples"])
    counted: Counter[str] = Counter()
    for line in text.splitlines():
        words = [word.strip() for word in line.split("|", 3)]
        if len(words) == 4 and words[1].isdigit():
            counted[part(words[2], words[3].split("] ", 1)[-1])] += int(words[1])
    return counted


def perf(command: Sequence[str]) -> str:
    """Run perf; it has words of its own for what it may not do."""
    if shutil.which("perf") is None:
        raise SystemExit("perf is needed, and is not installed (Debian: linux-perf)")
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


def of_a_call(settings: Settings, who: Contestant, cell: Cell) -> dict[str, float]:
    """Return the nanoseconds of each part of a call."""
    env = {"PYTHONPATH": f"{SITE}:{PROTOS}"}
    server = Process(who.command(settings), settings.cpus[:1], env)
    try:
        address = server.address().split()[-1]
        measured = load.sample(settings, who, server, address, cell, settings.cpus[1:])
        counted = shares(settings, server, address, cell, who)
    finally:
        server.stop()
    every = sum(counted.values())
    if not counted[KERNEL]:
        # Its time would be shared out among all others.
        raise SystemExit("perf may not look into the kernel here (kernel.perf_event_paranoid)")
    return {name: measured["cpu_us"] * 1e3 * count / every for name, count in counted.items()}


def median(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the median of each part."""
    names = {name for run in runs for name in run}
    return {name: sorted(run.get(name, 0.0) for run in runs)[len(runs) // 2] for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    settings = Settings(
        quick=False,
        repetitions=given.repetitions,
        seconds=given.seconds,
        cpus=two_cpus(),
        binaries=ROOT / "target" / "release" / "examples",
        eager_python=None,
        only=(),
    )
    columns = [(who, cell) for cell in CELLS for who in (OURS, UVLOOP, OURS_BAIDU)]
    columns += [(who, cell) for cell in ASYNC_CELLS for who in (OURS_ASYNC_UVLOOP, UVLOOP_TASKS)]
    runs: list[list[dict[str, float]]] = [[] for _ in columns]
    for _ in range(given.repetitions):
        for run, (who, cell) in zip(runs, columns, strict=True):
            run.append(of_a_call(settings, who, cell))
            print(f"{who.name} {cell.label}: {sum(run[-1].values()):.0f} ns", file=sys.stderr)
    found = [median(run) for run in runs]
    titles = [f"{who.name}, {cell.label}" for who, cell in columns]
    print("| ns a call | " + " | ".join(titles) + " |")
    print("|---" * (1 + len(columns)) + "|")
    for name, *_ in PARTS:
        numbers = [f"{one.get(name, 0.0):.0f}" for one in found]
        print(f"| {name} | " + " | ".join(numbers) + " |")
    print("| all | " + " | ".join(f"{sum(one.values()):.0f}" for one in found) + " |")


if __name__ == "__main__":
    main()
