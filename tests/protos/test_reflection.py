"""Server reflection: what is told, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import callmethod
from callmethod import reflection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

messages = callmethod.load("grpc/reflection/v1/reflection.proto", include=reflection.PROTOS)
SERVICE = "grpc.reflection.v1.ServerReflection"


@pytest.fixture
def ask() -> Iterator[Callable[..., Any]]:
    from testing_pb2 import Numbers

    server = callmethod.Server()
    server.add_service(Numbers())
    server.add_service(callmethod.reflection.service(server))
    with server, callmethod.Channel(server.address) as channel:
        stub = messages.ServerReflection_Stub(channel)

        def ask(**question: Any) -> Any:
            request = messages.ServerReflectionRequest(host="here", **question)
            response = stub.ServerReflectionInfo(None, request)
            assert (response.valid_host, response.original_request) == ("here", request)
            return response

        yield ask


def names(response: Any) -> list[str]:
    files = response.file_descriptor_response.file_descriptor_proto
    return [FileDescriptorProto.FromString(file).name for file in files]


def test_services_are_listed(ask) -> None:
    services = ask(list_services="*").list_services_response.service
    assert [service.name for service in services] == ["callmethod.testing.Numbers", SERVICE]


@pytest.mark.parametrize(
    "symbol",
    [
        "callmethod.testing.Numbers",
        "callmethod.testing.Numbers.twice",
        "callmethod.testing.Number",
        # Not served, but declared in a file that is.
        "callmethod.testing.Receiver",
    ],
)
def test_a_file_comes_with_all_it_imports(ask, symbol: str) -> None:
    response = ask(file_containing_symbol=symbol)
    assert names(response) == ["testing_fields.proto", "testing.proto"]


def test_a_file_by_its_name(ask) -> None:
    assert names(ask(file_by_filename="testing_fields.proto")) == ["testing_fields.proto"]
    assert names(ask(file_containing_symbol=SERVICE)) == ["grpc/reflection/v1/reflection.proto"]


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ({"file_containing_symbol": "a.B"}, "nothing is called a.B"),
        ({"file_by_filename": "a.proto"}, "no file a.proto"),
        ({"all_extension_numbers_of_type": "a.B"}, "no message a.B"),
        (
            {"file_containing_extension": {"containing_type": "callmethod.testing.Number"}},
            "callmethod.testing.Number has no extension 0",
        ),
    ],
)
def test_what_is_not_there(ask, question: dict[str, Any], told: str) -> None:
    error = ask(**question).error_response
    assert (error.error_code, error.error_message) == (5, told)


def test_what_is_not_served_is_not_told(ask) -> None:
    import game_service_pb2

    # It is in the same pool, and nobody's business.
    assert game_service_pb2.DESCRIPTOR.pool is descriptor_pool.Default()
    for question in (
        {"file_containing_symbol": "game.GameService"},
        {"file_by_filename": "game_service.proto"},
        {"all_extension_numbers_of_type": "google.protobuf.FieldOptions"},
    ):
        assert ask(**question).error_response.error_code == 5


def test_a_question_that_asks_nothing(ask) -> None:
    assert ask().error_response.error_code == callmethod.Code.INVALID_ARGUMENT.value


def test_extensions(written: Callable[..., Path]) -> None:
    text = (
        'syntax = "proto2"; package ext; message A { extensions 10 to 20; }'
        "extend A { optional int32 x = 12; optional int32 y = 11; }"
        "service S { rpc m(A) returns (A); }"
    )
    loaded = callmethod.load(written("ext.proto", text))
    server = callmethod.Server()
    server.add_service(loaded.S())
    server.add_service(reflection.service([loaded.S()]))
    with server, callmethod.Channel(server.address) as channel:
        ask = messages.ServerReflection_Stub(channel).ServerReflectionInfo
        response = ask(
            None, messages.ServerReflectionRequest(all_extension_numbers_of_type="ext.A")
        )
        numbers = response.all_extension_numbers_response
        assert (numbers.base_type_name, list(numbers.extension_number)) == ("ext.A", [11, 12])
        which = {"containing_type": "ext.A", "extension_number": 12}
        request = messages.ServerReflectionRequest(file_containing_extension=which)
        assert names(ask(None, request)) == ["ext.proto"]


def test_it_stands_beside_one_service_that_indexed_calls_mean(server_factory) -> None:
    from game_service_pb2 import GameService

    server = callmethod.Server()
    server.add_service(GameService())
    server.add_service(callmethod.reflection.service(server))
    with server:
        assert server.address


@pytest.mark.parametrize("wrong", [[3], [object()]])
def test_what_is_no_service(wrong: list[Any]) -> None:
    with pytest.raises(TypeError, match="is no service"):
        reflection.service(wrong)
