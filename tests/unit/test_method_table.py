"""`MethodTable`: names, order and types of a service, and bodies as JSON; protobuf is the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format

import client_service_pb2
import game_service_pb2
import testing_fields_pb2
import testing_pb2
from callmethod import MethodTable

SERVICES = [
    descriptor
    for module in (game_service_pb2, client_service_pb2, testing_pb2)
    for descriptor in module.DESCRIPTOR.services_by_name.values()
]


@pytest.mark.parametrize("descriptor", SERVICES, ids=lambda descriptor: descriptor.full_name)
def test_the_table_says_what_the_descriptor_says(descriptor: Any) -> None:
    table = MethodTable(descriptor)
    assert table.service == descriptor.full_name
    assert len(table) == len(descriptor.methods)
    assert table.names == tuple(method.name for method in descriptor.methods)
    assert [table.index(name) for name in table.names] == list(range(len(table)))
    types = [
        (method.input_type.full_name, method.output_type.full_name) for method in descriptor.methods
    ]
    assert list(zip(table.input_types, table.output_types, strict=True)) == types


def test_the_first_path() -> None:
    table = MethodTable(game_service_pb2.DESCRIPTOR.services_by_name["GameService"])
    assert table.service == "game.GameService"
    assert table.names == ("connect_server",)
    assert table.input_types == table.output_types == ("game.RequestMessage",)


def test_a_name_that_is_not_there() -> None:
    table = MethodTable(SERVICES[0])
    with pytest.raises((KeyError, ValueError), match="fly"):
        table.index("fly")


@pytest.mark.parametrize("wrong", ["game.GameService", None, game_service_pb2.DESCRIPTOR])
def test_only_a_service_descriptor_will_do(wrong: Any) -> None:
    with pytest.raises(TypeError):
        MethodTable(wrong)


def scalar(field: Any) -> Any:
    """A value of its own for a field; floats are exact in both widths."""
    kinds = {
        field.CPPTYPE_BOOL: True,
        field.CPPTYPE_INT32: -2147483648,
        field.CPPTYPE_INT64: -9223372036854775808,
        field.CPPTYPE_UINT32: 4294967295,
        field.CPPTYPE_UINT64: 18446744073709551615,
        field.CPPTYPE_FLOAT: -1.5,
        field.CPPTYPE_DOUBLE: 6.25,
    }
    if field.type == field.TYPE_BYTES:
        return b"\x00\xff\xfe bytes"
    if field.type == field.TYPE_STRING:
        return 'text \u00e9\u4e2d "quoted"'
    if field.type == field.TYPE_ENUM:
        return field.enum_type.values[-1].number
    return kinds[field.cpp_type]


def is_repeated(field: Any) -> bool:
    """`label` is gone from protobuf 7, `is_repeated` is not yet in protobuf 4."""
    return (
        field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED
    )


def fill(message: Any, depth: int = 2) -> Any:
    """Set every field of a message; of a oneof the last member stays."""
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        nested = field.message_type
        if nested is None:
            if is_repeated(field):
                value.extend([scalar(field)] * 2)
            else:
                setattr(message, field.name, scalar(field))
        elif nested.GetOptions().map_entry:
            key = scalar(nested.fields_by_name["key"])
            held = nested.fields_by_name["value"]
            if held.message_type is None:
                value[key] = scalar(held)
            elif depth:
                fill(value[key], depth - 1)
        elif depth:
            fill(value.add() if is_repeated(field) else value, depth - 1)
    return message


@pytest.fixture
def fields() -> MethodTable:
    return MethodTable(testing_pb2.DESCRIPTOR.services_by_name["Fields"])


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_json_of_every_kind_of_field_is_protobufs_own(fields: MethodTable, depth: int) -> None:
    message = fill(testing_fields_pb2.EveryKind(), depth)
    expected = json.loads(json_format.MessageToJson(message))
    body = message.SerializeToString()
    assert json.loads(fields.request_json(0, body)) == expected
    assert json.loads(fields.response_json(0, body)) == expected


def test_json_of_an_empty_body(fields: MethodTable) -> None:
    assert json.loads(fields.request_json(0, b"")) == {}


def test_request_and_response_have_their_own_types() -> None:
    table = MethodTable(testing_pb2.DESCRIPTOR.services_by_name["Numbers"])
    number = testing_pb2.Number(value=7, note="n").SerializeToString()
    blob = testing_pb2.Blob(data=b"\x01").SerializeToString()
    assert json.loads(table.request_json(table.index("twice"), number)) == {
        "value": "7",
        "note": "n",
    }
    assert json.loads(table.response_json(table.index("blob"), blob)) == {"data": "AQ=="}


def test_a_body_that_does_not_parse_and_an_index_out_of_range(fields: MethodTable) -> None:
    with pytest.raises(ValueError):
        fields.request_json(0, b"\xff")
    with pytest.raises((IndexError, ValueError)):
        fields.request_json(len(fields), b"")
