"""Measures clients: they run in turns against one and the same server, which is not Python."""

from __future__ import annotations

import contextlib
import shutil
from typing import TYPE_CHECKING, TextIO

from runner import load
from runner.contestants import RUST, RUST_BAIDU
from runner.groups import Group, Series
from runner.load import Cell
from runner.processes import PeerError, Process, free_port, wait_for_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner.settings import Settings

MANY = Cell(1, 64)
ONE = Cell(1, 1)

CALLBACK = "uvloop by hand, callbacks"
FUTURE = "uvloop by hand, futures"
SOCKET = "bare blocking socket"
GRPC = "grpc.aio"
OURS = "callmethod, {face}, {protocol}"


def ours(face: str, protocol: str = "indexed") -> str:
    """Return the name of our client with this face."""
    return OURS.format(face=face, protocol=protocol)


def clients_of(face: str) -> dict[str, tuple[str, list[str]]]:
    """Return the server and the command of each client, by its name."""
    words = ["callmethod_client.py", "--face", face]
    made = {
        ours(face): ("indexed", words),
        ours(face, "baidu_std"): ("baidu_std", [*words, "--protocol", "baidu_std"]),
    }
    if face == "callback":
        made[CALLBACK] = "indexed", ["uvloop_client.py", "--face", "callback"]
    elif face == "aio":
        made[FUTURE] = "indexed", ["uvloop_client.py", "--face", "future"]
        made[GRPC] = "grpc", ["grpc_aio_client.py"]
    else:
        made[SOCKET] = "indexed", ["socket_client.py"]
    return made


@contextlib.contextmanager
def servers(settings: Settings, cpus: tuple[int, ...]) -> Iterator[dict[str, str]]:
    """Start the servers and give their addresses by protocol."""
    with contextlib.ExitStack() as stack:
        addresses = {}
        for contestant in (RUST, RUST_BAIDU):
            process = Process(contestant.command(settings), cpus)
            stack.callback(process.stop)
            addresses[contestant.protocol] = process.address()
        if shutil.which("nghttpd") is not None:
            # With these options an HTTP/2 server in C++ is a gRPC echo server.
            port = free_port()
            words = ["--no-tls", "--echo-upload", "--trailer=grpc-status: 0", "-a", "127.0.0.1"]
            process = Process(["nghttpd", *words, str(port)], cpus)
            stack.callback(process.stop)
            wait_for_port(port)
            addresses["grpc"] = f"127.0.0.1:{port}"
        yield addresses


def run_clients(settings: Settings, log: TextIO) -> dict[str, Series]:
    """Measure all clients."""
    server, own = settings.cpus
    groups = [
        Group("client-many", "clients on one core", (), (MANY,), (server,), (own,)),
        Group("client-one", "one call at a time, two cores", (), (ONE,), (server,), (own,)),
        Group("client-same", "one call at a time, one core", (), (ONE,), (server,), (server,)),
    ]
    return {
        group.name: measure(settings, group, log) for group in groups if settings.wants(group.name)
    }


def measure(settings: Settings, group: Group, log: TextIO) -> Series:
    """Measure the clients that make as many calls at once as the group says."""
    series = Series(group)
    (cell,) = group.cells
    faces = ("blocking",) if cell == ONE else ("callback", "aio")
    plan = {name: what for face in faces for name, what in clients_of(face).items()}
    with servers(settings, group.server_cpus) as addresses:
        for repetition in range(settings.repetitions):
            for name in list(plan)[:: -1 if repetition % 2 else 1]:
                protocol, words = plan[name]
                if protocol not in addresses:
                    series.failures[name] = "nghttpd is not installed, the server that it needs"
                    continue
                words = [*words, "--connect", addresses[protocol]]
                try:
                    result = load.client(
                        settings, words, cell.size, cell.in_flight, group.load_cpus
                    )
                except PeerError as error:
                    series.failures[name] = str(error)
                    continue
                wanted = ("calls_per_s", "p50_us", "p99_us")
                sample = {key: float(result[key]) for key in wanted if key in result}
                if "cpu_s" in result:
                    sample["cpu_us"] = result["cpu_s"] / result["calls"] * 1e6
                series.samples.setdefault((name, cell.label), []).append(sample)
            print(f"  {group.title}: {repetition + 1}", file=log, flush=True)
    return series
