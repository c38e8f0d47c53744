"""The golden frames are what their generator writes, and cover every value of every option."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

VECTORS = Path(__file__).parents[1] / "vectors" / "indexed"


def test_the_generator_writes_the_committed_files(
    tmp_path: Path, load_file: Callable[[str], ModuleType]
) -> None:
    load_file("vectors/make_indexed.py").write(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {path.name: path.read_bytes() for path in VECTORS.iterdir()}
    assert made == committed


def test_every_value_of_every_option_has_a_file() -> None:
    layouts = [json.loads(path.read_text())["layout"] for path in VECTORS.glob("*.json")]
    for option, values in {
        "byte_order": {"little", "big"},
        "length_width": {2, 4, 8},
        "length_covers": {"after_length", "whole_frame", "body_only"},
        "index_width": {0, 2, 4},
        "id_width": {0, 4, 8},
        "reply": {"none", "by_id", "in_order"},
    }.items():
        assert {layout[option] for layout in layouts} == values, option
    assert {layout["max_length"] is None for layout in layouts} == {True, False}


def test_every_reason_for_refusal_has_a_stream() -> None:
    found = {
        (row["receives"], row["reason"])
        for path in VECTORS.glob("*.json")
        for row in json.loads(path.read_text())["bad"]
    }
    assert found == {
        (receives, reason)
        for receives in ("calls", "replies")
        for reason in ("length_below_header", "length_above_limit", "truncated")
    }


def test_the_frame_of_the_protocol_page_is_among_them() -> None:
    calls = json.loads((VECTORS / "default.json").read_text())["calls"]
    assert {
        "index": 0,
        "id": None,
        "body": b"\x0a\x08m000000-".hex(),
        "frame": "0c00000000000a086d3030303030302d",
    } in calls
