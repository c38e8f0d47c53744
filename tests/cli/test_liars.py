"""Descriptors that somebody made up: a broken file, and a server whose reflection lies."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
import testing_pb2
from callmethod import _core

if TYPE_CHECKING:
    from collections.abc import Callable

EVERYTHING = Path(__file__).parents[1] / "fixtures" / "descriptors" / "everything.proto"
NUMBERS = "callmethod.testing.Numbers"
MESSAGES = callmethod.load(
    "grpc/reflection/v1/reflection.proto",
    include=Path(callmethod.__file__).parent / "protos",
)


def test_a_broken_set_is_one_error(run, tmp_path: Path) -> None:
    """tests/rust/descriptors.rs tries more; here it is what a person is told."""
    _, files = _core.compile_protos([EVERYTHING], [EVERYTHING.parent], comments=False)
    prefix = b"".join(map(as_item, files[:-1]))
    path, seen = tmp_path / "set", set()
    for seed in range(120):
        dice = random.Random(seed)
        broken = bytearray(files[-1])
        for _ in range(dice.randint(1, 3)):
            broken[dice.randrange(len(broken))] = dice.choice([0, 1, 0x7F, 0xFF, 0x1B])
        path.write_bytes(prefix + as_item(bytes(broken)))
        words = ["--descriptor-set", str(path)]
        ended = run("list", *words)
        seen.add(ended.status)
        assert ended.status in {0, 3, 4}, (seed, ended)
        assert ended.err.count("\n") == (ended.status != 0)
        assert "\x1b" not in ended.out + ended.err
        if ended.status == 0:
            assert run("describe", *words).status == 0, seed
            called = run("call", "127.0.0.1:1", "everything.Station.one", '{"id": 1}', *words)
            assert called.status in {3, 4, 7, 8, 64 + 14}, (seed, called)
    assert seen >= {0, 3}


def as_item(file: bytes) -> bytes:
    """One item of a FileDescriptorSet."""
    size, length = len(file), bytearray(b"\x0a")
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*length, size]) + file


class Liar(MESSAGES.ServerReflection):  # type: ignore[misc, name-defined]
    """Says that it has `service`, and answers with `files`, or an error."""

    def __init__(self, service: str, files: list[bytes], error: str | None = None) -> None:
        self.service, self.files, self.error = service, files, error

    def ServerReflectionInfo(self, rpc_controller: Any, request: Any, done: Any) -> None:
        response = MESSAGES.ServerReflectionResponse()
        if request.HasField("list_services"):
            response.list_services_response.service.add(name=self.service)
        elif self.error is not None:
            response.error_response.error_code = 5
            response.error_response.error_message = self.error
        else:
            response.file_descriptor_response.file_descriptor_proto.extend(self.files)
        done(response)


@pytest.fixture
def lied_to(
    run, server_factory: Callable[..., callmethod.Server]
) -> Callable[..., tuple[int, str]]:
    def ask(*lies: Any) -> tuple[int, str]:
        server = server_factory(Liar(*lies), protocols=[callmethod.BaiduStd()])
        told = []
        for words in (["list", server.address], ["call", server.address, f"{NUMBERS}.twice", "{}"]):
            ended = run(*words)
            assert ended.out == ""
            assert ended.err.count("\n") == 1
            assert "\x1b" not in ended.err
            told.append((ended.status, ended.err))
        assert told[1][0] in {3, 4}
        return told[0]

    return ask


@pytest.mark.parametrize(
    ("lies", "status", "told"),
    [
        ((NUMBERS, []), 3, f"says that it has {NUMBERS}, and shows no file with it"),
        (("a.\x1b[31mB", []), 3, r"says that it has a.\x1b[31mB, and shows no file with it"),
        ((NUMBERS, [b"\xff\xff"]), 3, "file 0 does not parse"),
        (
            (NUMBERS, [testing_pb2.DESCRIPTOR.serialized_pb]),
            3,
            "imported file 'testing_fields.proto' has not been added",
        ),
        ((NUMBERS, [b"\x0a\x01x\x62\x08proto\x1b[1"]), 3, r'has the unknown syntax "proto'),
        ((NUMBERS, [], "go\naway\x1b[2J"), 4, r"go\naway\x1b[2J"),
    ],
)
def test_a_server_that_lies(lied_to, lies: tuple[Any, ...], status: int, told: str) -> None:
    ended = lied_to(*lies)
    assert ended[0] == status
    assert told in ended[1]


def test_an_answer_of_another_kind(run, server_factory: Callable[..., callmethod.Server]) -> None:
    class Other(MESSAGES.ServerReflection):  # type: ignore[misc, name-defined]
        def ServerReflectionInfo(self, rpc_controller: Any, request: Any, done: Any) -> None:
            done(MESSAGES.ServerReflectionResponse())

    server = server_factory(Other(), protocols=[callmethod.BaiduStd()])
    assert run("list", server.address).status == 4
    assert run("call", server.address, "a.B.c").status == 4
