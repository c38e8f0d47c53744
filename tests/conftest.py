"""What all tests share: where the generated modules lie, and the peers that a test takes down.

`make proto` writes the generated modules to `build/proto`; `CALLMETHOD_PROTO_DIR` names another
folder. `CALLMETHOD_SERVICE_CLASSES=callmethod` puts our own service classes in the place of
protobuf's. Tests run in importlib mode, so helpers are fixtures here and not a module beside them.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import socket
import struct
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

TESTS = Path(__file__).resolve().parent
PROTO_DIR = Path(
    os.environ.get("CALLMETHOD_PROTO_DIR") or TESTS.parent / "build" / "proto"
).resolve()

if not (PROTO_DIR / "game_service_pb2.py").is_file():
    pytest.exit(f"no generated modules in {PROTO_DIR}: run `make proto` first", returncode=4)
sys.path.insert(0, str(PROTO_DIR))

# The suite on our own service and stub classes instead of protobuf's: test_service_classes.py has
# part of it run so.
if os.environ.get("CALLMETHOD_SERVICE_CLASSES") == "callmethod":
    for name in ("client_service_pb2", "echo_pb2", "game_service_pb2", "testing_pb2"):
        module = importlib.import_module(name)
        made = callmethod.services(module)
        vars(module).update({name: made[name] for name in made})

# No database: the working tree stays clean, and what failed is printed as a blob to paste.
settings.register_profile("fast", max_examples=60, deadline=None, database=None, print_blob=True)
settings.register_profile("slow", parent=settings.get_profile("fast"), max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))


@pytest.fixture(scope="session")
def proto_dir() -> Path:
    """The folder of the generated modules, for tests that start another interpreter."""
    return PROTO_DIR


@pytest.fixture(scope="session")
def child_env() -> dict[str, str]:
    """The environment for another interpreter that imports the generated modules."""
    path = [str(PROTO_DIR), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@pytest.fixture(scope="session")
def load_file() -> Callable[[str], ModuleType]:
    """Load a helper file of the tests, named by its path below tests/, as a module."""

    def load(path: str) -> ModuleType:
        name = f"loaded_{Path(path).stem}"
        spec = importlib.util.spec_from_file_location(name, TESTS / path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Where dataclasses look for it.
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def wait_until() -> Callable[..., Any]:
    """Wait until a predicate gives something true, and return that."""

    def wait(predicate: Callable[[], Any], timeout: float = 5.0) -> Any:
        end = time.monotonic() + timeout
        while not (value := predicate()):
            if time.monotonic() > end:
                pytest.fail(f"not true within {timeout} s; it was {value!r}")
            time.sleep(0.002)
        return value

    return wait


@pytest.fixture
def server_factory() -> Iterator[Callable[..., callmethod.Server]]:
    """Make started servers, of a service or of `factory=`; the rest goes to `Server`.

    They speak `Indexed()` alone, as the channels of `channel_factory` do, unless `protocols=` says
    otherwise.
    """
    servers: list[callmethod.Server] = []

    def make(
        service: object = None,
        bind: str | socket.socket = "127.0.0.1:0",
        *,
        factory: Callable[[Any], object] | None = None,
        **options: Any,
    ) -> callmethod.Server:
        options.setdefault("protocols", [callmethod.Indexed()])
        server = callmethod.Server(bind, **options)
        if factory is None:
            server.add_service(service)
        else:
            server.add_service(factory=factory)
        server.start()
        servers.append(server)
        return server

    yield make
    for server in reversed(servers):
        server.stop(grace=0.0)


@pytest.fixture
def channel_factory() -> Iterator[Callable[..., callmethod.Channel]]:
    """Make channels to an address, with `Indexed()` unless `protocol=` says otherwise."""
    channels: list[callmethod.Channel] = []

    def make(target: str, **options: Any) -> callmethod.Channel:
        options.setdefault("protocol", callmethod.Indexed())
        channel = callmethod.Channel(target, **options)
        channels.append(channel)
        return channel

    yield make
    for channel in reversed(channels):
        channel.close(grace=0.0)


@pytest.fixture
def raw_socket() -> Iterator[Callable[[str], socket.socket]]:
    """Connect plain blocking sockets (timeout 5 s, TCP_NODELAY) to `server.address`."""
    sockets: list[socket.socket] = []

    def connect(address: str) -> socket.socket:
        if address.startswith("unix:"):
            sock = socket.socket(socket.AF_UNIX)
            sockets.append(sock)
            sock.settimeout(5.0)
            sock.connect(address.removeprefix("unix:"))
            return sock
        host, _, port = address.rpartition(":")
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout=5.0)
        sockets.append(sock)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    yield connect
    for sock in sockets:
        sock.close()


@pytest.fixture(scope="session")
def write_frame() -> Callable[[socket.socket, int, bytes], None]:
    """Send one frame of the default layout."""

    def write(sock: socket.socket, index: int, body: bytes) -> None:
        sock.sendall(struct.pack("<IH", len(body) + 2, index) + body)

    return write


@pytest.fixture(scope="session")
def read_frame() -> Callable[[socket.socket], tuple[int, bytes] | None]:
    """Read one frame of the default layout as (index, body); None at the end of the stream."""

    def read_exactly(sock: socket.socket, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = sock.recv(size - len(data))
            if not chunk:
                break
            data += chunk
        return data

    def read(sock: socket.socket) -> tuple[int, bytes] | None:
        head = read_exactly(sock, 6)
        if not head:
            return None
        length, index = struct.unpack("<IH", head)
        body = read_exactly(sock, length - 2)
        assert len(body) == length - 2, "the stream ended inside a frame"
        return index, body

    return read


@pytest.fixture
def short_tmp() -> Iterator[str]:
    """A folder with a short name: the path of a Unix socket has room for about 100 bytes."""
    with tempfile.TemporaryDirectory(prefix="cm-") as folder:
        yield folder
