"""`write_stubs`: the `.pyi` of modules that are there. test_checkers.py asks the type checkers."""

from __future__ import annotations

import ast
import types
from typing import TYPE_CHECKING

import pytest

import game_service_pb2
import testing_plain_pb2
from callmethod.codegen import write_stubs

if TYPE_CHECKING:
    from pathlib import Path


def classes(text: str) -> list[str]:
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]


def test_by_name_and_by_module(tmp_path: Path) -> None:
    written = write_stubs(["testing_pb2", game_service_pb2], tmp_path)
    assert written == [tmp_path / "testing_pb2.pyi", tmp_path / "game_service_pb2.pyi"]
    assert classes(written[0].read_text("utf-8"))[:4] == [
        "Number",
        "Blob",
        "Numbers",
        "Numbers_Stub",
    ]
    assert classes(written[1].read_text("utf-8")) == ["GameService", "GameService_Stub"]


def test_no_classes_of_services_where_protobuf_made_none(tmp_path: Path) -> None:
    (path,) = write_stubs([testing_plain_pb2], tmp_path)
    assert classes(path.read_text("utf-8")) == ["Word"]


def test_beside_the_module(tmp_path: Path) -> None:
    module = types.ModuleType("some.place_pb2")
    module.__file__ = str(tmp_path / "place_pb2.py")
    vars(module)["DESCRIPTOR"] = testing_plain_pb2.DESCRIPTOR
    assert write_stubs([module]) == [tmp_path / "place_pb2.pyi"]
    assert write_stubs([module], tmp_path) == [tmp_path / "some" / "place_pb2.pyi"]


def test_a_module_in_no_file(tmp_path: Path) -> None:
    module = types.ModuleType("nowhere_pb2")
    vars(module)["DESCRIPTOR"] = testing_plain_pb2.DESCRIPTOR
    with pytest.raises(ValueError, match="nowhere_pb2 lies in no file; say in which folder"):
        write_stubs([module])


def test_what_is_no_generated_module(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="ast is no generated module"):
        write_stubs(["testing_pb2", ast], tmp_path)
    with pytest.raises(ModuleNotFoundError, match="nowhere_pb2"):
        write_stubs(["testing_pb2", "nowhere_pb2"], tmp_path)
    assert not list(tmp_path.iterdir()), "all or nothing"
