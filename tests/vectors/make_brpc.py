"""Write golden frames of baidu_std, hulu_pbrpc and sofa_pbrpc into the folders of those names.

Independent of callmethod and of every protobuf library, see brpc_wire.py, so that every file can be
checked by hand. Frames that a real brpc exchanged stand beside them in `recorded/`, in the same
form. Run it after a change here and commit what it wrote; a test compares.

    python tests/vectors/make_brpc.py
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

from brpc_wire import (
    LIMIT,
    META_LIMIT,
    METAS,
    Rows,
    crc32c,
    field,
    frame,
    header,
    message,
    packed,
    varint,
)

BODY = b"\x0a\x08m000000-"  # RequestMessage(message="m000000-")
ATTACHMENT = bytes(range(40))
CALLED = {"service_name": "game.GameService", "method_name": "connect_server"}
# What brpc writes into every meta of baidu_std.
ALWAYS = {"compress_type": 0, "content_type": 0, "checksum_type": 0, "checksum_value_hex": ""}
CALL = {"request": CALLED, "correlation_id": 4294967298, **ALWAYS}
REPLY = {"response": {"error_code": 0}, "correlation_id": 4294967298, **ALWAYS}
TRACE = {"log_id": 7, "trace_id": -1, "span_id": 2**63 - 1, "parent_span_id": -(2**63)}
# Numbers that brpc has set aside, a later field of each wire type, a group.
UNKNOWN = (
    field(100, b"x") + field(101, 5) + field(999, 2**64 - 1)
    + varint(998 << 3 | 5) + b"abcd" + varint(997 << 3 | 1) + b"abcdefgh"
    + varint(996 << 3 | 3) + field(1, b"in a group") + varint(996 << 3 | 4)
)  # fmt: skip
NOT_UTF8 = b"\xff\xfe".hex()


def baidu_calls(rows: Rows) -> None:
    """Calls of baidu_std."""

    def call(meta: dict[str, Any], *, sent: bool = True, **request: Any) -> None:
        rows.add("client", {**CALL, **meta, "request": {**CALLED, **request}}, BODY, sent=sent)

    rows.add("client", CALL, BODY, sent=True)
    rows.add("client", CALL, sent=True)
    rows.add("client", {**CALL, "attachment_size": 40}, BODY, ATTACHMENT, sent=True)
    rows.add("client", {**CALL, "attachment_size": 40}, b"", ATTACHMENT, sent=True)
    for number in (0, 1, -1, -(2**63), 2**63 - 1):
        call({"correlation_id": number})
    call({}, **TRACE)
    call({}, request_id="a-b-c", timeout_ms=1)
    call({}, timeout_ms=2**31 - 1)
    call({"authentication_data_hex": "00ff10"})
    call({"user_fields": [["z", "1"], ["a", ""], ["", "ä"]]})
    everything = {"authentication_data": "me", "user_fields": [["k", "v"]]}
    call(everything, **TRACE, request_id="r", timeout_ms=5)
    # What a receiver takes and we do not send.
    rows.add("client", {"request": CALLED}, BODY)
    call({}, sent=False, timeout_ms=0)
    call({}, sent=False, timeout_ms=-5)
    call({}, sent=False, request_id="")
    call({"chunk_info": {"stream_id": 1, "chunk_id": 2}}, sent=False)
    call({"attachment_size": 0}, sent=False)
    call({"attachment_size": -1}, sent=False)
    call({"authentication_data": ""}, sent=False)
    call({"content_type": 99}, sent=False)
    call({"checksum_value_hex": "01020304"}, sent=False)
    call({"checksum_type": 7, "checksum_value_hex": "01"}, sent=False)
    call({"checksum_with_attachment": True}, sent=False)
    twice = {"user_fields": [["a", "1"], ["b", "2"], ["a", "3"]]}
    call({**twice, "user_fields_read": [["b", "2"], ["a", "3"]]}, sent=False)
    rows.add("client", CALL, BODY, more=UNKNOWN)
    names = {"service_name_hex": NOT_UTF8, "method_name_hex": NOT_UTF8, "request_id_hex": NOT_UTF8}
    rows.add("client", {**CALL, "request": names}, BODY)
    rows.add("client", ALWAYS, BODY)
    rows.add("client", {}, b"")
    rows.add("client", {**CALL, "request": {"service_name": "", "method_name": ""}}, BODY)


def baidu_replies(rows: Rows) -> None:
    """Answers of baidu_std."""
    rows.add("server", REPLY, BODY, sent=True)
    rows.add("server", REPLY, sent=True)
    rows.add("server", {**REPLY, "attachment_size": 40}, BODY, ATTACHMENT, sent=True)
    rows.add("server", {**REPLY, "user_fields": [["k", "v"]]}, BODY, sent=True)
    for code, text in ((1003, "x"), (-7, "y"), (5005, "ä"), (2**31 - 1, "z")):
        failed = {**REPLY, "response": {"error_code": code, "error_text": text}}
        rows.add("server", failed, sent=True)
        rows.add("server", {**failed, "user_fields": [["k", "v"]]}, sent=True)
    rows.add("server", {**REPLY, "response": {"error_code": 1004}}, sent=True)
    # What a receiver takes and we do not send.
    rows.add("server", {"correlation_id": 5}, BODY)
    rows.add("server", {}, BODY)
    rows.add("server", {**REPLY, "response": {}}, BODY)
    rows.add("server", {**REPLY, "response": {"error_text": "fine"}}, BODY)
    rows.add("server", REPLY, BODY, more=UNKNOWN)
    failed = {"response": {"error_code": 1, "error_text_hex": NOT_UTF8}, "correlation_id": -2}
    rows.add("server", failed)
    rows.add("server", {**failed, "compress_type": 9, "attachment_size": 99}, BODY)
    rows.add("server", {**failed, "attachment_size": 3}, BODY)


def baidu_messages(rows: Rows) -> None:
    """Compressed and protected messages of baidu_std, and faulty ones."""
    for kind, number in (("snappy", 1), ("gzip", 2), ("zlib", 3)):
        for sender, meta in (("client", CALL), ("server", REPLY)):
            wire = packed(kind, BODY)
            rows.add(sender, {**meta, "compress_type": number}, BODY, wire=wire, sent=True)
            value = {"checksum_type": 1, "checksum_value_hex": crc32c(wire)}
            protected = {**meta, **value, "compress_type": number}
            rows.add(sender, protected, BODY, wire=wire, sent=True)
    for sender, meta in (("client", CALL), ("server", REPLY)):
        one = {**meta, "checksum_type": 1, "checksum_value_hex": crc32c(BODY)}
        both = one | {"checksum_value_hex": crc32c(BODY + ATTACHMENT), "attachment_size": 40}
        rows.add(sender, one, BODY, sent=True)
        rows.add(sender, {**one, "checksum_value_hex": crc32c(b"")}, sent=True)
        rows.add(sender, {**one, "attachment_size": 40}, BODY, ATTACHMENT, sent=True)
        covered = {**both, "checksum_with_attachment": True}
        rows.add(sender, covered, BODY, ATTACHMENT, sent=True)
        rows.add(sender, {**one, "checksum_with_attachment": True}, BODY, sent=True)

        for value in ("", "00", crc32c(BODY)[:6], crc32c(BODY) + "00", crc32c(BODY + b"x")):
            rows.add(sender, {**one, "checksum_value_hex": value}, BODY, fault="checksum")
        rows.add(sender, both, BODY, ATTACHMENT, fault="checksum")
        rows.add(sender, covered, BODY, ATTACHMENT[::-1], fault="checksum")
        for number in (4, 5, -1, 2**31 - 1, -(2**31)):
            rows.add(sender, {**meta, "compress_type": number}, BODY, fault="compression")
        for number in (1, 2, 3):
            rows.add(sender, {**meta, "content_type": number}, BODY, fault="content")
        for size in (len(BODY) + 1, 2**31 - 1):
            rows.add(sender, {**meta, "attachment_size": size}, BODY, fault="attachment")
        # The first fault is named.
        wrong = {**one, "compress_type": 4, "content_type": 1, "checksum_value_hex": "78"}
        rows.add(sender, {**wrong, "attachment_size": 99}, BODY, fault="attachment")
        rows.add(sender, wrong, BODY, fault="checksum")
        rows.add(sender, {**meta, "compress_type": 4, "content_type": 1}, BODY, fault="compression")


def hulu_frames(rows: Rows) -> None:
    """Calls and answers of hulu_pbrpc."""
    bare = {"service_name": "GameService", "method_index": 0}
    call = {**bare, "compress_type": 0, "correlation_id": 4294967298}
    reply = {"error_code": 0, "correlation_id": 5, "compress_type": 0}
    for number in (0, 1, -1, -(2**63), 2**63 - 1):
        rows.add("client", {**call, "correlation_id": number}, BODY, sent=True)
        rows.add("server", {**reply, "correlation_id": number}, BODY, sent=True)
    for sender, meta in (("client", call), ("server", reply)):
        sized = {**meta, "user_message_size": len(BODY)}
        rows.add(sender, meta, sent=True)
        rows.add(sender, sized, BODY, ATTACHMENT, sent=True)
        rows.add(sender, {**meta, "user_message_size": 0}, b"", ATTACHMENT, sent=True)
        for kind, number in (("snappy", 1), ("gzip", 2), ("zlib", 3)):
            wire = packed(kind, BODY)
            rows.add(sender, {**meta, "compress_type": number}, BODY, wire=wire, sent=True)
        # What a receiver takes and we do not send.
        rows.add(sender, sized, BODY)
        rows.add(sender, meta, BODY, more=UNKNOWN)
        for size in (len(BODY) + 1, 2**31 - 1, -1):
            rows.add(sender, {**meta, "user_message_size": size}, BODY)
        for number in (4, -1, 2**31 - 1):
            rows.add(sender, {**meta, "compress_type": number}, BODY, fault="compression")
    rows.add("client", {**call, **TRACE, "credential_data_hex": "00ff"}, BODY, sent=True)
    rows.add("client", {**call, "method_index": 2**31 - 1}, BODY, sent=True)
    rows.add("client", {**call, "method_index": -1}, BODY)
    rows.add("client", {**call, "chuck_info": {"stream_id": 1, "chunk_id": 2}}, BODY)
    rows.add("client", {**call, "request_talk_type": 1, "user_data": "x", "method_name": "y"}, BODY)
    rows.add("client", {"service_name_hex": NOT_UTF8, "method_index": 0}, BODY)
    rows.add("client", bare, BODY)
    rows.add("server", {}, BODY)
    for code, text in ((1002, "x"), (-1, "y"), (5005, "ä")):
        failed = {**reply, "error_code": code, "error_text": text}
        rows.add("server", failed, sent=True)
        rows.add("server", {**failed, "user_message_size": 3, "compress_type": 9}, BODY)
    no_index = message(METAS["hulu_pbrpc", "client"], {"service_name": "GameService"})
    no_name = message(METAS["hulu_pbrpc", "client"], {"method_index": 0})
    rows.refuse("client", "bad_meta", frame("hulu_pbrpc", no_index), frame("hulu_pbrpc", no_name))


def sofa_frames(rows: Rows) -> None:
    """Calls and answers of sofa_pbrpc."""
    name = "game.GameService.connect_server"
    call = {"type": 0, "sequence_id": 4294967298, "method": name, "compress_type": 0}
    reply = {"type": 1, "sequence_id": 5, "failed": False, "error_code": 0, "compress_type": 0}
    for number in (0, 1, 2**63, 2**64 - 1):
        rows.add("client", {**call, "sequence_id": number}, BODY, sent=True)
        rows.add("server", {**reply, "sequence_id": number}, BODY, sent=True)
    for sender, meta in (("client", call), ("server", reply)):
        rows.add(sender, meta, sent=True)
        for kind, number in (("gzip", 1), ("zlib", 2), ("snappy", 3)):
            wire = packed(kind, BODY)
            rows.add(sender, {**meta, "compress_type": number}, BODY, wire=wire, sent=True)
        # What a receiver takes and we do not send.
        rows.add(sender, meta, BODY, more=UNKNOWN.replace(field(100, b"x"), b""))
        rows.add(sender, {**meta, "type": 1 - meta["type"]}, BODY)
        rows.add(sender, {"type": meta["type"], "sequence_id": 1}, BODY)
        for number in (4, 5, -1):
            rows.add(sender, {**meta, "compress_type": number}, BODY, fault="compression")
        table = METAS["sofa_pbrpc", sender]
        for bad in ({"sequence_id": 1}, {"type": meta["type"]}, {"type": 2, "sequence_id": 1}):
            rows.refuse(sender, "bad_meta", frame("sofa_pbrpc", message(table, bad)))
        sums = [(20, 5, 26), (20, 5, 24), (20, 2**64 - 10, 10), (0, 0, 1)]
        rows.refuse(sender, "bad_sizes", *(b"SOFA" + struct.pack("<IQQ", *sum_) for sum_ in sums))
    rows.add("client", {**call, "method": "GameService.connect_server"}, BODY, sent=True)
    for name in ("connect_server", ".connect_server", "game.", "."):
        rows.add("client", {**call, "method": name}, BODY)
    rows.add("client", {**call, "expected_response_compress_type": 1}, BODY)
    for code, text in ((1002, "x"), (-1, "y"), (5005, "ä")):
        failed = {**reply, "failed": True, "error_code": code, "reason": text}
        rows.add("server", failed, sent=True)
        rows.add("server", {**failed, "failed": False, "compress_type": 9}, BODY)
    rows.add("server", {**reply, "failed": True, "reason": "who knows"}, BODY)


def refused(rows: Rows, meta: dict[str, Any]) -> None:
    """What is refused in the same way in every protocol; `meta` is that of a call."""
    protocol = rows.protocol
    whole = frame(protocol, message(METAS[protocol, "client"], meta), BODY)
    magic = whole[:4]
    for sender in ("client", "server"):
        wrong = [magic[:at] + bytes([magic[at] ^ 0x20]) + magic[at + 1 :] for at in range(4)]
        rows.refuse(sender, "bad_magic", b"X", b"\0", b"GET / HTTP/1.1", *wrong)
        above = [(10, LIMIT - 9), (0, 2**31), (0, 2**32 - 1), (META_LIMIT + 1, 0)]
        rows.refuse(sender, "length_above_limit", *(header(protocol, *sizes) for sizes in above))
        # The largest frame that is allowed, announced and never sent; a small one cut everywhere.
        largest = header(protocol, META_LIMIT, LIMIT - META_LIMIT)
        rows.refuse(sender, "truncated", largest, *(whole[:cut] for cut in range(1, len(whole))))
        for junk in (b"\xff", b"\x00\x00", field(1, b"x")[:-1], varint(1 << 3 | 7), b"\x80" * 11):
            rows.refuse(sender, "bad_meta", frame(protocol, junk))
        if protocol != "sofa_pbrpc":
            order = ">" if protocol == "baidu_std" else "<"
            for sizes in ((0, 1), (9, 10), (100, META_LIMIT)):
                rows.refuse(sender, "bad_sizes", magic + struct.pack(order + "II", *sizes))
        if protocol == "baidu_std":
            for lacking in ("service_name", "method_name"):
                half = {name: value for name, value in CALLED.items() if name != lacking}
                bad = message(METAS[protocol, sender], {**CALL, "request": half})
                rows.refuse(sender, "bad_meta", frame(protocol, bad, BODY))


def files() -> dict[str, Rows]:
    """The rows of every file, by its path."""
    made = {}
    for path, protocol, fill in (
        ("baidu_std/calls", "baidu_std", baidu_calls),
        ("baidu_std/replies", "baidu_std", baidu_replies),
        ("baidu_std/messages", "baidu_std", baidu_messages),
        ("hulu_pbrpc/frames", "hulu_pbrpc", hulu_frames),
        ("sofa_pbrpc/frames", "sofa_pbrpc", sofa_frames),
    ):
        made[path] = Rows(protocol)
        fill(made[path])
    for path in ("baidu_std/messages", "hulu_pbrpc/frames", "sofa_pbrpc/frames"):
        first = next(row for row in made[path].frames if row["from"] == "client")
        refused(made[path], first["meta"])
    return made


def write(folder: Path) -> None:
    """Write all files into `folder`."""
    for path, rows in files().items():
        protocol, _, name = path.partition("/")
        document = {
            "protocol": protocol,
            "name": name,
            "source": "made by make_brpc.py",
            "frames": rows.frames,
            "bad": rows.bad,
        }
        (folder / protocol).mkdir(exist_ok=True)
        text = json.dumps(document, indent=1) + "\n"
        (folder / f"{path}.json").write_text(text, encoding="ascii", newline="\n")


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
