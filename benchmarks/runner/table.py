"""The table of what is to be reached, row by row as it was agreed."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from runner import brpc, clients, plan, probes
from runner import contestants as who
from runner.numbers import rates, ratios
from runner.rows import Row, at_least, at_most, below_ceiling, best, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.load import Cell
    from runner.rows import Results

IDEAL_NAPS = 64 / 0.010
CELLS = (plan.DEEP, plan.WIDE, plan.BOTH, plan.WIDER)


def table(results: Results) -> list[Row]:
    """Return all rows."""
    parts = (
        throughput,
        brpc_client,
        latency,
        free,
        async_handlers,
        grpc,
        large,
        client_rows,
        blocked,
        memory,
    )
    return [row for part in parts for row in part(results)]


def throughput(results: Results) -> Iterator[Row]:
    """Calls a second on one core, against the opponent by hand."""
    plans = (
        ("indexed", who.OURS, who.RUST, (1.1, 1.25, 1.2, 1.2), 0.95),
        ("baidu_std", who.OURS_BAIDU, who.RUST_BAIDU, (1.0, 1.1, 1.0, 1.1), 0.9),
    )
    for name, ours, rust, needs, share in plans:
        for cell, least in zip(CELLS, needs, strict=True):
            what = f"server, {name}, {cell.label}, calls/s against uvloop by hand"
            yield below_ceiling(results, what, ours, rust, (least, share), cell)


def brpc_client(results: Results) -> Iterator[Row]:
    """The client of brpc in C++."""
    what = "C++ brpc client, 64 in flight, our server against its own C++ server, two cores"
    ours = results.values("brpc", brpc.OURS, brpc.MANY)
    theirs = results.values("brpc", brpc.THEIRS, brpc.MANY)
    if "brpc" in results.series:
        yield at_least(what, ours, theirs, 1.0)
    else:
        why = results.failures.get("brpc", "not run: it needs `make brpc`")
        yield missing(what, "at least 1.0", why)


def latency(results: Results) -> Iterator[Row]:
    """One call at a time, both ends on one core."""
    for ours in (who.OURS, who.OURS_BAIDU):
        yield at_most(
            f"{ours.name}, p50 at 1 x 1 on the client's core, against uvloop by hand",
            results.values("same", ours, plan.ONE, "p50_us"),
            results.values("same", who.UVLOOP, plan.ONE, "p50_us"),
            1.0,
            "us",
        )


def free(results: Results) -> Iterator[Row]:
    """The server on two cores."""
    yield at_least(
        "server free on two cores, 8 x 64, against the in-process loop",
        results.values("free", who.OURS, plan.BOTH),
        results.values("free", who.LOOP, plan.BOTH),
        0.9,
    )


def async_handlers(results: Results) -> Iterator[Row]:
    """Coroutines as handlers; ours on its own loop or on uvloop, whichever is faster."""
    ours = (who.OURS_ASYNC, who.OURS_ASYNC_UVLOOP)
    for cell in (plan.BOTH, plan.WIDE):
        what = f"async def handlers, {cell.label}, against uvloop by hand with a Task each"
        own = best(results, "async", cell, ours)
        if own is None:
            yield missing(what, "at least 1.0")
            continue
        theirs = results.values("async", who.UVLOOP_TASKS, cell)
        what = f"{what} ({own.name.removeprefix('callmethod, async, ')})"
        yield at_least(what, results.values("async", own, cell), theirs, 1.0)
    yield from eager(results)


def eager(results: Results) -> Iterator[Row]:
    """The same where Python starts tasks eagerly."""
    what = "async def handlers started eagerly, 8 x 64, against uvloop by hand with {}"
    ours = (who.EAGER_OURS, who.EAGER_OURS_UVLOOP)
    own = best(results, "eager", plan.BOTH, ours)
    if own is None:
        why = "not run: needs Python 3.12 or later beside this one"
        yield missing(what.format("a Task each"), "at least 2.0", why)
        return
    values = results.values("eager", own, plan.BOTH)
    tasks = results.values("eager", who.EAGER_UVLOOP_TASKS, plan.BOTH)
    yield at_least(what.format("a Task each"), values, tasks, 2.0)
    same = results.values("eager", who.EAGER_UVLOOP, plan.BOTH)
    if same:
        ratio = ratios(values, same)
        text = f"{rates(values)} against {rates(same)}"
        yield Row(what.format("eager Tasks, too"), str(ratio), "for information", None, text)


def grpc(results: Results) -> Iterator[Row]:
    """Against gRPC's servers."""
    for cell, least in ((plan.WIDE, 20), (plan.BOTH, 100)):
        for theirs in (who.GRPC_AIO, who.GRPCIO):
            yield at_least(
                f"server, {cell.label}, against {theirs.name}",
                results.values("grpc", who.OURS, cell),
                results.values("grpc", theirs, cell),
                least,
            )


