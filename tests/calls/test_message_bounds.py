"""How long a message may be, and how deeply nested: what is just within and just above."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import callmethod
from callmethod import BaiduStd, Hulu, Indexed, Sofa
from testing_pb2 import Number, Numbers, Numbers_Stub

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

sys.path.insert(0, str(Path(__file__).parent))  # tests run in importlib mode
wire = importlib.import_module("wire")
WIRES, number = wire.WIRES, wire.number

LIMIT = 1000
EREQUEST = 1003
# Of protobuf's parsers, in all languages: messages in messages, the outermost not counted.
NESTING = 100
PROTOCOLS = [
    BaiduStd(max_length=LIMIT),
    Hulu(max_length=LIMIT),
    Sofa(max_length=LIMIT),
    Indexed(max_length=LIMIT, id_width=4, reply="by_id"),
    Indexed(max_length=LIMIT),
]


class Echo(Numbers):
    def __init__(self) -> None:
        self.values: list[int] = []

    def twice(self, rpc_controller: Any, request: Any, done: Any) -> None:
        self.values.append(request.value)
        done(request)


@pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_frame_at_the_limit(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    wait_until: Callable[..., Any],
    kind: Any,
    more: int,
) -> None:
    server = server_factory(Echo(), protocols=[kind.protocol(max_length=LIMIT)])
    sock = raw_socket(server.address)
    length = 0
    for padding in range(LIMIT):
        # A limit counts what comes after the header.
        frame = kind.call(7, number(1, b"x" * padding))
        length = len(frame) - kind.head_size
        if length == LIMIT + more:
            break
    assert length == LIMIT + more
    sock.sendall(frame)
    if more <= 0:
        assert wire.read_answer(sock, kind).code == 0
        assert server.stats()["rejected_total"] == {}
    else:
        assert wire.ends(sock)
        wait_until(lambda: server.stats()["rejected_total"] == {"length_above_limit": 1})


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=repr)
def test_a_caller_is_told_before_anything_is_sent(
    server_factory: Callable[..., callmethod.Server],
    channel_factory: Callable[..., callmethod.Channel],
    wait_until: Callable[..., Any],
    protocol: Any,
) -> None:
    service = Echo()
    server = server_factory(service, protocols=[protocol])
    channel = channel_factory(server.address, protocol=protocol)
    stub = Numbers_Stub(channel)
    # The first call of a connection says more, in its meta.
    stub.twice(None, Number(value=0))

    def fits(padding: int) -> bool:
        try:
            stub.twice(None, Number(value=padding, note="x" * padding))
        except ValueError as error:
            assert str(LIMIT) in str(error)  # noqa: PT017
            return False
        return True

    most = max(padding for padding in range(LIMIT - 150, LIMIT) if fits(padding))
    # All that fit have arrived, and nothing else has: none was refused by the server.
    expected = [0, *range(LIMIT - 150, most + 1)]
    wait_until(lambda: service.values == expected)
    assert channel.stats()["calls_sent_total"] == len(expected)
    assert channel.stats()["connects_total"] == 1
    assert server.stats()["rejected_total"] == {}


@functools.cache
def nested(depth: int) -> bytes:
    """A `Node` with so many others in it, one in the other."""
    heads: list[bytes] = []
    size = 0
    for _ in range(depth):
        heads.append(wire.varint(1 << 3 | 2) + wire.varint(size))
        size += len(heads[-1])
    return b"".join(reversed(heads))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("protos")
    (folder / "trees.proto").write_text(
        'syntax = "proto2"; package trees;'
        "option py_generic_services = true;"
        "message Node { optional Node child = 1; }"
        "service Trees { rpc measure(Node) returns (Node); }"
    )
    return callmethod.load("trees.proto", include=folder)


@pytest.mark.parametrize("kind", WIRES, ids=wire.wire_id)
def test_nesting(
    server_factory: Callable[..., callmethod.Server],
    raw_socket: Callable[[str], socket.socket],
    trees: Any,
    kind: Any,
) -> None:
    depths = []

    class Trees(trees.Trees):  # type: ignore[misc, name-defined]
        def measure(self, rpc_controller: Any, request: Any, done: Any) -> None:
            depth, node = 0, request
            while node.HasField("child"):
                depth, node = depth + 1, node.child
            depths.append(depth)
            done(trees.Node())

    if kind.name == "hulu_pbrpc":
        named = wire.field(1, "Trees") + wire.field(2, 0)
    elif kind.name == "sofa_pbrpc":
        named = wire.field(1, 0) + wire.field(100, "trees.Trees.measure")
    else:
        named = kind.named("trees.Trees", "measure")
    server = server_factory(Trees(), protocols=[kind.protocol()])
    sock = raw_socket(server.address)

    def measure(depth: int) -> int:
        cid = wire.field(2 if kind.name == "sofa_pbrpc" else 4, depth)
        sock.sendall(kind.frame(named + cid, nested(depth)))
        answer = wire.read_answer(sock, kind)
        assert answer.id == depth
        return int(answer.code)

    within = [0, 1, NESTING - 1]
    assert [measure(depth) for depth in within] == [0, 0, 0]
    above = [NESTING + 1, 10_000, 100_000]
    assert [measure(depth) for depth in above] == [EREQUEST] * 3
    assert depths == within
    assert server.stats()["rejected_total"] == {"bad_body": 3}
    assert measure(2) == 0
