"""`callmethod.load`: a module of a .proto file, without protoc."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import google.protobuf
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.internal import api_implementation

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable

PROTO = Path(__file__).parents[2] / "proto"

GREETER = """\
syntax = "proto3";

package greeter;

import "google/protobuf/timestamp.proto";
import public "shared.proto";

enum Mood {
  CALM = 0;
  GLAD = 1;
}

message Hello {
  string name = 1;
  Mood mood = 2;
  google.protobuf.Timestamp at = 3;
}

service Greeter {
  rpc Greet(Hello) returns (shared.Text);
}
"""
SHARED = 'syntax = "proto3"; package shared; message Text { string text = 1; }'


@pytest.fixture
def greeter(written: Callable[..., Path]) -> callmethod.Loaded:
    written("shared.proto", SHARED)
    return callmethod.load(written("greeter.proto", GREETER))


def test_it_has_what_a_generated_module_has(greeter: callmethod.Loaded) -> None:
    assert greeter.__name__ == "greeter"
    assert greeter.DESCRIPTOR.name == "greeter.proto"
    assert greeter.Mood.Name(greeter.GLAD) == "GLAD"
    hello = greeter.Hello(name="ada", mood=greeter.GLAD)
    assert greeter.Hello.FromString(hello.SerializeToString()) == hello
    # What `import public` passes on, and what it does not.
    assert greeter.Text(text="x").text == "x"
    assert not hasattr(greeter, "Timestamp")
    assert set(greeter.imports) == {"google/protobuf/timestamp.proto", "shared.proto"}
    assert greeter.imports["shared.proto"].Text is greeter.Text
    with pytest.raises(AttributeError):
        _ = greeter.Nothing


def test_well_known_types_have_their_methods(greeter: callmethod.Loaded) -> None:
    hello = greeter.Hello()
    hello.at.FromJsonString("2026-01-02T03:04:05Z")
    assert hello.at.ToDatetime().year == 2026


def test_its_services_are_served_and_called(greeter: callmethod.Loaded) -> None:
    class Greeter(greeter.Greeter):
        def Greet(self, rpc_controller, request, done):
            done(greeter.Text(text=f"hello {request.name}"))

    server = callmethod.Server()
    server.add_service(Greeter())
    with server, callmethod.Channel(server.address) as channel:
        answer = greeter.Greeter_Stub(channel).Greet(None, greeter.Hello(name="ada"))
    assert answer == greeter.Text(text="hello ada")


def test_two_loads_do_not_clash(written: Callable[..., Path]) -> None:
    path = written("a.proto", "message A { optional int32 x = 1; }")
    first = callmethod.load(path)
    path.write_text("message A { optional string x = 1; }", encoding="utf-8")
    second = callmethod.load(path)
    assert first.A(x=1).x == 1
    assert second.A(x="1").x == "1"


def test_folders_to_look_in(written: Callable[..., Path], tmp_path: Path) -> None:
    written("deep/one/a.proto", 'import "two/b.proto"; message A { optional B b = 1; }')
    written("else/two/b.proto", "message B {}")
    folders = [tmp_path / "deep", str(tmp_path / "else")]
    for file in ("one/a.proto", tmp_path / "deep" / "one" / "a.proto"):
        loaded = callmethod.load(file, include=folders)
        assert loaded.DESCRIPTOR.name == "one/a.proto"
        assert list(loaded.imports) == ["two/b.proto"]


def test_a_path_from_here_needs_no_folders(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("sub/a.proto", "message A {}")
    monkeypatch.chdir(tmp_path)
    assert callmethod.load("sub/a.proto").DESCRIPTOR.name == "a.proto"
    assert callmethod.load("sub/a.proto", include=".").DESCRIPTOR.name == "sub/a.proto"


class TestInAnotherPool:
    def test_what_is_there_is_used(self, written: Callable[..., Path]) -> None:
        pool = descriptor_pool.DescriptorPool()
        path = written("a.proto", "message A { optional int32 some_x = 1; }")
        assert callmethod.load(path, pool=pool).A is callmethod.load(path, pool=pool).A

    def test_generated_classes_are_shared_with_the_default_one(self) -> None:
        import testing_pb2

        loaded = callmethod.load(PROTO / "testing.proto", pool=descriptor_pool.Default())
        assert loaded.Number is testing_pb2.Number

    def test_another_file_of_one_name_is_refused(self, written: Callable[..., Path]) -> None:
        path = written("common.proto", "message Other {}")
        import common_pb2  # noqa: F401  (now it is in the pool)

        with pytest.raises(TypeError, match="another common.proto"):
            callmethod.load(path, pool=descriptor_pool.Default())

    def test_well_known_types_are_those_of_the_installed_protobuf(
        self, written: Callable[..., Path]
    ) -> None:
        from google.protobuf.duration_pb2 import Duration

        path = written(
            "with_duration.proto",
            'import "google/protobuf/duration.proto";'
            "message WithDuration { optional google.protobuf.Duration d = 1; }",
        )
        loaded = callmethod.load(path, pool=descriptor_pool.Default())
        message = loaded.WithDuration()
        message.d.CopyFrom(Duration(seconds=3))
        assert message.d.seconds == 3


def refused(path: Path) -> callmethod.ProtoError:
    with pytest.raises(callmethod.ProtoError) as caught:
        callmethod.load(path)
    return caught.value


class TestMistakes:
    def test_a_syntax_error_shows_its_line(self, written: Callable[..., Path]) -> None:
        error = refused(written("a.proto", 'syntax = "proto3";\nmessage A {\n\tint32 x 1;\n}\n'))
        assert (error.file, error.line, error.column) == ("a.proto", 3, 10)
        assert error.source == "\tint32 x 1;"
        first, *rest = str(error).splitlines()
        assert first.startswith("a.proto:3:10: expected")
        assert rest == ["    \tint32 x 1;", "    \t        ^"]
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.line) == (str(error), 3)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("message A { optional B b = 1; }", "a.proto:1:22: name 'B' is not defined"),
            ("message A {}\nmessage A {}", "a.proto:2:9: name 'A' is defined twice"),
            ("import 'b.proto';", "a.proto:1:1: import 'b.proto' not found"),
            ('// 1\nedition = "2024";', "a.proto:2:1: edition 2024: "),
        ],
    )
    def test_other_errors_have_a_place(
        self, written: Callable[..., Path], text: str, told: str
    ) -> None:
        assert str(refused(written("a.proto", text))).startswith(told)

    def test_an_error_in_an_import_is_told_of_the_import(
        self, written: Callable[..., Path]
    ) -> None:
        written("b.proto", "message {}")
        error = refused(written("a.proto", "import 'b.proto';"))
        assert (error.file, error.line) == ("b.proto", 1)

    def test_what_only_protobuf_refuses(self, written: Callable[..., Path]) -> None:
        if google.protobuf.__version__.startswith("4."):
            pytest.skip("protobuf 4.25 takes it")
        if api_implementation.Type() == "python":
            pytest.skip("protobuf's implementation in Python takes it")
        text = 'syntax = "proto2"; enum E { A = 1; } message M { map<int32, E> es = 1; }'
        assert str(refused(written("a.proto", text))).startswith("a.proto: protobuf refuses it: ")

    def test_no_file(self, tmp_path: Path) -> None:
        assert "nowhere.proto" in str(refused(tmp_path / "nowhere.proto"))

    def test_bytes_that_are_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "a.proto"
        path.write_bytes(b"\xff")
        assert str(refused(path)) == "a.proto: file 'a.proto' is not valid utf-8"

    def test_a_circle(self, written: Callable[..., Path]) -> None:
        written("b.proto", 'import "a.proto";')
        assert "a.proto -> b.proto -> a.proto" in str(
            refused(written("a.proto", 'import "b.proto";'))
        )


def test_without_protobuf_it_says_what_is_missing(written: Callable[..., Path]) -> None:
    path = written("a.proto", "message A {}")
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        f"import callmethod; callmethod.load({str(path)!r})"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert "ModuleNotFoundError" in ended.stderr
