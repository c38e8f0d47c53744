"""Files with editions: served and called as bytes, and refused by name where they are not known."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

import callmethod

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

protoc = pytest.importorskip("grpc_tools.protoc", reason="needs requirements/codegen.txt")

TEXT = """\
edition = "2023";

package modern;

option py_generic_services = true;

message Count {
  int32 value = 1 [features.field_presence = IMPLICIT];
}

service Counter {
  rpc next(Count) returns (Count);
}
"""


@pytest.fixture
def modern(written: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Any:
    path = written("modern_counter.proto", TEXT)
    words = ["protoc", f"-I{path.parent}", f"--python_out={path.parent}", str(path)]
    assert protoc.main(words) == 0
    monkeypatch.syspath_prepend(path.parent)
    import modern_counter_pb2

    yield modern_counter_pb2
    sys.modules.pop("modern_counter_pb2")


def test_binary_calls_need_nothing_of_it(modern: Any) -> None:
    class Counter(modern.Counter):
        def next(self, rpc_controller, request, done):
            done(modern.Count(value=request.value + 1))

    server = callmethod.Server()
    server.add_service(Counter())
    with server:
        for protocol in (callmethod.BaiduStd(), callmethod.Hulu(), callmethod.Sofa()):
            with callmethod.Channel(server.address, protocol=protocol) as channel:
                answer = modern.Counter_Stub(channel).next(None, modern.Count(value=1))
            assert answer.value == 2
    table = callmethod.MethodTable(modern.Counter.DESCRIPTOR)
    assert table.names == ("next",)
    with pytest.raises(ValueError, match="modern_counter.proto uses editions"):
        table.request_json(0, b"")
