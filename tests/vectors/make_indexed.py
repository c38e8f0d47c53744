"""Write the golden frames of the indexed protocol, one JSON file per layout, into `indexed/`.

Independent of callmethod: nothing but `struct` and the table of protocols/indexed.md, so that every
file can be checked by hand. Run it after a change here and commit what it wrote; a test compares.

    python tests/vectors/make_indexed.py
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes after the length field when max_length is null

DEFAULTS: dict[str, Any] = {
    "byte_order": "little",
    "length_width": 4,
    "length_covers": "after_length",
    "index_width": 2,
    "id_width": 0,
    "reply": "none",
    "max_length": None,
}

# Name of the file -> what differs from the default layout.
LAYOUTS: dict[str, dict[str, Any]] = {
    "default": {},
    "byte_order_big": {"byte_order": "big"},
    "length_width_2": {"length_width": 2},
    "length_width_8": {"length_width": 8},
    "length_covers_whole_frame": {"length_covers": "whole_frame"},
    "length_covers_body_only": {"length_covers": "body_only"},
    "index_width_4": {"index_width": 4},
    "index_width_0": {"index_width": 0},
    "id_width_4": {"id_width": 4},
    "id_width_8": {"id_width": 8},
    "reply_by_id": {"id_width": 4, "reply": "by_id"},
    "reply_by_id_8": {"id_width": 8, "reply": "by_id"},
    "reply_in_order": {"reply": "in_order"},
    "reply_in_order_with_id": {"id_width": 4, "reply": "in_order"},
    "max_length_16": {"max_length": 16},
    "max_length_0xffffff": {"max_length": 0xFFFFFF},
    # Seen in the wild: the struct formats of old peers.
    "wild_lt_I_H": {},  # pack('<I', n) + pack('<H', index)
    "wild_net_I_H": {"byte_order": "big"},  # '!I', '!H'
    "wild_net_ih_total": {"byte_order": "big", "length_covers": "whole_frame"},  # '!ih'
    "wild_net_ih_body": {"byte_order": "big", "length_covers": "body_only"},  # '!ih'
    "wild_lt_III_reply_II": {"index_width": 4, "id_width": 4, "reply": "by_id"},  # '<III', '<II'
    # Everything at once.
    "mixed_small": {
        "byte_order": "big",
        "length_width": 2,
        "length_covers": "whole_frame",
        "index_width": 0,
        "id_width": 8,
        "reply": "in_order",
        "max_length": 300,
    },
    "mixed_large": {
        "byte_order": "big",
        "length_width": 8,
        "length_covers": "body_only",
        "index_width": 4,
        "id_width": 8,
        "reply": "by_id",
    },
}

BODIES = [
    bytes.fromhex("0a086d3030303030302d"),  # RequestMessage(message="m000000-")
    b"",
    b"\x00",
    b"\x0c\x00\x00\x00\x00\x00",  # looks like a header
    bytes(range(256)),
]
INDEXES = {0: [0], 2: [0, 1, 0x0102, 0xFFFF], 4: [0, 1, 0x01020304, 0xFFFFFFFF]}
IDS = {0: [None], 4: [0, 1, 0x01020304, 0xFFFFFFFF], 8: [0, 0x0102030405060708, 2**64 - 1]}


def number(value: int, width: int, byte_order: str) -> bytes:
    """One field of the header; a field of no width is not there."""
    if width == 0:
        return b""
    order = {"little": "<", "big": ">"}[byte_order]
    return struct.pack(order + {2: "H", 4: "I", 8: "Q"}[width], value)


def announced(layout: dict[str, Any], header: int, body: int) -> int:
    """The value of the length field before `header` bytes of id and index and `body` bytes."""
    return {
        "after_length": header + body,
        "whole_frame": layout["length_width"] + header + body,
        "body_only": body,
    }[layout["length_covers"]]


def header_width(layout: dict[str, Any], receives: str) -> int:
    """Bytes between the length field and the body."""
    return int(layout["id_width"] + (layout["index_width"] if receives == "calls" else 0))


def limit(layout: dict[str, Any]) -> int:
    """The most bytes that may follow the length field."""
    return MESSAGE_LIMIT if layout["max_length"] is None else int(layout["max_length"])


def call_frame(layout: dict[str, Any], index: int, call_id: int | None, body: bytes) -> bytes:
    """[length][id][index][body]."""
    order = layout["byte_order"]
    length = announced(layout, header_width(layout, "calls"), len(body))
    return (
        number(length, layout["length_width"], order)
        + number(call_id or 0, layout["id_width"], order)
        + number(index, layout["index_width"], order)
        + body
    )


def reply_frame(layout: dict[str, Any], call_id: int | None, body: bytes) -> bytes:
    """[length][id][body]: a reply carries no index."""
    order = layout["byte_order"]
    length = announced(layout, header_width(layout, "replies"), len(body))
    return (
        number(length, layout["length_width"], order)
        + number(call_id or 0, layout["id_width"], order)
        + body
    )


def fits(layout: dict[str, Any], receives: str, body: int) -> bool:
    """Whether a body of this many bytes may be sent."""
    header = header_width(layout, receives)
    most = 256 ** layout["length_width"] - 1
    return header + body <= limit(layout) and announced(layout, header, body) <= most


def bodies(layout: dict[str, Any], receives: str) -> list[bytes]:
    """The bodies to send: the common ones that fit, and the largest that a small limit allows."""
    found = [body for body in BODIES if fits(layout, receives, len(body))]
    if limit(layout) <= 1024:
        found.append(b"\xa5" * (limit(layout) - header_width(layout, receives)))
    return found


def calls(layout: dict[str, Any]) -> list[dict[str, Any]]:
    """Golden calls: every body, and every index and id with the first of them."""
    indexes, ids = INDEXES[layout["index_width"]], IDS[layout["id_width"]]
    rows = [(indexes[0], ids[-1], body) for body in bodies(layout, "calls")]
    first = rows[0][2]
    rows += [(index, ids[0], first) for index in indexes[1:]]
    rows += [(indexes[0], call_id, first) for call_id in ids[:-1]]
    return [
        {
            "index": index,
            "id": call_id,
            "body": body.hex(),
            "frame": call_frame(layout, index, call_id, body).hex(),
        }
        for index, call_id, body in rows
    ]


def replies(layout: dict[str, Any]) -> list[dict[str, Any]]:
    """Golden replies, in layouts that have any."""
    if layout["reply"] == "none":
        return []
    ids = IDS[layout["id_width"]]
    rows = [(ids[0], body) for body in bodies(layout, "replies")]
    rows += [(call_id, rows[0][1]) for call_id in ids[1:]]
    return [
        {"id": call_id, "body": body.hex(), "frame": reply_frame(layout, call_id, body).hex()}
        for call_id, body in rows
    ]


def bad(layout: dict[str, Any], receives: str) -> list[dict[str, Any]]:
    """Streams that a receiver refuses, or that end inside a frame."""
    width, order = layout["length_width"], layout["byte_order"]
    most = 256**width - 1
    header = header_width(layout, receives)
    smallest = announced(layout, header, 0)  # what a frame with an empty body announces
    largest = announced(layout, header, limit(layout) - header)

    below = range(0 if layout["length_covers"] == "body_only" else smallest)
    rows = [(number(length, width, order), "length_below_header") for length in below]
    above = [largest + 1, 0xFFFFFF + 64, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, most]
    rows += [
        (number(length, width, order), "length_above_limit")
        for length in sorted(set(above))
        if largest < length <= most
    ]
    # The largest frame that is allowed, announced and never sent, and a small one cut everywhere.
    rows.append((number(min(largest, most), width, order), "truncated"))
    body = b"\x0a\x01x"
    if receives == "calls":
        whole = call_frame(layout, 0, IDS[layout["id_width"]][-1], body)
    else:
        whole = reply_frame(layout, IDS[layout["id_width"]][-1], body)
    rows += [(whole[:cut], "truncated") for cut in range(1, len(whole))]
    return [
        {"stream": stream.hex(), "receives": receives, "reason": reason} for stream, reason in rows
    ]


def document(name: str) -> dict[str, Any]:
    """The contents of one file."""
    layout = {**DEFAULTS, **LAYOUTS[name]}
    refused = bad(layout, "calls")
    if layout["reply"] != "none":
        refused += bad(layout, "replies")
    return {
        "name": name,
        "layout": layout,
        "calls": calls(layout),
        "replies": replies(layout),
        "bad": refused,
    }


def write(folder: Path) -> None:
    """Write all files into an existing folder."""
    for name in LAYOUTS:
        text = json.dumps(document(name), indent=2) + "\n"
        (folder / f"{name}.json").write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "indexed")
