"""`callmethod decode`: recorded frames, one a line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable

RECORDED = Path(__file__).parents[1] / "vectors" / "baidu_std" / "recorded"

# What the recorded peer spoke.
PEER = """\
syntax = "proto2";
package peer;
message Text { optional string message = 1; }
service EchoService { rpc Echo(Text) returns (Text); }
"""


@pytest.fixture
def peer(tmp_path: Path) -> str:
    path = tmp_path / "peer.proto"
    path.write_text(PEER, encoding="utf-8")
    return str(path)


@pytest.fixture
def stream(tmp_path: Path) -> Callable[[bytes], str]:
    def write(data: bytes) -> str:
        path = tmp_path / "stream.bin"
        path.write_bytes(data)
        return str(path)

    return write


def recorded(name: str) -> bytes:
    frames = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))["frames"]
    return b"".join(bytes.fromhex(frame["hex"]) for frame in frames)


CALL = "       0  call   peer.EchoService.Echo  id=4294967298  "


def test_a_call_and_its_answer(run, peer: str, stream) -> None:
    ended = run("decode", "baidu_std", stream(recorded("plain")), "--proto", peer)
    assert ended == (
        0,
        CALL + '{"message":"hello-0"}\n'
        '      61  reply  peer.EchoService.Echo  id=4294967298  {"message":"hello-0"}\n',
        "",
    )


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "error_text_only",
            "reply  peer.EchoService.Echo  id=4294967298  INTERNAL (2001): [127.0.0.1:35963]boo\n",
        ),
        ("unknown_method", "UNIMPLEMENTED (1002): "),
        ("both_gzip_2k", '{"message":"hello-0'),
        ("both_snappy_2k", '{"message":"hello-0'),
        ("attachment", "attachment="),
        ("timeout_ms", "timeout="),
        ("bare_service_name", "call   peer.EchoService.Echo  id="),
    ],
)
def test_what_frames_can_have(run, peer: str, stream, name: str, told: str) -> None:
    ended = run("decode", "baidu_std", stream(recorded(name)), "--proto", peer)
    assert (ended.status, ended.err) == (0, "")
    assert told in ended.out


def test_every_recorded_conversation_is_read(run, peer: str, stream) -> None:
    for path in sorted(RECORDED.glob("*.json")):
        data = recorded(path.stem)
        ended = run("decode", "baidu_std", stream(data), "--proto", peer)
        assert (ended.status, ended.err) == (0, ""), path
        frames = json.loads(path.read_text(encoding="utf-8"))["frames"]
        assert len(ended.out.splitlines()) == len(frames), path


def test_without_descriptors_bytes_are_shown(run, stream) -> None:
    ended = run("decode", "baidu_std", stream(recorded("plain")))
    first, second = ended.out.splitlines()
    assert first == CALL + "9 bytes 0a0768656c6c6f2d30"
    assert second.endswith("reply  ?  id=4294967298  11 bytes 0a0768656c6c6f2d304000")


class TestIndexed:
    def frames(self, protocol: callmethod.Indexed) -> bytes:
        from testing_pb2 import Blob, Number

        codec = callmethod.IndexedCodec(protocol)
        ids = {"id": 7} if protocol.id_width else {}
        calls = [(1, Number(value=2)), (4, Blob(data=b"x")), (9, Blob())]
        return b"".join(
            codec.encode(index, message.SerializeToString(), **ids) for index, message in calls
        )

    def test_calls(self, run, proto: str, stream) -> None:
        words = ["--proto", proto, "--service", "callmethod.testing.Numbers"]
        ended = run("decode", "indexed", stream(self.frames(callmethod.Indexed())), *words)
        assert (ended.status, ended.err) == (0, "")
        assert ended.out.splitlines() == [
            '       0  call   callmethod.testing.Numbers.twice  {"value":"2"}',
            '       8  call   callmethod.testing.Numbers.blob  {"data":"eA=="}',
            "      17  call   [9]  0 bytes ",
        ]

    def test_which_service_must_be_said(self, run, proto: str, stream) -> None:
        ended = run("decode", "indexed", stream(b""), "--proto", proto)
        assert ended.status == 2
        assert "--service" in ended.err

    def test_answers(self, run, proto: str, stream) -> None:
        from testing_pb2 import Number

        codec = callmethod.IndexedCodec(callmethod.Indexed(id_width=4, reply="by_id"))
        data = codec.encode_reply(Number(value=2).SerializeToString(), id=7)
        words = ["--proto", proto, "--replies", "--method", "callmethod.testing.Numbers.twice"]
        ended = run("decode", "indexed:id_width=4,reply=by_id", stream(data), *words)
        assert ended.out == (
            '       0  reply  callmethod.testing.Numbers.twice  id=7  {"value":"2"}\n'
        )
        assert run("decode", "indexed", stream(data), "--replies").status == 2


@pytest.mark.parametrize(
    ("cut", "told"),
    [
        (-1, "byte 61: the stream ended inside a frame, after 40 of its bytes"),
        (0, "byte 102: the frame begins with nons, not with PRPC"),
    ],
)
def test_what_is_no_stream_is_told_after_what_was(run, stream, cut: int, told: str) -> None:
    data = recorded("plain")[:cut] if cut else recorded("plain") + b"nonsense"
    ended = run("decode", "baidu_std", stream(data))
    assert ended.status == 6
    assert ended.err == f"callmethod: {told}\n"
    assert ended.out.startswith("       0  call   peer.EchoService.Echo")


def test_a_stream_is_shown_as_it_comes() -> None:
    data = recorded("plain")
    with subprocess.Popen(
        [sys.executable, "-m", "callmethod", "decode", "baidu_std"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(data[:70])
        process.stdin.flush()
        assert process.stdout.readline().startswith(CALL.encode())
        process.stdin.write(data[70:])
        process.stdin.close()
        assert process.stdout.readline().startswith(b"      61  reply")
        assert process.wait(timeout=20) == 0
