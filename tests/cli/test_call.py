"""`callmethod call`."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TWICE = "callmethod.testing.Numbers.twice"
INDEXED = "indexed:id_width=4,reply=by_id"


@pytest.mark.parametrize("protocol", ["baidu_std", "hulu_pbrpc", "sofa_pbrpc", INDEXED])
def test_json_in_json_out(run, numbers, proto: str, protocol: str) -> None:
    words = ["call", numbers.address, TWICE, '{"value": 21}', "--protocol", protocol]
    ended = run(*words, "--proto", proto)
    assert ended == (0, '{"value":"42"}\n', "")


@pytest.mark.parametrize("protocol", ["baidu_std", "hulu_pbrpc", "sofa_pbrpc"])
def test_the_server_tells_its_types(run, numbers, protocol: str) -> None:
    slashed = TWICE.replace("Numbers.", "Numbers/")
    ended = run("call", numbers.address, slashed, '{"value": "21"}', "--protocol", protocol)
    assert ended == (0, '{"value":"42"}\n', "")


def test_types_of_a_module_and_of_a_set(run, numbers, tmp_path: Path) -> None:
    ended = run("call", numbers.address, TWICE, '{"value": 1}', "--module", "testing_pb2")
    assert ended == (0, '{"value":"2"}\n', "")
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    import testing_pb2

    made = FileDescriptorSet()
    for file in (*testing_pb2.DESCRIPTOR.dependencies, testing_pb2.DESCRIPTOR):
        file.CopyToProto(made.file.add())
    path = tmp_path / "set"
    path.write_bytes(made.SerializeToString())
    ended = run("call", numbers.address, TWICE, '{"value": 1}', "--descriptor-set", str(path))
    assert ended == (0, '{"value":"2"}\n', "")


def test_a_call_without_answer(
    run, proto: str, server_factory: Callable[..., callmethod.Server]
) -> None:
    from game_service_pb2 import GameService

    came = []

    class Game(GameService):
        def connect_server(self, rpc_controller, request, done):
            came.append(request.message)
            done(request)

    server = server_factory(Game())
    words = ["call", server.address, "game.GameService.connect_server", '{"message": "ada"}']
    assert run(*words, "--protocol", "indexed", "--module", "game_service_pb2") == (0, "", "")
    server.stop()
    assert came == ["ada"]
    # Nothing can be asked of such a server.
    status, out, err = run(*words, "--protocol", "indexed")
    assert (status, out) == (3, "")
    assert "--proto" in err


def test_a_request_a_line(run, numbers, proto: str) -> None:
    lines = '{"value": 1}\n\n{"value": "x"}\n{"value": 3}\n'
    ended = run("call", numbers.address, TWICE, "-", "--proto", proto, stdin=lines)
    assert (ended.status, ended.out) == (8, '{"value":"2"}\n{"value":"6"}\n')
    assert ended.err.startswith("callmethod: line 3: the request is no callmethod.testing.Number")


def test_what_goes_and_comes_beside(run, numbers, proto: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_bytes(b"abc")
    words = ["call", numbers.address, TWICE, '{"value": 1}', "--proto", proto]
    ended = run(*words, "--attach", str(here), "--save-attachment", str(there))
    assert (ended.status, there.read_bytes()) == (0, b"cba")
    ended = run(*words, "--attach", str(here))
    assert "3 bytes" in ended.err
    words[2] = "callmethod.testing.Numbers.blob"
    words[3] = "{}"
    ended = run(*words, "--metadata", "a=1", "--metadata", "b=2", "--compression", "gzip")
    assert json.loads(ended.out) == {"data": "YT0xYj0y"}


def unused_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class TestMistakes:
    """Each is one line, with an exit code of its own."""

    @pytest.mark.parametrize(
        ("method", "request_json", "status", "told"),
        [
            (TWICE, "{", 5, "EOF while parsing an object at line 1 column 1"),
            (TWICE, '{"value": 1} 2', 5, "trailing characters"),
            (TWICE, '{"vallue": 1}', 7, "unrecognized field name 'vallue'"),
            (TWICE, '{"value": true}', 8, "invalid type: boolean `true`"),
            (TWICE, "{}", 8, "callmethod.testing.Number requires value"),
            (TWICE + "e", "{}", 4, "has no method twicee; did you mean twice?"),
            (
                "callmethod.testing.Numbrs.twice",
                "{}",
                4,
                "did you mean callmethod.testing.Numbers?",
            ),
            ("twice", "{}", 4, "no service twice"),
            ("callmethod.testing.Numbers.fail", '{"value": 7}', 64 + 5, "NOT_FOUND: no 7\\x1b"),
            ("callmethod.testing.Numbers.left_out", '{"value": 7}', 64 + 12, "UNIMPLEMENTED"),
        ],
    )
    @pytest.mark.parametrize("by_reflection", [True, False])
    def test_of_a_call(
        self, run, numbers, proto: str, method: str, request_json: str, status: int, told: str,
        by_reflection: bool,
    ) -> None:  # fmt: skip
        source = [] if by_reflection else ["--proto", proto]
        ended = run("call", numbers.address, method, request_json, *source)
        assert (ended.status, ended.out) == (status, "")
        assert told in ended.err
        assert ended.err.count("\n") == 1

    def test_no_server(self, run, proto: str) -> None:
        target = f"127.0.0.1:{unused_port()}"
        ended = run("call", target, TWICE, '{"value": 1}', "--proto", proto)
        assert ended.status == 64 + 14
        assert "UNAVAILABLE" in ended.err
        assert ended.err.count("\n") == 1
        words = ["--proto", proto, "--wait", "--timeout", "0.2"]
        ended = run("call", target, TWICE, '{"value": 1}', *words)
        assert ended.status == 64 + 4
        assert target in ended.err

    def test_no_answer_in_time(self, run, proto: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            target = f"127.0.0.1:{silent.getsockname()[1]}"
            ended = run("call", target, TWICE, '{"value": 1}', "--proto", proto, "--timeout", "0.2")
        assert ended.status == 64 + 4
        assert "DEADLINE_EXCEEDED" in ended.err

    def test_a_server_without_reflection(self, run, server_factory) -> None:
        from testing_pb2 import Numbers

        server = server_factory(Numbers(), protocols=[callmethod.BaiduStd()])
        ended = run("call", server.address, TWICE, "{}")
        assert ended.status == 3
        assert ended.err == (
            f"callmethod: {server.address} has no reflection; say what it serves by --proto, "
            "--module or --descriptor-set\n"
        )

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["--proto", "nowhere.proto"], "nowhere.proto was not found"),
            (["--module", "nowhere_pb2"], "No module named 'nowhere_pb2'"),
            (["--module", "json"], "has no services"),
            (["--descriptor-set", "nowhere.bin"], "nowhere.bin: No such file"),
            (["--descriptor-set", __file__], "is no FileDescriptorSet"),
        ],
    )
    def test_of_descriptors(self, run, words: list[str], told: str) -> None:
        ended = run("call", "127.0.0.1:1", TWICE, "{}", *words)
        assert (ended.status, ended.out) == (3, "")
        assert told in ended.err
        assert ended.err.count("\n") == 1

    def test_a_syntax_error_shows_the_line(self, run, tmp_path: Path) -> None:
        path = tmp_path / "a.proto"
        path.write_text("message A {\n  int32 x 1;\n}\n", encoding="utf-8")
        ended = run("list", "--proto", str(path))
        assert ended.status == 3
        assert ended.err.splitlines()[1:] == ["      int32 x 1;", "              ^"]

    @pytest.mark.parametrize(
        "words",
        [
            ["call", "nonsense", TWICE, "--module", "testing_pb2"],
            ["call", "127.0.0.1:1", TWICE, "--protocol", "smoke"],
            ["call", "127.0.0.1:1", TWICE, "--protocol", "indexed:reply=loud"],
            ["call", "127.0.0.1:1", TWICE, "--protocol", "indexed:colour=red"],
            ["call", "127.0.0.1:1", TWICE, "--timeout", "soon"],
            ["call", "127.0.0.1:1", TWICE, "--metadata", "x"],
            ["call", "127.0.0.1:1", TWICE, "--attach", "/nowhere", "--module", "testing_pb2"],
            ["call", "127.0.0.1:1"],
            ["clal"],
            [],
        ],
    )
    def test_of_usage(self, run, words: list[str]) -> None:
        ended = run(*words)
        assert (ended.status, ended.out) == (2, "")
        assert ended.err.count("\n") == 1


def test_the_program_and_the_module_are_one(numbers, proto: str) -> None:
    words = ["call", numbers.address, TWICE, '{"value": 1}', "--proto", proto]
    ended = subprocess.run(
        [sys.executable, "-m", "callmethod", *words],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ('{"value":"2"}\n', "")


def test_a_reader_that_has_had_enough(proto: str) -> None:
    command = f"{sys.executable} -m callmethod describe --proto {proto} | head -n 1"
    ended = subprocess.run(
        ["bash", "-c", command + '; exit "${PIPESTATUS[0]}"'],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ended.stdout, ended.stderr) == ('syntax = "proto2";\n', "")
    assert ended.returncode in {0, 141}


def test_no_protobuf_is_needed(numbers, proto: str) -> None:
    code = (
        "import sys; sys.modules['google.protobuf'] = None\n"
        "from callmethod.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    for source in (["--proto", proto], []):
        words = ["call", numbers.address, TWICE, '{"value": 1}', *source]
        ended = subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (ended.stdout, ended.stderr) == ('{"value":"2"}\n', "")
