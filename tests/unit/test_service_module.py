"""`callmethod.service`: the base classes that protobuf dropped, and the opt-in `install()`.

What `install()` does shows in another interpreter only: it must never reach this one.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import google.protobuf
import pytest

import callmethod
from callmethod import service
from common_pb2 import RequestMessage
from game_service_pb2 import GameService, GameService_Stub

LEGACY = Path(__file__).parents[1] / "fixtures" / "protoc_3_19"
VERSION = tuple(int(part) for part in google.protobuf.__version__.split(".")[:2])
DROPPED = VERSION >= (6, 30)  # the release that no longer has google.protobuf.service

METHODS = {
    "Service": ["GetDescriptor", "CallMethod", "GetRequestClass", "GetResponseClass"],
    "RpcController": [
        "Reset",
        "Failed",
        "ErrorText",
        "StartCancel",
        "SetFailed",
        "IsCanceled",
        "NotifyOnCancel",
    ],
    "RpcChannel": ["CallMethod"],
}
PARAMETERS = {
    ("Service", "CallMethod"): ["method_descriptor", "rpc_controller", "request", "done"],
    ("Service", "GetRequestClass"): ["method_descriptor"],
    ("Service", "GetResponseClass"): ["method_descriptor"],
    ("RpcController", "SetFailed"): ["reason"],
    ("RpcController", "NotifyOnCancel"): ["callback"],
    ("RpcChannel", "CallMethod"): [
        "method_descriptor",
        "rpc_controller",
        "request",
        "response_class",
        "done",
    ],
}


@pytest.mark.parametrize(
    ("base", "name"), [(b, name) for b, names in METHODS.items() for name in names]
)
def test_every_method_is_left_to_the_subclass(base: str, name: str) -> None:
    instance = type("Mine", (getattr(service, base),), {})()
    method = getattr(instance, name)
    expected = PARAMETERS.get((base, name), [])
    assert list(inspect.signature(method).parameters) == expected
    with pytest.raises(NotImplementedError):
        method(*[None] * len(expected))


def test_the_exception_is_an_exception_and_the_root_of_ours() -> None:
    assert issubclass(service.RpcException, Exception)
    assert service.RpcException is callmethod.RpcException
    assert issubclass(callmethod.RpcError, service.RpcException)


def test_our_own_classes_derive_from_the_base_classes() -> None:
    assert issubclass(callmethod.Channel, service.RpcChannel)
    assert issubclass(callmethod.PeerChannel, service.RpcChannel)
    assert issubclass(callmethod.Controller, service.RpcController)


def test_the_names_and_signatures_are_those_that_protobuf_had() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # protobuf 5 says that its module will go
        theirs = pytest.importorskip("google.protobuf.service")
    for base, names in METHODS.items():
        for name in names:
            if (base, name) == ("Service", "GetDescriptor"):
                continue  # protobuf forgot its self
            mine = inspect.signature(getattr(getattr(service, base), name)).parameters
            assert list(mine) == list(
                inspect.signature(getattr(getattr(theirs, base), name)).parameters
            )


def test_a_channel_of_ones_own_works_with_a_generated_stub() -> None:
    class MyRpcChannel(service.RpcChannel):
        def __init__(self, rpc_service: Any, conn: Any) -> None:
            super().__init__()
            self.rpc_service = rpc_service
            self.conn = conn

        def CallMethod(
            self,
            method_descriptor: Any,
            rpc_controller: Any,
            request: Any,
            response_class: Any,
            done: Any,
        ) -> None:
            self.conn.append((method_descriptor.index, request.SerializeToString()))
            self.rpc_service.CallMethod(method_descriptor, rpc_controller, request, done)
            assert response_class is RequestMessage

    class Game(GameService):
        def connect_server(self, rpc_controller: Any, request: Any, done: Any) -> None:
            assert rpc_controller is None
            done(RequestMessage(message=request.message.upper()))

    conn: list[Any] = []
    answers: list[str] = []
    stub = GameService_Stub(MyRpcChannel(Game(), conn))
    stub.connect_server(
        None, RequestMessage(message="ada"), lambda answer: answers.append(answer.message)
    )
    assert conn == [(0, b"\x0a\x03ada")]
    assert answers == ["ADA"]


def test_subclasses_take_attributes_and_any_init() -> None:
    class MyController(service.RpcController):
        def __init__(self, name: str) -> None:
            self.name = name

    controller = MyController("ada")
    controller.seen = 1  # type: ignore[attr-defined]
    assert (controller.name, controller.seen) == ("ada", 1)  # type: ignore[attr-defined]


# install(), each time in another interpreter


def run(code: str, env: dict[str, str], *arguments: str) -> str:
    """Run a script in an interpreter of its own and give what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not DROPPED, reason="this protobuf still has google.protobuf.service")
def test_nothing_is_installed_unasked(child_env: dict[str, str]) -> None:
    out = run(
        """
import callmethod, callmethod.service, game_service_pb2
try:
    from google.protobuf import service
except ImportError as error:
    print(error)
""",
        child_env,
    )
    assert out.startswith("cannot import name 'service' from 'google.protobuf'")


@pytest.mark.parametrize("again", ["", "service.install()"])
def test_install_puts_the_module_back(child_env: dict[str, str], again: str) -> None:
    out = run(
        f"""
from callmethod import service
service.install()
{again}
import google.protobuf.service
from google.protobuf import service as theirs
from google.protobuf.service import RpcChannel, RpcController, RpcException, Service
assert theirs is google.protobuf.service
assert theirs.RpcChannel is RpcChannel
print(theirs.RpcChannel is service.RpcChannel, theirs.Service is service.Service)
""",
        child_env,
    )
    if DROPPED:  # else protobuf's own may stay where it is
        assert out == "True True\n"


def test_code_of_protoc_3_19_works_after_install(child_env: dict[str, str]) -> None:
    out = run(
        """
import sys, threading
from callmethod import service
service.install()
sys.path.insert(0, sys.argv[1])
import callmethod
import legacy_game_pb2 as old

called = threading.Event()

class Game(old.GameService):
    def connect_server(self, rpc_controller, request, done):
        print("handler got", type(request).__module__, request.message)
        done(old.RequestMessage(message="welcome"))
        called.set()

server = callmethod.Server("127.0.0.1:0")
server.add_service(Game())
with server, callmethod.Channel(server.address, protocol=callmethod.Indexed()) as channel:
    stub = old.GameService_Stub(channel)
    assert stub.connect_server(None, old.RequestMessage(message="ada")) is None
    assert called.wait(10)
assert server.stats()["calls_received_total"] == 1
""",
        child_env,
        str(LEGACY),
    )
    assert out == "handler got legacy_game_pb2 ada\n"


@pytest.mark.skipif(not DROPPED, reason="this protobuf still has google.protobuf.service")
def test_code_of_protoc_3_19_does_not_import_without_install(child_env: dict[str, str]) -> None:
    out = run(
        """
import sys
import callmethod
sys.path.insert(0, sys.argv[1])
try:
    import legacy_game_pb2
except ImportError as error:
    print(error)
""",
        child_env,
        str(LEGACY),
    )
    assert "cannot import name 'service' from 'google.protobuf'" in out
