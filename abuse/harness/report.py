"""The page, and what is printed on the way."""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

from attacks import FAMILIES

from harness import measure, overload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.measure import Row
    from harness.overload import Overload
    from harness.storms import Result

RAW = argparse.RawDescriptionHelpFormatter
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")

HEAD = """\
# What it withstands

<!-- Written by `make abuse`; words are changed in abuse/harness/report.py. -->

`make abuse` attacks a server of the release build and an honest client looks on: it makes 500 calls
a second on a connection of its own, before and during each attack, in turns of a second or so. What
is attacked has default options, where nothing else is said. [abuse/](../abuse/README.md) has the
attacks, one line to run each of them, and how to add one.

An attack is withstood if

* no call of the honest client is lost, and its p99 stays below {slower:g} times what it is in the
  turns without the attack, by the median of the turns; or below {soon:g} ms, where without it is a
  small part of that;
* the server's memory grows by less than {growth} MiB;
* within {released:g} s all is given back: connections, files, calls in flight and waiting;
* a counter of `stats()` says what was done ([Counters](stats.md)).

{verdict}

Made {when}, callmethod {version}, {python}, {cpus} CPUs ({kernel}, congestion control
{congestion}): the server has one to itself, who attacks and who is honest share the other one.
"""

COLUMNS = (
    "| attack | bound | times | calls lost | p99 quiet -> during | memory | CPU | released after "
    "| counted as | |\n|---|---|---|---|---|---|---|---|---|---|"
)

STORMS = """\
## Very many connections

| | wanted | found | |
|---|---|---|---|
"""

OVERLOAD = """\
## More than it can do

For so many seconds {times} times as many calls come as the server answers at its best, at a fixed
rate, whatever becomes of them. Handlers compute for 0.2 ms. Calls that would wait for more than
half of their time are refused when they come, so that the others are answered in time. "CPU slower"
is how much longer a handler computed meanwhile, in time on the CPU, than at the peak, which was
measured before and after: where programs outside of this machine take from it, that is no fault of
the server's, and the peak is taken for so much lower.

Wanted: {goodput:.0%} of the peak or more is answered in time; the refused are told within
{refused:g} ms (p99); less than {dead:.0%} of the handlers that run end when their caller has given
up.

| | peak | CPU slower | asked for | in time | refused | told after, p50 / p99 | late | for none | |
|---|---|---|---|---|---|---|---|---|
"""

NOT_RUN = """\
## Not run here

* HTTP/1, HTTP/2 and gRPC: they are not there yet.
* zstd and lz4 bombs: neither is spoken. Renegotiation: rustls has none.
* Client certificates that are expired, revoked, unknown or missing: `tests/tls/test_refusals.py`.
* A peer that vanishes without a packet takes a network of its own and a minute:
  `tests/process/test_faults.py`, see [robustness](robustness.md#real-processes).
* Fuzzing: `make fuzz`; thousands of games over a network that breaks: `make sim`.
* More than one server process, more than one machine, a real network.
"""


def line(row: Row) -> str:
    """Return a row for the terminal."""
    return " | ".join([row.attack.name, *cells(row)])


def cells(row: Row) -> list[str]:
    released = "never" if row.released is None else f"{row.released:.1f} s"
    return [
        f"{row.times:,}",
        f"{row.lost} of {row.calls:,}",
        f"{row.quiet_ms:.2f} -> {row.during_ms:.2f} ms",
        f"{row.growth / 2**20:+.1f} MiB",
        f"{row.cpu:.0%}",
        released,
        ", ".join(counted(row)),
        verdict(row.faults(), row.known()) + circumstances(row.tries, row.others),
    ]


def counted(row: Row) -> list[str]:
    """Return what grew of what was to grow, and all that was refused."""
    wanted = row.attack.counters
    return [
        f"`{name}` {count:,}"
        for name, count in sorted(row.counted.items())
        if name.startswith("rejected_total.")
        or any(name == one or name.startswith(one + ".") for one in wanted)
    ]


