"""A server to be called from the command line, and the command line itself."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

import callmethod
from callmethod.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROTO = Path(__file__).parents[2] / "proto"


class Ended(NamedTuple):
    """How a command ended."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Ended]:
    """Run a command in this process."""

    def run(*words: str, stdin: str = "") -> Ended:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        try:
            status = main(words)
        except SystemExit as ended:
            status = ended.code
        return Ended(status, *capsys.readouterr())

    return run


@pytest.fixture
def numbers() -> Iterator[callmethod.Server]:
    """A server of `callmethod.testing.Numbers`, with reflection."""
    from testing_pb2 import Blob, Number, Numbers

    class Service(Numbers):
        def push(self, rpc_controller, request, done):
            done(Number(value=request.value, note="pushed"))

        def twice(self, rpc_controller, request, done):
            rpc_controller.response_attachment = rpc_controller.request_attachment[::-1]
            done(Number(value=2 * request.value))

        def fail(self, rpc_controller, request, done):
            raise callmethod.RpcError(callmethod.Code.NOT_FOUND, f"no {request.value}\x1b[31m")

        def blob(self, rpc_controller, request, done):
            done(
                Blob(
                    data=b"".join(
                        sorted(f"{k}={v}".encode() for k, v in rpc_controller.metadata.items())
                    )
                )
            )

    protocols = [callmethod.BaiduStd(), callmethod.Hulu(), callmethod.Sofa()]
    indexed = callmethod.Indexed(id_width=4, reply="by_id")
    server = callmethod.Server(protocols=[*protocols, indexed])
    server.add_service(Service())
    server.add_service(callmethod.reflection.service(server))
    with server:
        yield server


@pytest.fixture(scope="session")
def proto() -> str:
    """The path of the .proto file of `numbers`."""
    return str(PROTO / "testing.proto")
