"""`Indexed`, the options of the protocol: what they may be, and who takes them."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

import callmethod
from callmethod import Indexed

MAX_LENGTH = 512 * 1024 * 1024 - 1


def test_the_default_is_the_table_of_the_protocol_page() -> None:
    assert dataclasses.asdict(Indexed()) == {
        "byte_order": "little",
        "length_width": 4,
        "length_covers": "after_length",
        "index_width": 2,
        "id_width": 0,
        "reply": "none",
        "max_length": None,
        "coalesce": True,
        "on_bad_body": "close",
        "service": None,
    }


@pytest.mark.parametrize(
    "options",
    [
        {"byte_order": "big"},
        {"length_width": 2},
        {"length_width": 8},
        {"length_covers": "whole_frame"},
        {"length_covers": "body_only"},
        {"index_width": 4},
        {"index_width": 0},
        {"id_width": 4},
        {"id_width": 8},
        {"reply": "in_order"},
        {"reply": "in_order", "id_width": 4},
        {"reply": "by_id", "id_width": 4},
        {"reply": "by_id", "id_width": 8},
        {"max_length": 1, "index_width": 0},
        {"max_length": 0xFFFFFF},
        {"max_length": MAX_LENGTH},
        {"coalesce": False},
        {"on_bad_body": "skip"},
        {"service": "game.GameService"},
    ],
    ids=str,
)
def test_every_value_of_the_table_is_taken(options: dict[str, Any]) -> None:
    protocol = Indexed(**options)
    for name, value in options.items():
        assert getattr(protocol, name) == value


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("byte_order", "middle"),
        ("byte_order", "Little"),
        ("length_width", 0),
        ("length_width", 1),
        ("length_width", 3),
        ("length_width", -4),
        ("length_covers", "frame"),
        ("index_width", 1),
        ("index_width", 8),
        ("id_width", 2),
        ("id_width", 16),
        ("reply", "sometimes"),
        ("reply", None),
        ("max_length", 0),
        ("max_length", -1),
        ("max_length", MAX_LENGTH + 1),
        ("on_bad_body", "ignore"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_option(option: str, value: object) -> None:
    with pytest.raises(ValueError, match=option):
        Indexed(**{option: value})  # type: ignore[arg-type]


def test_replies_by_id_need_an_id() -> None:
    with pytest.raises(ValueError, match="id_width"):
        Indexed(reply="by_id")


def test_options_are_frozen_equal_by_value_and_picklable() -> None:
    protocol = Indexed(byte_order="big", max_length=100)
    with pytest.raises(dataclasses.FrozenInstanceError):
        protocol.byte_order = "little"  # type: ignore[misc]
    assert protocol == Indexed(max_length=100, byte_order="big")
    assert hash(protocol) == hash(Indexed(max_length=100, byte_order="big"))
    assert protocol != Indexed(max_length=101, byte_order="big")
    assert pickle.loads(pickle.dumps(protocol)) == protocol


def test_replace_checks_again() -> None:
    with pytest.raises(ValueError, match="length_width"):
        dataclasses.replace(Indexed(), length_width=5)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "options",
    [
        {"reply": "in_order"},
        {"reply": "in_order", "id_width": 4},
        {"reply": "by_id", "id_width": 4},
        {"reply": "by_id", "id_width": 8},
    ],
    ids=str,
)
def test_server_and_channel_take_layouts_with_replies(options: dict[str, Any]) -> None:
    protocol = Indexed(**options)
    callmethod.Server("127.0.0.1:0", protocols=[protocol])
    callmethod.Channel("127.0.0.1:9", protocol=protocol).close()
