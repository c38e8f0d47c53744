"""brpc's golden frames are what their generator writes, and what the protos describe."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import baidu_std_pb2
import hulu_pbrpc_pb2
import sofa_pbrpc_pb2

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from google.protobuf.message import Message

VECTORS = Path(__file__).parents[1] / "vectors"
PROTOCOLS = ("baidu_std", "hulu_pbrpc", "sofa_pbrpc")
MADE = [path for name in PROTOCOLS for path in sorted((VECTORS / name).glob("*.json"))]
RECORDED = [path for name in PROTOCOLS for path in sorted((VECTORS / name / "recorded").iterdir())]
METAS = {
    ("baidu_std", "client"): baidu_std_pb2.RpcMeta,
    ("baidu_std", "server"): baidu_std_pb2.RpcMeta,
    ("hulu_pbrpc", "client"): hulu_pbrpc_pb2.HuluRpcRequestMeta,
    ("hulu_pbrpc", "server"): hulu_pbrpc_pb2.HuluRpcResponseMeta,
    ("sofa_pbrpc", "client"): sofa_pbrpc_pb2.SofaRpcMeta,
    ("sofa_pbrpc", "server"): sofa_pbrpc_pb2.SofaRpcMeta,
}


def meta_bytes(protocol: str, frame: bytes) -> bytes:
    """The meta of a frame."""
    if protocol == "sofa_pbrpc":
        return frame[24 : 24 + struct.unpack("<I", frame[4:8])[0]]
    order = ">" if protocol == "baidu_std" else "<"
    return frame[12 : 12 + struct.unpack(order + "I", frame[8:12])[0]]


def differences(message: Message, meta: dict[str, Any]) -> list[str]:
    """The fields of a meta that the message has otherwise."""
    found = []
    for name, value in meta.items():
        if name == "user_fields_read":
            continue
        if name == "user_fields":
            same = dict(message.user_fields) == dict(value)
        elif isinstance(value, dict):
            found += differences(getattr(message, name), value)
            continue
        elif name.endswith("_hex"):
            same = getattr(message, name.removesuffix("_hex")).hex() == value
        else:
            there = getattr(message, name)
            same = there == (value.encode() if isinstance(there, bytes) else value)
        if not (same and (name == "user_fields" or message.HasField(name.removesuffix("_hex")))):
            found.append(name)
    return found


def is_odd(row: dict[str, Any]) -> bool:
    """Whether Python's protobuf reads a meta otherwise than brpc: strings that are no UTF-8, or a
    closed enum with a number that its proto does not know; or it is a call sent back.
    """
    meta = row["meta"]
    return (
        '_hex": "fffe"' in json.dumps(meta)
        or meta.get("content_type", 0) not in range(4)
        or ("sequence_id" in meta and meta.get("compress_type", 0) not in range(5))
        or (row["from"] == "server" and "service_name" in meta)
    )


def test_the_generator_writes_the_committed_files(
    tmp_path: Path, load_file: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(VECTORS)
    load_file("vectors/make_brpc.py").write(tmp_path)
    sys.modules.pop("brpc_wire")
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.json")}
    assert made == {path.relative_to(VECTORS): path.read_bytes() for path in MADE}


@pytest.mark.parametrize("path", MADE + RECORDED, ids=lambda path: path.stem)
def test_the_protos_describe_the_metas(path: Path) -> None:
    document = json.loads(path.read_text())
    protocol = document["protocol"]
    for row in document["frames"]:
        if is_odd(row):
            continue
        message = METAS[protocol, row["from"]]()
        message.MergeFromString(meta_bytes(protocol, bytes.fromhex(row["hex"])))
        assert differences(message, row["meta"]) == [], row["hex"]


def test_every_fault_and_every_reason_for_refusal_is_there_in_both_directions() -> None:
    faults, reasons = set(), set()
    for path in MADE:
        document = json.loads(path.read_text())
        protocol = document["protocol"]
        faults |= {(protocol, row["from"], row.get("fault")) for row in document["frames"]}
        reasons |= {(protocol, row["from"], row["reason"]) for row in document["bad"]}
    compression = [(protocol, "compression") for protocol in PROTOCOLS]
    more = [("baidu_std", fault) for fault in ("content", "checksum", "attachment")]
    for sender in ("client", "server"):
        for protocol, fault in compression + more:
            assert (protocol, sender, fault) in faults
        for protocol in PROTOCOLS:
            for reason in (
                "bad_magic",
                "length_above_limit",
                "bad_sizes",
                "bad_meta",
                "truncated",
            ):
                assert (protocol, sender, reason) in reasons
