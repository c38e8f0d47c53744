"""Very many connections: how quickly they are taken, what they cost, and whether they leave."""

from __future__ import annotations

import time
from dataclasses import dataclass

from harness.processes import Place, Program, Target, wait_until

AT_ONCE, IDLE, CHURN = 5_000, 10_000, 20_000
ACCEPT_SECONDS = 1.0
IDLE_KIB = 10.0
GROWTH = 4 << 20
"""Of memory by connections that are gone."""
SETTLE_SECONDS = 1.0


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    name: str
    bound: str
    found: str
    well: bool


def storms(target_place: Place, crowd_place: Place) -> list[Result]:
    """Measure all of them, each with a server of its own."""
    return [
        at_once(target_place, crowd_place),
        idle(target_place, crowd_place),
        churn(target_place, crowd_place),
    ]


def at_once(target_place: Place, crowd_place: Place) -> Result:
    with (
        Target(target_place) as target,
        Program("crowd.py", [target.address], crowd_place) as crowd,
    ):
        crowd.line()
        before, begun = target.fds(), time.monotonic()
        crowd.tell(f"connect {AT_ONCE}")
        wait_until(lambda: target.fds() - before >= AT_ONCE, 30)
        seconds = time.monotonic() - begun
        failed = crowd.heard()["failed"] + crowd.ask("call")["failed"]
    return Result(
        f"{AT_ONCE:,} connects at once",
        f"all accepted within {ACCEPT_SECONDS:g} s, then answered",
        f"accepted after {seconds:.2f} s; {failed} failed",
        seconds <= ACCEPT_SECONDS and failed == 0,
    )


def idle(target_place: Place, crowd_place: Place) -> Result:
    with (
        Target(target_place) as target,
        Program("crowd.py", [target.address], crowd_place) as crowd,
    ):
        crowd.line()
        # What the first connections and workers take belongs to none of those that come.
        crowd.ask("churn 500")
        time.sleep(SETTLE_SECONDS)
        before = target.rss()
        failed = crowd.ask(f"connect {IDLE}")["failed"] + crowd.ask("call")["failed"]
        time.sleep(SETTLE_SECONDS)
        each = (target.rss() - before) / IDLE / 1024
    return Result(
        f"{IDLE:,} idle connections, after a call each",
        f"at most {IDLE_KIB:g} KiB of memory for each",
        f"{each:.1f} KiB for each; {failed} failed",
        each <= IDLE_KIB and failed == 0,
    )


def churn(target_place: Place, crowd_place: Place) -> Result:
    with (
        Target(target_place) as target,
        Program("crowd.py", [target.address], crowd_place) as crowd,
    ):
        crowd.line()
        crowd.ask("churn 1000")
        time.sleep(SETTLE_SECONDS)
        fds, rss = target.fds(), target.rss()
        crowd.tell(f"churn {CHURN}")
        done = crowd.heard(300)
        gone = wait_until(lambda: target.fds() <= fds, 5)
        time.sleep(SETTLE_SECONDS)
        grown = target.rss() - rss
        rate = CHURN / done["seconds"]
        files = "files are back" if gone else "files are left open"
    return Result(
        f"{CHURN:,} times connect, call, close",
        f"files back to where they were within 5 s, memory within {GROWTH >> 20} MiB",
        f"{files}; memory {grown / 2**20:+.1f} MiB; {done['failed']} failed; {rate:,.0f} a second",
        gone and grown <= GROWTH and done["failed"] == 0,
    )
