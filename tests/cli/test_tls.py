"""TLS on the command line: every command that goes to a server, and `serve`."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parents[1] / "tls"))  # tests run in importlib mode
authority = importlib.import_module("authority")

TWICE = "callmethod.testing.Numbers.twice"
CALL = [TWICE, '{"value": 21}']
SHORT = ["--duration", "0.3", "--warmup", "0.05", "--json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the options name: ca.pem, server.pem and .key, client.pem and .key; plain text."""
    folder = tmp_path_factory.mktemp("tls")
    ca = authority.Authority()
    (folder / "ca.pem").write_bytes(ca.pem)
    (folder / "other.pem").write_bytes(authority.Authority("another root").pem)
    ca.issue("the server", dns=("localhost",), ips=("127.0.0.1",)).write(folder, "server")
    ca.issue("ada", dns=(), uris=("spiffe://example/ada",)).write(folder, "client")
    (folder / "text.pem").write_text("nothing of the kind", encoding="utf-8")
    return folder


@pytest.fixture
def named(folder: Path) -> Callable[[str], list[str]]:
    """Words of a command line in which names of files stand for those in the folder."""

    def words(text: str) -> list[str]:
        return [str(folder / word) if ".pem" in word or ".key" in word else word
                for word in text.split()]  # fmt: skip

    return words


@pytest.fixture
def secure(folder: Path, server_factory: Callable[..., callmethod.Server]) -> Any:
    """An address with TLS; `secure(client_ca=...)` is one that wants certificates."""
    from testing_pb2 import Numbers

    class Twice(Numbers):
        def twice(self, rpc_controller, request, done):
            request.value *= 2
            done(request)

    def start(client_ca: Path | None = None) -> str:
        server = server_factory(
            factory=None,
            service=Twice(),
            protocols=[callmethod.BaiduStd(), callmethod.Indexed(id_width=4, reply="by_id")],
            tls=callmethod.ServerTls(
                folder / "server.pem", folder / "server.key", client_ca=client_ca
            ),
        )
        return server.address

    return start


def test_a_server_is_called_and_measured(run, secure, named, proto: str) -> None:
    address = secure()
    words = [*CALL, *named("--ca ca.pem"), "--proto", proto]
    assert run("call", address, *words) == (0, '{"value":"42"}\n', "")
    by_name = address.replace("127.0.0.1", "localhost")
    assert run("call", by_name, *words) == (0, '{"value":"42"}\n', "")
    for protocol in ("baidu_std", "indexed:id_width=4,reply=by_id"):
        more = [*SHORT, "--connections", "2", "--in-flight", "50", "--protocol", protocol]
        ended = run("bench", address, *words, *more)
        assert (ended.status, ended.err) == (0, "")
        report = json.loads(ended.out)
        assert report["failed"] == 0
        assert report["calls"] > 100


def test_long_messages_are_measured(run, secure, named, proto: str) -> None:
    """Longer than a record, than what a session keeps, and than the socket takes at once."""
    words = ["callmethod.testing.Numbers.blob", json.dumps({"data": "A" * 400_000})]
    words += ["--proto", proto, "--in-flight", "20", *SHORT]
    ended = run("bench", secure(), *words, *named("--ca ca.pem"))
    assert (ended.status, ended.err) == (0, "")
    report = json.loads(ended.out)
    # The method is left out.
    assert report["failed"] == report["calls"] > 20


def test_who_calls_is_shown(run, secure, named, folder: Path, proto: str) -> None:
    address = secure(folder / "ca.pem")
    identity = named("--ca ca.pem --cert client.pem --key client.key")
    assert run("call", address, *CALL, *identity, "--proto", proto).out == '{"value":"42"}\n'
    ended = run("bench", address, *CALL, *identity, "--proto", proto, "--calls", "10")
    assert ended.out.startswith("10 calls in ")
    ended = run("bench", address, *CALL, *named("--ca ca.pem"), "--proto", proto)
    assert ended.status == 6
    assert "CertificateRequired" in ended.err


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ("", 78, "the server speaks TLS, and this channel does not; see --tls and --ca"),
        ("--ca other.pem", 78, "UnknownIssuer"),
        ("--tls", 78, "UnknownIssuer"),
        ("--ca ca.pem --server-name example.org", 78, "example.org"),
        ("--ca nowhere.pem", 2, "No such file"),
        ("--ca text.pem", 2, "no certificate in PEM"),
        ("--ca ca.pem --cert client.pem", 2, "no private key"),
        ("--ca ca.pem --key client.key", 2, "without cert="),
    ],
)
def test_mistakes(run, secure, named, proto: str, options: str, status: int, told: str) -> None:
    address = secure()
    for command in ("call", "bench"):
        if command == "bench" and not options:
            continue  # it sees a connection that is closed
        ended = run(command, address, *CALL, *named(options), "--proto", proto)
        assert (ended.status, ended.out) == (status, ""), command
        assert told in ended.err
        assert ended.err.count("\n") == 1


def test_a_unix_socket_has_no_name(run, named, proto: str) -> None:
    words = ["call", "unix:/nowhere", *CALL, "--proto", proto]
    ended = run(*words, *named("--ca ca.pem"))
    assert (ended.status, "--server-name" in ended.err) == (2, True)
    assert run(*words, *named("--ca ca.pem --server-name x")).status == 78
