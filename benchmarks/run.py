"""Measures our server and channels and their peers, and writes benchmarks/results/.

`make bench` and `make bench-quick` call it with what it needs.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from runner import machine, plan, probes, report
from runner.brpc import run_brpc
from runner.clients import run_clients
from runner.groups import run_group
from runner.rows import Results
from runner.settings import BRPC, RESULTS, ROOT, Settings, two_cpus
from runner.table import table

FILES = 8192
"""Sockets of a thousand connections, and room to spare."""


def options() -> argparse.Namespace:
    """Read the command line."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--quick", action="store_true", help="fewer peers, shorter, fewer times")
    made.add_argument("--repetitions", type=int, help="5; quick: 2")
    made.add_argument("--seconds", type=float, help="for one figure: 1; quick: 0.35")
    made.add_argument("--only", default="", help="groups, separated by commas")
    made.add_argument("--binaries", type=Path, default=ROOT / "target" / "release" / "examples")
    made.add_argument("--eager-python", help="an interpreter from 3.12 on with the same packages")
    made.add_argument("--results", type=Path, default=RESULTS)
    return made.parse_args()


def settings_of(chosen: argparse.Namespace) -> Settings:
    """Make the settings of this run."""
    eager = chosen.eager_python
    if eager is None and sys.version_info >= (3, 12):
        eager = sys.executable
    return Settings(
        quick=chosen.quick,
        repetitions=chosen.repetitions or (2 if chosen.quick else 5),
        seconds=chosen.seconds or (0.35 if chosen.quick else 1.0),
        cpus=two_cpus(),
        binaries=chosen.binaries,
        eager_python=eager,
        brpc=BRPC if (BRPC / "echo_client").is_file() else None,
        only=tuple(filter(None, chosen.only.split(","))),
    )


def measure(settings: Settings) -> Results:
    """Run everything."""
    results, log = Results(), sys.stderr
    for group in plan.groups(settings):
        results.series[group.name] = run_group(settings, group, log)
    results.series.update(run_clients(settings, log))
    with results.noting_failure("brpc"):
        results.series.update(run_brpc(settings, log))
    server, load = settings.cpus
    with results.noting_failure("sleep"):
        if settings.wants("sleep"):
            results.sleeping = probes.while_one_sleeps(settings, [server], log)
    for where, cpus in (("one core", [server]), ("two cores", [server, load])):
        with results.noting_failure(where):
            if settings.wants("compute"):
                results.computing[where] = probes.while_one_computes(settings, cpus, log)
    with results.noting_failure("idle"):
        if settings.wants("idle"):
            results.idle = probes.idle_connections(settings, log)
    return results


def main() -> int:
    """Measure, write, and print the table."""
    chosen = options()
    settings = settings_of(chosen)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    begun = time.monotonic()
    described = machine.describe(settings.python, settings.eager_python)
    results = measure(settings)
    described["took"] = f"{time.monotonic() - begun:.0f} s"
    rows = table(results)
    report.write(chosen.results, settings, described, results, rows)
    # It takes a second to import, which no measurement should have to wait for.
    from runner.plot import draw  # noqa: PLC0415

    note = f"{described['python']}, {described['cpu']}, {described['when']}"
    draw(results, chosen.results / "latest.png", note)
    print(report.rows_table(rows))
    failed = {name: s.failures for name, s in results.series.items() if s.failures}
    for name, why in [*failed.items(), *results.failures.items()]:
        print(f"{name}: {why}", file=sys.stderr)
    print(f"{chosen.results}/latest.md, .json, .png; {described['took']}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
