"""Which groups there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.contestants import (
    ASYNCIO,
    ASYNCORE,
    EAGER_OURS,
    EAGER_OURS_UVLOOP,
    EAGER_UVLOOP,
    EAGER_UVLOOP_TASKS,
    GRPC_AIO,
    GRPCIO,
    GRPCLIB,
    LOOP,
    OURS,
    OURS_ASYNC,
    OURS_ASYNC_UVLOOP,
    OURS_BAIDU,
    RUST,
    RUST_BAIDU,
    THRIFT,
    UVLOOP,
    UVLOOP_TASKS,
    Contestant,
)
from runner.groups import Group
from runner.load import MEBIBYTE, Cell

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.settings import Settings

ONE = Cell(1, 1)
DEEP = Cell(1, 64)
WIDE = Cell(64, 1)
BOTH = Cell(8, 64)
WIDER = Cell(512, 1)
WIDEST = Cell(1000, 1)
KIB = (Cell(1, 64, 1024), Cell(64, 1, 1024), Cell(8, 64, 1024))
MIB = (Cell(1, 1, MEBIBYTE), Cell(8, 1, MEBIBYTE))
NAPS = Cell(64, 1, index=1)

NAPPING = Contestant(
    "callmethod, 64 workers", "callmethod_server.py", ("--nap=0.01", "--max-workers=64")
)
# As long as the answer of a database takes that is near.
SHORT = "--nap=0.001"
NAPPING_SHORTLY = Contestant(
    "callmethod, 64 workers, 1 ms", "callmethod_server.py", (SHORT, "--max-workers=64")
)
THREADS_NAPPING_SHORTLY = Contestant("threads by hand, 1 ms", "threads_server.py", (SHORT,))

# glibc gives memory above these back to the kernel and asks for it anew; 32 MiB is the most that
# it takes for the first.
THRESHOLDS = {
    "MALLOC_MMAP_THRESHOLD_": str(32 * MEBIBYTE),
    "MALLOC_TRIM_THRESHOLD_": str(256 * MEBIBYTE),
}

CELLS = (DEEP, WIDE, BOTH, WIDER, WIDEST)

CORE = "server on one core"
SAME = "both ends on one core"
LARGE = "1 MiB, allocator as it is"
RAISED = "1 MiB, thresholds raised"

FRAMED = (UVLOOP, OURS, OURS_BAIDU, RUST, RUST_BAIDU)
BIG = (ASYNCIO, ASYNCORE, THRIFT, OURS, OURS_BAIDU, RUST)


def groups(settings: Settings) -> list[Group]:
    """Return the groups of a run, in order."""
    plan = [*common(settings), *(quick(settings) if settings.quick else full(settings))]
    return [group for group in plan if settings.wants(group.name)]


def quick(settings: Settings) -> Iterator[Group]:
    """What is enough for the rows that are to be reached."""
    apart, together, _ = places(settings)
    grpc = (OURS, GRPC_AIO, GRPCIO)
    yield Group("core", CORE, (*FRAMED, LOOP), CELLS, *apart)
    yield Group("same", SAME, (UVLOOP, OURS, OURS_BAIDU, RUST), (ONE,), *together)
    yield Group("grpc", "gRPC, " + CORE, grpc, (WIDE, BOTH), *apart)
    yield Group("large", LARGE, BIG, MIB[:1], *apart)
    yield Group("large-raised", RAISED, raised(BIG), MIB[:1], *apart)


def full(settings: Settings) -> Iterator[Group]:
    """All peers, in more cells."""
    apart, together, _ = places(settings)
    framed = (*FRAMED, ASYNCIO, ASYNCORE, THRIFT)
    grpc = (GRPC_AIO, GRPCIO, GRPCLIB)
    big = (UVLOOP, *BIG, GRPC_AIO, GRPCIO)
    yield Group("core", CORE, (*framed, LOOP), (ONE, *CELLS), *apart)
    yield Group("kib", "1 KiB, " + CORE, (*framed, LOOP, *grpc), KIB, *apart)
    yield Group("same", SAME, (*framed, *grpc), (ONE,), *together)
    yield Group("grpc", "gRPC, " + CORE, (OURS, *grpc), (ONE, DEEP, WIDE, BOTH), *apart)
    yield Group("large", LARGE, big, MIB, *apart)
    yield Group("large-raised", RAISED, raised(big), MIB, *apart)


def common(settings: Settings) -> Iterator[Group]:
    """What is the same in both."""
    apart, _, free = places(settings)
    both = (UVLOOP, OURS, OURS_BAIDU, RUST, LOOP)
    yield Group("free", "server free on two cores", both, (BOTH,), *free)
    handlers = (UVLOOP_TASKS, OURS_ASYNC, OURS_ASYNC_UVLOOP)
    yield Group("async", "async def handlers", handlers, (WIDE, BOTH), *apart)
    if settings.eager_python is not None:
        eager = (EAGER_UVLOOP_TASKS, EAGER_UVLOOP, EAGER_OURS, EAGER_OURS_UVLOOP)
        yield Group("eager", "async def handlers, 3.12+", eager, (WIDE, BOTH), *apart)
    yield Group("naps", "handlers that sleep 10 ms, one core", (NAPPING,), (NAPS,), *apart)
    yield Group("naps-free", "handlers that sleep 10 ms, two cores", (NAPPING,), (NAPS,), *free)
    short = (THREADS_NAPPING_SHORTLY, NAPPING_SHORTLY)
    yield Group("short-naps", "handlers that sleep 1 ms, one core", short, (NAPS,), *apart)
    yield Group("short-naps-free", "handlers that sleep 1 ms, two cores", short, (NAPS,), *free)


Place = tuple[tuple[int, ...], tuple[int, ...]]


def places(settings: Settings) -> tuple[Place, Place, Place]:
    """Return the CPUs of server and load: one each, both on one, the server on two."""
    server, load = settings.cpus
    return ((server,), (load,)), ((server,), (server,)), ((server, load), (load,))


def raised(contestants: tuple[Contestant, ...]) -> tuple[Contestant, ...]:
    """Return them with an allocator that keeps what it has."""
    return tuple(contestant.with_env(THRESHOLDS) for contestant in contestants)
