"""`protoc-gen-callmethod`: run by protoc, and asked directly."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import testing_fields_pb2
import testing_pb2
from callmethod.codegen.plugin import answer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path

    Protoc = Callable[..., subprocess.CompletedProcess[str]]


def test_what_protoc_wrote_with_it(generated: Path) -> None:
    written = sorted(
        path.relative_to(generated).as_posix() for path in generated.rglob("*callmethod*")
    )
    stems = ["odd/generic", "odd/lambda/deep", "odd/with_dash"]
    assert written == [f"{stem}_callmethod.{end}" for stem in stems for end in ("py", "pyi")]


SERVED = """
import importlib
import callmethod
from odd.base_pb2 import Outer
from odd.with_dash_pb2 import Note
import odd.with_dash_callmethod as odd

class Desk(odd.Desk):
    def write(self, rpc_controller, request, done):
        done(Note(text=request.text + "!"))

    def wrap(self, rpc_controller, request, done):
        return Outer(inner=request)

setattr(Desk, "import", Desk.write)

with callmethod.testing.channel_for(Desk(), odd.Idle()) as channel:
    stub = odd.Desk_Stub(channel)
    print(stub.write(None, Note(text="ada")).text)
    print(stub.wrap(None, Outer.Inner(text="bob")).inner.text)
    print(getattr(stub, "import")(None, Note(text="eve")).text)
    try:
        stub.GetDescriptor(None, Note())
    except callmethod.RpcError as error:
        print(error.code.name)

assert issubclass(odd.Twice_Stub, callmethod.service.Service)
assert not issubclass(odd.Twice_Stub, callmethod.stubs.Stub)
assert vars(odd)["None"].DESCRIPTOR.full_name == "odd.services.None"
deep = importlib.import_module("odd.lambda.deep_callmethod")
assert deep.Diver().GetRequestClass(deep.Diver.DESCRIPTOR.methods[0]).DESCRIPTOR.name == "Deep"
# Where protobuf has made classes, too, these are beside them.
import odd.generic_callmethod, odd.generic_pb2
assert odd.generic_callmethod.Counter is not odd.generic_pb2.Counter
assert odd.generic_callmethod.Counter_Stub.DESCRIPTOR is odd.generic_pb2.Counter_Stub.DESCRIPTOR
"""


def test_what_it_wrote_serves_and_calls(
    generated: Path, run_there: Callable[[Path, str], str]
) -> None:
    assert run_there(generated, SERVED) == "ada!\nbob\neve!\nUNIMPLEMENTED\n"


def test_what_is_left_out_is_said(protoc: Protoc, tmp_path: Path) -> None:
    protos = ["odd/with-dash.proto"]
    done = protoc("protoc", tmp_path, f"--callmethod_out={tmp_path}", protos=protos)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"protoc-gen-callmethod: odd/with-dash.proto: Desk.{method} is left out: {reason}"
        for method, reason in [
            ("import", "its name is a keyword of Python; getattr() has it"),
            ("GetDescriptor", "its name is that of something that every service or stub has"),
            ("listen", "it streams, which callmethod's wires do not carry"),
            ("dictate", "it streams, which callmethod's wires do not carry"),
            ("talk", "it streams, which callmethod's wires do not carry"),
        ]
    ]
    text = (tmp_path / "odd/with_dash_callmethod.pyi").read_text(encoding="utf-8")
    assert text.count("# talk: it streams") == 2
    assert "# None: its name is a keyword" in text


def test_options_are_refused(protoc: Protoc, tmp_path: Path) -> None:
    done = protoc("protoc", tmp_path, f"--callmethod_out=fast:{tmp_path}")
    assert done.returncode != 0
    assert "callmethod takes no options, and was given 'fast'" in done.stderr


# Asked directly: these need no protoc.


def request(**more: Any) -> CodeGeneratorRequest:
    files = [
        FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)
        for module in (testing_fields_pb2, testing_pb2)
    ]
    wanted = [file.name for file in files]
    return CodeGeneratorRequest(file_to_generate=wanted, proto_file=files, **more)


def test_the_answer_is_python() -> None:
    response = answer(request())
    assert not response.error
    assert [file.name for file in response.file] == [
        "testing_callmethod.py",
        "testing_callmethod.pyi",
    ]
    code, types = (ast.parse(file.content) for file in response.file)
    names = [
        f"{name}{end}" for name in testing_pb2.DESCRIPTOR.services_by_name for end in ("", "_Stub")
    ]
    assert [node.targets[0].id for node in code.body if isinstance(node, ast.Assign)][1:] == names  # type: ignore[attr-defined]
    assert [node.name for node in types.body if isinstance(node, ast.ClassDef)] == names


def test_the_answer_takes_editions_and_optional_fields() -> None:
    response = answer(request())
    assert response.supported_features == 3
    if hasattr(response, "maximum_edition"):
        assert (response.minimum_edition, response.maximum_edition) >= (998, 1000)


def test_only_what_is_asked_for() -> None:
    wanted = request()
    del wanted.file_to_generate[:]
    assert not answer(wanted).file


def test_an_answer_to_options() -> None:
    response = answer(request(parameter="fast"))
    assert response.error == "callmethod takes no options, and was given 'fast'"
    assert not response.file


@pytest.mark.parametrize("end", ["py", "pyi"])
def test_they_say_where_they_come_from(end: str) -> None:
    (text,) = (file.content for file in answer(request()).file if file.name.endswith("." + end))
    assert text.startswith("# Written by callmethod from testing.proto. Not to be edited.\n")
    assert text.endswith("\n")
