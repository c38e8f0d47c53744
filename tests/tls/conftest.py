"""What the tests of TLS share: a CA, a server's and a client's certificate, a service, a place."""

from __future__ import annotations

import dataclasses
import importlib
import socket
import ssl
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, ClientTls, Indexed, ServerTls
from testing_pb2 import Blob, Number, Numbers, Numbers_Stub

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
authority = importlib.import_module("authority")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTOCOLS = {"baidu_std": BaiduStd(), "indexed": Indexed(id_width=4, reply="by_id")}


@dataclasses.dataclass(frozen=True)
class Files:
    """Where the PEMs lie that Python's ssl wants as files."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]


class Secrets:
    """Made once: keys take time."""

    def __init__(self, folder: Path) -> None:
        self.ca = authority.Authority()
        self.other_ca = authority.Authority("another root")
        self.server = self.ca.issue("the server", dns=("localhost",), ips=("127.0.0.1",))
        self.client = self.ca.issue(
            "ada",
            dns=(),
            uris=("spiffe://example/ada",),
            emails=("ada@example.org",),
        )
        (folder / "ca.pem").write_bytes(self.ca.pem)
        self.files = Files(
            folder / "ca.pem",
            self.server.write(folder, "server"),
            self.client.write(folder, "client"),
        )

    def server_tls(self, **options: Any) -> ServerTls:
        """Of a server that wants to know who calls."""
        options.setdefault("client_ca", self.ca.pem)
        return ServerTls(self.server.cert, self.server.key, **options)

    def client_tls(self, issued: Any = None, **options: Any) -> ClientTls:
        issued = issued or self.client
        return ClientTls(self.ca.pem, issued.cert, issued.key, **options)

    def context(self, *, client: bool = True, serves: bool = False) -> ssl.SSLContext:
        """Python's own TLS, for either end."""
        kind = ssl.PROTOCOL_TLS_SERVER if serves else ssl.PROTOCOL_TLS_CLIENT
        context = ssl.SSLContext(kind)
        context.load_verify_locations(self.files.ca)
        if serves:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_cert_chain(*self.files.server)
        elif client:
            context.load_cert_chain(*self.files.client)
        return context


class Answers(Numbers):
    """Doubles; says what it was given; waits until it may go on."""

    def __init__(self) -> None:
        self.may_go_on = threading.Event()
        self.controllers: list[Any] = []

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.controllers.append(rpc_controller)
        done(Number(value=2 * request.value))

    def blob(self, rpc_controller: Any, request: Any, done: Any) -> None:
        done(request)

    def push(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.may_go_on.wait(20)
        done(request)


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> Any:
    return PROTOCOLS[request.param]


@pytest.fixture
def answers() -> Iterator[Answers]:
    service = Answers()
    yield service
    service.may_go_on.set()


@pytest.fixture
def serve(
    secrets: Secrets, answers: Answers, server_factory: Callable[..., callmethod.Server]
) -> Callable[..., callmethod.Server]:
    """Start a server of `answers` that wants certificates, unless `tls=` says otherwise."""

    def start(protocol: Any = None, **options: Any) -> callmethod.Server:
        options.setdefault("tls", secrets.server_tls())
        options.setdefault("protocols", [protocol or BaiduStd()])
        return server_factory(options.pop("service", answers), **options)

    return start


@pytest.fixture
def connect(
    secrets: Secrets, channel_factory: Callable[..., callmethod.Channel]
) -> Callable[..., Any]:
    """Make a stub to an address, with the client's certificate unless `tls=` says otherwise."""

    def make(address: str, protocol: Any = None, **options: Any) -> Any:
        options.setdefault("tls", secrets.client_tls())
        channel = channel_factory(address, protocol=protocol or BaiduStd(), **options)
        stub = Numbers_Stub(channel)
        stub.channel = channel
        return stub

    return make


@pytest.fixture
def refused(wait_until: Callable[..., Any]) -> Callable[..., None]:
    """Wait until something was refused for one reason, and for no other."""

    def check(counted: Any, reason: str, least: int = 1) -> None:
        def labels() -> dict[str, int]:
            return dict(counted.stats()["rejected_total"])

        wait_until(lambda: labels().get(reason, 0) >= least)
        assert set(labels()) == {reason}

    return check


def port_of(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


@pytest.fixture
def foreign(secrets: Secrets) -> Iterator[Callable[..., ssl.SSLSocket]]:
    """Connect by Python's ssl."""
    opened: list[socket.socket] = []

    def connect(address: str, context: ssl.SSLContext | None = None) -> ssl.SSLSocket:
        plain = socket.create_connection(port_of(address), timeout=10.0)
        opened.append(plain)
        context = context or secrets.context()
        secured = context.wrap_socket(plain, server_hostname="localhost")
        opened.append(secured)
        return secured

    yield connect
    for one in opened:
        one.close()


@pytest.fixture(scope="session")
def big() -> Any:
    """A message of nearly 4 MiB, which no compression makes smaller."""
    return Blob(data=bytes(range(256)) * (4 * 4096 - 1))