def verdict(faults: Sequence[str], known: Sequence[str] = ()) -> str:
    if faults:
        return f"**BROKEN: {'; '.join([*faults, *known])}**"
    return f"**known: {'; '.join(known)}**" if known else "ok"


def disturbance(others: Sequence[float]) -> str:
    """Say it when the times of a whole run are those of a busy machine."""
    share = statistics.median(others) if others else 0.0
    if share < overload.DISTURBED:
        return ""
    return (
        f" **Other programs took {share:.0%} of the CPUs** (median of the rows): memory, files,\n"
        "counters and lost calls hold, but times and rates of this run say little."
    )


def circumstances(tries: int, others: float) -> str:
    """Say how often it was tried, and who disturbed."""
    said = [f"try {tries}"] if tries > 1 else []
    if others >= overload.DISTURBED:
        said.append(f"other programs took {others:.0%} of the CPUs")
    return f" ({'; '.join(said)})" if said else ""


def line_of_result(result: Result) -> str:
    return (
        f"{result.name} | {result.bound} | {result.found} | {'ok' if result.well else '**BROKEN**'}"
    )


def line_of_overload(found: Overload) -> str:
    load = found.load
    asked = load["sent"] / load["seconds"]
    return (
        f"{found.case.name}, {found.case.seconds:g} s | {found.peak:,.0f}/s "
        f"| {found.slower - 1:+.0%} | {asked:,.0f}/s "
        f"| {load['in_time_per_s']:,.0f}/s ({found.goodput:.0%}) | {load['refused']:,} "
        f"| {load['refused_p50_ms']:.1f} / {load['refused_p99_ms']:.1f} ms "
        f"| {load['expired']:,} | {found.dead:.2%} "
        f"| {verdict(found.faults())}{circumstances(found.tries, found.others)}"
    )


def broken(
    rows: Mapping[str, Sequence[Row]], counts: Sequence[Result], overloads: Sequence[Overload]
) -> list[str]:
    """Return a line for each rule that was broken."""
    found = [
        f"{row.attack.name}: {'; '.join(row.faults())}"
        for family in rows.values()
        for row in family
        if row.faults()
    ]
    found += [f"{result.name}: {result.found}" for result in counts if not result.well]
    found += [f"{one.case.name}: {'; '.join(one.faults())}" for one in overloads if one.faults()]
    return found


def page(
    rows: Mapping[str, Sequence[Row]], counts: Sequence[Result], overloads: Sequence[Overload]
) -> str:
    failed = broken(rows, counts, overloads)
    all_of = sum(map(len, rows.values())) + len(counts) + len(overloads)
    parts = [
        HEAD.format(
            slower=measure.SLOWER,
            soon=measure.SOON_MS,
            growth=measure.GROWTH >> 20,
            released=measure.RELEASED_SECONDS,
            verdict=f"In this run {all_of - len(failed)} of {all_of} were withstood."
            + disturbance([row.others for family in rows.values() for row in family]),
            when=dt.datetime.now(dt.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            version=importlib.metadata.version("callmethod"),
            python=f"{platform.python_implementation()} {platform.python_version()}",
            cpus=len(os.sched_getaffinity(0)),
            congestion=CONGESTION.read_text("ascii").strip(),
            kernel=f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        )
    ]
    for family, all_rows in rows.items():
        parts.append(f"## {FAMILIES[family].FAMILY}\n\n{COLUMNS}")
        parts[-1] += "".join(
            f"\n| **{row.attack.name}**: {row.attack.does} | {row.attack.bound} | "
            + " | ".join(cells(row))
            + " |"
            for row in all_rows
        )
        parts[-1] += "\n"
    parts.append(STORMS + "".join(f"| {line_of_result(result)} |\n" for result in counts))
    parts.append(
        OVERLOAD.format(
            times=overload.TIMES,
            goodput=overload.GOODPUT,
            refused=overload.REFUSED_MS,
            dead=overload.DEAD,
        )
        + "".join(f"| {line_of_overload(found)} |\n" for found in overloads)
    )
    parts.append(NOT_RUN)
    return "\n".join(parts)
