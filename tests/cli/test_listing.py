"""`callmethod list` and `callmethod describe`."""

from __future__ import annotations

import pytest

NUMBERS = """\
callmethod.testing.Numbers
    0  push(callmethod.testing.Number) returns (callmethod.testing.Number)
    1  twice(callmethod.testing.Number) returns (callmethod.testing.Number)
    2  fail(callmethod.testing.Number) returns (callmethod.testing.Number)
    3  left_out(callmethod.testing.Number) returns (callmethod.testing.Number)
    4  blob(callmethod.testing.Blob) returns (callmethod.testing.Blob)
"""

METHOD = """\
rpc blob(Blob) returns (Blob);

message Blob {
  optional bytes data = 1;
}
"""


def test_list_of_files(run, proto: str) -> None:
    ended = run("list", "--proto", proto)
    assert (ended.status, ended.err) == (0, "")
    assert ended.out.startswith(NUMBERS + "callmethod.testing.Receiver\n    0  number(")
    assert run("list", "--module", "testing_pb2") == ended


def test_list_of_a_server_shows_what_it_serves(run, numbers) -> None:
    assert run("list", numbers.address) == (0, NUMBERS, "")


def test_a_method_is_described_with_its_messages(run, numbers, proto: str) -> None:
    name = "callmethod.testing.Numbers.blob"
    assert run("describe", numbers.address, name) == (0, METHOD, "")
    assert run("describe", "--proto", proto, f".{name}") == (0, METHOD, "")


def test_a_file_has_its_comments(run, proto: str) -> None:
    ended = run("describe", "--proto", proto, "testing_fields.proto")
    assert "// Every scalar kind, in the order of the language guide.\n" in ended.out
    # Without a name, all files.
    everything = run("describe", "--proto", proto)
    assert ended.out in everything.out


def test_what_no_service_uses_is_asked_for_by_name(run, numbers) -> None:
    ended = run("describe", numbers.address, "callmethod.testing.EveryKind")
    assert ended.out.startswith("message EveryKind {\n")


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (["list"], 2, "list takes a server"),
        (["describe"], 2, "describe takes a server"),
        (["list", "127.0.0.1:1", "--module", "testing_pb2"], 2, "not both"),
        (["describe", "--module", "testing_pb2", "a.B"], 4, "nothing is called a.B"),
        (["list", "--module", "common_pb2"], 4, "there is no service"),
    ],
)
def test_mistakes(run, words: list[str], status: int, told: str) -> None:
    ended = run(*words)
    assert (ended.status, ended.out) == (status, "")
    assert told in ended.err


def test_the_server_does_not_know_a_name(run, numbers) -> None:
    ended = run("describe", numbers.address, "callmethod.testing.Nothing")
    assert ended.status == 4
    assert "nothing is called callmethod.testing.Nothing" in ended.err
