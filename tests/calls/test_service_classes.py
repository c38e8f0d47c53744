"""Service and stub classes of callmethod's own, on the wire: beside protobuf's and without them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import callmethod
import testing_pb2
import testing_plain_pb2
from testing_pb2 import Number

ROOT = Path(__file__).parents[2]
SUITE = ["service/test_calls.py", "service/test_handlers.py", "service/test_push.py"]
SUITE += ["calls/test_faces.py"]


@pytest.mark.timeout(300)
def test_the_suite_passes_with_callmethods_classes() -> None:
    """The tests that otherwise run with protobuf's; this runs them with ours in their place."""
    if os.environ.get("CALLMETHOD_SERVICE_CLASSES") == "callmethod":
        pytest.skip("all of the suite runs so already")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        + [str(ROOT / "tests" / name) for name in SUITE],
        env=os.environ | {"CALLMETHOD_SERVICE_CLASSES": "callmethod"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout


@pytest.mark.parametrize("served", ["protobuf", "callmethod"])
@pytest.mark.parametrize("called", ["protobuf", "callmethod"])
def test_either_ends_classes_may_be_either_ones(pair: Any, served: str, called: str) -> None:
    classes = {"protobuf": testing_pb2, "callmethod": callmethod.services(testing_pb2)}

    class Numbers(classes[served].Numbers):  # type: ignore[misc]
        def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(Number(value=2 * request.value))

    _, channel = pair(Numbers())
    stub = classes[called].Numbers_Stub(channel)
    assert stub.twice(None, Number(value=21)).value == 42
    with pytest.raises(callmethod.RpcError) as caught:
        stub.left_out(None, Number(value=1))
    assert caught.value.code is callmethod.Code.UNIMPLEMENTED


def test_a_module_without_the_option_is_served_and_called(pair: Any, protocol: Any) -> None:
    services = callmethod.services(testing_plain_pb2)

    class Plain(services.Plain):  # type: ignore[misc]
        async def echo(self, rpc_controller: Any, request: Any, done: Any) -> Any:
            return testing_plain_pb2.Word(text=request.text + "!")

    _, channel = pair(Plain(), protocol)
    stub = services.Plain_Stub(channel)
    assert stub.echo(None, testing_plain_pb2.Word(text="ada")).text == "ada!"


# Modules that protobuf dropped or may drop, and a builder that makes no classes any more.
WITHOUT = """
import sys
GONE = {"google.protobuf.service", "google.protobuf.service_reflection"}

class Gone:
    def find_spec(self, name, path=None, target=None):
        if name in GONE:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Gone())
from google.protobuf.internal import builder
assert not GONE & set(sys.modules)
builder.BuildServices = lambda file, module_name, module: None

import callmethod, testing_pb2, testing_plain_pb2
from testing_pb2 import Number

assert not hasattr(testing_pb2, "Numbers")
numbers, plain = callmethod.services(testing_pb2), callmethod.services(testing_plain_pb2)

class Numbers(numbers.Numbers):
    def twice(self, rpc_controller, request, done):
        done(Number(value=2 * request.value))

class Plain(plain.Plain):
    def echo(self, rpc_controller, request, done):
        done(request)

server = callmethod.Server("127.0.0.1:0", protocols=[callmethod.BaiduStd()])
server.add_service(Numbers())
server.add_service(Plain())
with server, callmethod.Channel(server.address) as channel:
    stub = numbers.Numbers_Stub(channel)
    print(stub.twice(None, Number(value=21)).value)
    try:
        stub.left_out(None, Number(value=1))
    except callmethod.RpcError as error:
        print(error.code.name)
    word = testing_plain_pb2.Word(text="ada")
    print(plain.Plain_Stub(channel).echo(None, word).text)
assert not GONE & set(sys.modules)
"""


def test_a_protobuf_that_makes_no_service_classes(child_env: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT],
        env=child_env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "42\nUNIMPLEMENTED\nada\n"), done.stderr