def large(results: Results) -> Iterator[Row]:
    """Messages of 1 MiB, with the allocator as it is and with its thresholds raised."""
    cell = plan.MIB[0]
    for group, allocator in (
        ("large", "allocator as it is"),
        ("large-raised", "thresholds raised"),
    ):
        ours = results.values(group, who.OURS, cell)
        peer = best(results, group, cell, (who.ASYNCIO, who.ASYNCORE, who.THRIFT))
        what = f"1 MiB, {allocator}, against the fastest Python peer"
        if peer is None:
            yield missing(what, "at least 1.0")
        else:
            theirs = results.values(group, peer, cell)
            yield at_least(f"{what} ({peer.name})", ours, theirs, 1.0)
        what = f"1 MiB, {allocator}, against the Rust echo"
        yield at_least(what, ours, results.values(group, who.RUST, cell), 0.75)


def client_rows(results: Results) -> Iterator[Row]:
    """Our channels against clients by hand."""
    many, one = clients.MANY, clients.ONE
    for protocol in ("indexed", "baidu_std"):
        name = f"client, {protocol}"
        ours = results.values("client-many", clients.ours("callback", protocol), many)
        theirs = results.values("client-many", clients.CALLBACK, many)
        yield at_least(f"{name}, callback, 64 in flight, against uvloop by hand", ours, theirs, 1.2)
        ours = results.values("client-many", clients.ours("aio", protocol), many)
        theirs = results.values("client-many", clients.FUTURE, many)
        yield at_least(f"{name}, aio, 64 in flight, against uvloop with futures", ours, theirs, 1.0)
        theirs = results.values("client-many", clients.GRPC, many)
        yield at_least(f"{name}, aio, 64 in flight, against grpc.aio", ours, theirs, 20)
        for group, where in (("client-one", "two cores"), ("client-same", "one core")):
            yield at_most(
                f"{name}, blocking, p50, {where}, against a bare socket",
                results.values(group, clients.ours("blocking", protocol), one, "p50_us"),
                results.values(group, clients.SOCKET, one, "p50_us"),
                1.15,
                "us",
            )


def blocked(results: Results) -> Iterator[Row]:
    """Handlers that sleep or compute."""
    for group, where, least in (("naps", "one core", 0.75), ("naps-free", "two cores", 0.9)):
        values = results.values(group, plan.NAPPING, plan.NAPS)
        what = f"handlers that sleep 10 ms, 64 workers, 64 x 1, {where}, against the ideal 6,400/s"
        yield at_least(what, values, [IDEAL_NAPS] * len(values), least, rates(values))
    for group, where in (("short-naps", "one core"), ("short-naps-free", "two cores")):
        what = f"handlers that sleep 1 ms, 64 workers, 64 x 1, {where}, against threads by hand"
        ours = results.values(group, plan.NAPPING_SHORTLY, plan.NAPS)
        theirs = results.values(group, plan.THREADS_NAPPING_SHORTLY, plan.NAPS)
        yield at_least(what, ours, theirs, 1.0)
    what = "one handler sleeps 1 s: p99 of other connections, {}, against quiet"
    for cell in probes.CELLS:
        if results.sleeping is None:
            yield missing(what.format(cell.label), "at most 1.5", results.why("sleep"))
            continue
        during = results.sleeping.during[cell.label]
        quiet = results.sleeping.quiet[cell.label]
        yield at_most(what.format(cell.label), during, quiet, 1.5, "us")
    yield from computing(results)


def computing(results: Results) -> Iterator[Row]:
    """How late endings are while a handler has the interpreter to itself."""
    for where in ("one core", "two cores"):
        for kind in ("deadlines", "refusals"):
            what = f"one handler computes 1 s: {kind} of others, {where}, how late"
            if where not in results.computing:
                yield missing(what, "within 5 ms", results.why(where))
                continue
            late = sorted(getattr(results.computing[where], kind))
            p99 = late[min(len(late) - 1, round(len(late) * 0.99))]
            text = (
                f"{len(late)} calls: p50 {statistics.median(late):.2f} ms, most {late[-1]:.2f} ms"
            )
            yield Row(what, f"p99 {p99:.2f} ms", "within 5 ms", p99 <= 5, text)


def memory(results: Results) -> Iterator[Row]:
    """What connections cost."""
    for ours in (who.OURS, who.OURS_BAIDU):
        what = f"{ours.name}, memory for an idle connection"
        if ours.name not in results.idle:
            yield missing(what, "at most 10 KiB", results.why("idle"))
        else:
            kib = results.idle[ours.name]
            others = results.idle.get(who.UVLOOP.name)
            text = "" if others is None else f"uvloop by hand: {others:.1f} KiB"
            yield Row(what, f"{kib:.1f} KiB", "at most 10 KiB", kib <= 10, text)
    for ours in (who.OURS, who.OURS_BAIDU):
        yield wide(results, ours.name, plan.WIDEST)


def wide(results: Results, name: str, cell: Cell) -> Row:
    """Compare many connections with fewer."""
    what = f"{name}, 1,000 connections with one call each, against 64"
    return at_least(
        what, results.values("core", name, cell), results.values("core", name, plan.WIDE), 0.85
    )
