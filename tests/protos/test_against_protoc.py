"""What is compiled here is what Google's compiler makes, byte for byte."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

import callmethod
from callmethod import _core

PROTO = Path(__file__).parents[2] / "proto"

protoc = pytest.importorskip("grpc_tools.protoc", reason="needs requirements/codegen.txt")
WELL_KNOWN = Path(protoc.__file__).parent / "_proto"
GOOGLEAPIS = Path(next(iter(importlib.util.find_spec("google.rpc").submodule_search_locations)))
SITE = GOOGLEAPIS.parents[1]


def files_of(root: Path, *, shipped_by: str | None = None) -> list[str]:
    if shipped_by is None:
        return sorted(str(path.relative_to(root)) for path in root.rglob("*.proto"))
    files = importlib.metadata.files(shipped_by) or []
    return sorted(str(file) for file in files if file.suffix == ".proto")


OURS = files_of(PROTO)
BUILT_IN = [file for file in files_of(WELL_KNOWN) if not file.endswith("_features.proto")]
APIS = files_of(SITE, shipped_by="googleapis-common-protos")

DIFFER = {
    "google/protobuf/api.proto",
    "google/protobuf/compiler/plugin.proto",
    "google/protobuf/descriptor.proto",
}
"""Of the built-in files, which are those of an older protoc, these have since been changed."""


def by_protoc(file: str, folder: Path, out: Path) -> dict[str, bytes]:
    words = ["protoc", f"-I{folder}", f"-I{WELL_KNOWN}", "--include_imports"]
    assert protoc.main([*words, f"--descriptor_set_out={out}", file]) == 0
    made = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return {one.name: plain(one) for one in made.file if one.name not in DIFFER}


def by_us(file: str, folder: Path) -> dict[str, bytes]:
    _, files = _core.compile_protos([file], [folder], comments=False)
    made = [descriptor_pb2.FileDescriptorProto.FromString(one) for one in files]
    return {one.name: plain(one) for one in made if one.name not in DIFFER}


def plain(file: descriptor_pb2.FileDescriptorProto) -> bytes:
    """The bytes of a file: fields by their numbers, and no options where none are set.

    protoc writes empty ones for `rpc A(B) returns (C) {}`.
    """
    for part in (*file.message_type, *file.enum_type, *file.service, *file.extension):
        strip_options(part)
    return file.SerializeToString(deterministic=True)


def strip_options(part: Any) -> None:
    if "options" in part.DESCRIPTOR.fields_by_name and not part.options.ByteSize():
        part.ClearField("options")
    for field, value in part.ListFields():
        if field.name in {"field", "nested_type", "enum_type", "value", "method", "extension"}:
            for inner in value:
                strip_options(inner)


def test_there_is_enough_to_compare() -> None:
    assert len(APIS) == 63
    assert {f"google/protobuf/{name}.proto" for name in ("any", "struct", "type")} < set(BUILT_IN)
    assert "testing_fields.proto" in OURS


@pytest.mark.parametrize("file", OURS)
def test_the_projects_own(file: str, tmp_path: Path) -> None:
    assert by_us(file, PROTO) == by_protoc(file, PROTO, tmp_path / "set")


@pytest.mark.parametrize("file", APIS)
def test_googleapis(file: str, tmp_path: Path) -> None:
    assert by_us(file, SITE) == by_protoc(file, SITE, tmp_path / "set")


@pytest.mark.parametrize("file", [file for file in BUILT_IN if file not in DIFFER])
def test_well_known_types(file: str, tmp_path: Path) -> None:
    assert by_us(file, WELL_KNOWN) == by_protoc(file, WELL_KNOWN, tmp_path / "set")


@pytest.mark.parametrize("file", sorted(DIFFER))
def test_what_differs_has_the_same_messages(file: str) -> None:
    made = callmethod.load(WELL_KNOWN / file, include=WELL_KNOWN).DESCRIPTOR
    installed = importlib.import_module(file.removesuffix(".proto").replace("/", ".") + "_pb2")
    assert set(made.message_types_by_name) <= set(installed.DESCRIPTOR.message_types_by_name)
