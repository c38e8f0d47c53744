"""Writes inputs to start fuzzing from, one folder a target: the golden frames of tests/vectors.

Usage: fuzz_seeds.py FOLDER

Each input begins with the bytes by which its target chooses the circumstances, see
`fuzz/fuzz_targets/`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

VECTORS = Path(__file__).parent.parent / "tests" / "vectors"
LARGEST = 8 * 1024
PROTOCOLS = {"baidu_std": "baidu_std", "hulu_pbrpc": "hulu", "sofa_pbrpc": "sofa"}
# What the first byte of an input says to whom.
CALLS, REPLIES = 0, 1
GZIP, ZLIB = 2, 3


def frames(protocol: str) -> Iterator[tuple[str, bytes]]:
    """Who sent what, of all vectors of one of brpc's protocols."""
    for path in sorted((VECTORS / protocol).rglob("*.json")):
        for frame in json.loads(path.read_text()).get("frames", []):
            yield frame["from"], bytes.fromhex(frame["hex"])


def layout_bytes(layout: dict[str, Any]) -> bytes:
    """A layout as the target `indexed` is told it."""
    choice = int(layout["byte_order"] == "big")
    choice |= ["after_length", "whole_frame", "body_only"].index(layout["length_covers"]) << 1
    choice |= ["none", "by_id", "in_order"].index(layout["reply"]) << 3
    choice |= 3 << 5
    widths = [4, 2, 8].index(layout["length_width"])
    widths |= [2, 4, 0].index(layout["index_width"]) << 2
    widths |= [0, 4, 8].index(layout["id_width"]) << 4
    return bytes([choice, widths])


def indexed() -> Iterator[tuple[bytes, int, bytes]]:
    """Layout, kind and bytes of all indexed frames."""
    for path in sorted((VECTORS / "indexed").glob("*.json")):
        vector = json.loads(path.read_text())
        for key, kind in (("calls", CALLS), ("replies", REPLIES)):
            for frame in vector.get(key, []):
                yield layout_bytes(vector["layout"]), kind, bytes.fromhex(frame["frame"])


def seeds() -> Iterator[tuple[str, bytes]]:
    """The target and the input of each seed."""
    for protocol, target in PROTOCOLS.items():
        for sender, frame in frames(protocol):
            yield target, bytes([CALLS if sender == "client" else REPLIES]) + frame
            yield "sniff", b"\0" + frame[:16]
            yield "server" if sender == "client" else "channel", b"\0" + frame
    for layout, kind, frame in indexed():
        yield "indexed", layout + bytes([kind]) + frame
        yield "sniff", b"\0" + frame[:16]
        yield "server" if kind == CALLS else "channel", bytes([2]) + frame
    message = b"callmethod " * 40
    gzip = zlib.compressobj(wbits=31)
    yield "compress", bytes([GZIP]) + gzip.compress(message) + gzip.flush()
    yield "compress", bytes([ZLIB]) + zlib.compress(message)
    # Raw snappy: the length, then a literal of 3 bytes.
    yield "compress", b"\x01\x03\x08abc"


def main() -> None:
    """Writes them all."""
    folder = Path(sys.argv[1])
    for target, data in seeds():
        if len(data) <= LARGEST:
            (folder / target).mkdir(parents=True, exist_ok=True)
            name = hashlib.sha256(data).hexdigest()[:16]
            (folder / target / name).write_bytes(data)


if __name__ == "__main__":
    main()
