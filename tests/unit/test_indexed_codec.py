"""The codec of the indexed protocol without a socket.

The golden frames both ways; any split of any stream gives the same frames; any bytes at all give
frames or one `WireError`, as an independent decoder of a few lines says; a sender's own mistakes.
"""

from __future__ import annotations

import itertools
import json
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import callmethod
from callmethod import Frame, Indexed, IndexedCodec, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import ModuleType

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "indexed").glob("*.json"))
MESSAGE_LIMIT = 4 * 1024 * 1024

every_file = pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)


@pytest.fixture(scope="session")
def model(load_file: Callable[[str], ModuleType]) -> ModuleType:
    """The generator of the golden frames: struct and nothing else."""
    return load_file("vectors/make_indexed.py")


def load(path: Path) -> tuple[Indexed, dict[str, Any]]:
    document = json.loads(path.read_text())
    return Indexed(**document["layout"]), document


def golden(document: dict[str, Any], receives: str) -> tuple[bytes, list[Frame]]:
    """The golden frames of one direction as one stream, and what it decodes to."""
    rows = document[receives]
    frames = [Frame(index=r.get("index"), id=r["id"], body=bytes.fromhex(r["body"])) for r in rows]
    return b"".join(bytes.fromhex(row["frame"]) for row in rows), frames


def directions(document: dict[str, Any]) -> list[str]:
    return ["calls", "replies"] if document["replies"] else ["calls"]


def feed_all(codec: IndexedCodec, pieces: Iterable[bytes]) -> list[Frame]:
    frames = [frame for piece in pieces for frame in codec.feed(piece)]
    codec.finish()
    return frames


def cut(stream: bytes, points: Iterable[int]) -> list[bytes]:
    """The stream in pieces, cut at the given places (taken modulo its length)."""
    edges = sorted({0, len(stream), *(point % (len(stream) + 1) for point in points)})
    return [stream[a:b] for a, b in itertools.pairwise(edges)]


# Golden frames


@every_file
def test_golden_calls_are_encoded(path: Path) -> None:
    protocol, document = load(path)
    codec = IndexedCodec(protocol)
    for row in document["calls"]:
        assert (
            codec.encode(row["index"], bytes.fromhex(row["body"]), row["id"]).hex() == row["frame"]
        )


@every_file
def test_golden_replies_are_encoded(path: Path) -> None:
    protocol, document = load(path)
    codec = IndexedCodec(protocol)
    for row in document["replies"]:
        assert codec.encode_reply(bytes.fromhex(row["body"]), row["id"]).hex() == row["frame"]


@every_file
def test_golden_streams_are_decoded_in_any_split(path: Path) -> None:
    protocol, document = load(path)
    for receives in directions(document):
        stream, frames = golden(document, receives)
        for size in (len(stream), 1, 2, 3, 7, 64):
            pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
            assert feed_all(IndexedCodec(protocol, receives=receives), pieces) == frames, size


@every_file
def test_an_empty_piece_changes_nothing(path: Path) -> None:
    protocol, document = load(path)
    stream, frames = golden(document, "calls")
    half = len(stream) // 2
    assert feed_all(IndexedCodec(protocol), [b"", stream[:half], b"", stream[half:], b""]) == frames


@every_file
def test_bad_streams_are_refused_with_their_reason(path: Path) -> None:
    protocol, document = load(path)
    for row in document["bad"]:
        stream = bytes.fromhex(row["stream"])
        for pieces in ([stream], [stream[at : at + 1] for at in range(len(stream))]):
            codec = IndexedCodec(protocol, receives=row["receives"])
            with pytest.raises(WireError) as caught:
                assert feed_all(codec, pieces) == []
            assert caught.value.reason == row["reason"], row
            assert caught.value.frames == ()


@every_file
def test_frames_before_a_bad_one_are_not_lost(path: Path) -> None:
    protocol, document = load(path)
    for row in document["bad"]:
        good, frames = golden(document, row["receives"])
        codec = IndexedCodec(protocol, receives=row["receives"])
        if row["reason"] == "truncated":
            assert codec.feed(good + bytes.fromhex(row["stream"])) == frames
            with pytest.raises(WireError):
                codec.finish()
            continue
        with pytest.raises(WireError) as caught:
            codec.feed(good + bytes.fromhex(row["stream"]))
        assert caught.value.frames == tuple(frames)
        with pytest.raises(WireError):
            codec.feed(good)


# Any layout, any split, any bytes

LAYOUTS = st.fixed_dictionaries(
    {
        "byte_order": st.sampled_from(["little", "big"]),
        "length_width": st.sampled_from([2, 4, 8]),
        "length_covers": st.sampled_from(["after_length", "whole_frame", "body_only"]),
        "index_width": st.sampled_from([0, 2, 4]),
        "id_width": st.sampled_from([0, 4, 8]),
        "reply": st.sampled_from(["none", "by_id", "in_order"]),
        "max_length": st.sampled_from([None, 40, 300]),
    }
).filter(lambda layout: layout["reply"] != "by_id" or layout["id_width"] > 0)
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@st.composite
def streams(draw: st.DrawFn) -> tuple[dict[str, Any], list[tuple[int, int | None, bytes]]]:
    """A layout, and calls that it can carry."""
    layout = draw(LAYOUTS)
    room = min(layout["max_length"] or 100, 100) - layout["index_width"] - layout["id_width"]
    index = st.integers(0, 256 ** layout["index_width"] - 1)
    ids = st.integers(0, 256 ** layout["id_width"] - 1) if layout["id_width"] else st.none()
    return layout, draw(st.lists(st.tuples(index, ids, st.binary(max_size=room)), max_size=8))


@given(case=streams(), points=CUTS)
def test_calls_of_any_layout_in_any_split(
    model: ModuleType, case: tuple[dict[str, Any], Any], points: list[int]
) -> None:
    layout, calls = case
    protocol = Indexed(**layout)
    encoder = IndexedCodec(protocol)
    stream = b"".join(model.call_frame(layout, index, id_, body) for index, id_, body in calls)
    assert b"".join(encoder.encode(index, body, id_) for index, id_, body in calls) == stream
    frames = [Frame(index=index, id=id_, body=body) for index, id_, body in calls]
    for pieces in (
        [stream],
        [stream[at : at + 1] for at in range(len(stream))],
        cut(stream, points),
    ):
        assert feed_all(IndexedCodec(protocol), pieces) == frames


@given(case=streams().filter(lambda case: case[0]["reply"] != "none"), points=CUTS)
def test_replies_of_any_layout_in_any_split(
    model: ModuleType, case: tuple[dict[str, Any], Any], points: list[int]
) -> None:
    layout, calls = case
    protocol = Indexed(**layout)
    encoder = IndexedCodec(protocol)
    stream = b"".join(model.reply_frame(layout, id_, body) for _, id_, body in calls)
    assert b"".join(encoder.encode_reply(body, id_) for _, id_, body in calls) == stream
    frames = [Frame(index=None, id=id_, body=body) for _, id_, body in calls]
    for pieces in (
        [stream],
        [stream[at : at + 1] for at in range(len(stream))],
        cut(stream, points),
    ):
        assert feed_all(IndexedCodec(protocol, receives="replies"), pieces) == frames


def reference(layout: dict[str, Any], receives: str, stream: bytes) -> tuple[list[Frame], str]:
    """An independent decoder: the frames of a whole stream, and why it ended ("" when well)."""
    order = "<" if layout["byte_order"] == "little" else ">"
    width, id_width = layout["length_width"], layout["id_width"]
    index_width = layout["index_width"] if receives == "calls" else 0
    formats = {0: "", 2: "H", 4: "I", 8: "Q"}
    header = order + formats[id_width] + formats[index_width]
    frames: list[Frame] = []
    at = 0
    while at < len(stream):
        if len(stream) - at < width:
            return frames, "truncated"
        (length,) = struct.unpack_from(order + formats[width], stream, at)
        if layout["length_covers"] == "whole_frame":
            length -= width
        elif layout["length_covers"] == "body_only":
            length += id_width + index_width
        if length < id_width + index_width:
            return frames, "length_below_header"
        if length > (layout["max_length"] or MESSAGE_LIMIT):
            return frames, "length_above_limit"
        frame = stream[at + width : at + width + length]
        if len(frame) < length:
            return frames, "truncated"
        fields = list(struct.unpack_from(header, frame))
        id_ = fields.pop(0) if id_width else None
        index = (fields.pop(0) if index_width else 0) if receives == "calls" else None
        frames.append(Frame(index=index, id=id_, body=frame[id_width + index_width :]))
        at += width + length
    return frames, ""


@given(
    layout=LAYOUTS,
    receives=st.sampled_from(["calls", "replies"]),
    stream=st.one_of(
        st.binary(max_size=300),
        # Bytes that are small numbers now and then: short frames in every layout.
        st.lists(st.sampled_from([0, 0, 0, 1, 2, 4, 9, 16, 255]), max_size=300).map(bytes),
    ),
    points=CUTS,
)
def test_any_bytes_give_frames_or_a_wire_error(
    layout: dict[str, Any], receives: str, stream: bytes, points: list[int]
) -> None:
    if layout["reply"] == "none":
        receives = "calls"
    expected = reference(layout, receives, stream)
    for pieces in (
        [stream],
        [stream[at : at + 1] for at in range(len(stream))],
        cut(stream, points),
    ):
        codec = IndexedCodec(Indexed(**layout), receives=receives)
        frames: list[Frame] = []
        reason = ""
        try:
            for piece in pieces:
                frames += codec.feed(piece)
        except WireError as error:
            frames += error.frames
            reason = error.reason
            with pytest.raises(WireError):
                codec.feed(b"")
        else:
            try:
                codec.finish()
            except WireError as error:
                reason = error.reason
        assert (frames, reason) == expected


# Limits


@pytest.mark.parametrize("limit", [None, 100, 65536])
@pytest.mark.parametrize("covers", ["after_length", "whole_frame", "body_only"])
def test_limit_at_minus_one_zero_and_plus_one(
    model: ModuleType, limit: int | None, covers: str
) -> None:
    layout = {**model.DEFAULTS, "length_covers": covers, "max_length": limit}
    protocol = Indexed(**layout)
    for over in (-1, 0):
        body = b"\x5a" * ((limit or MESSAGE_LIMIT) - 2 + over)
        frame = model.call_frame(layout, 0, None, body)
        assert IndexedCodec(protocol).encode(0, body) == frame
        assert IndexedCodec(protocol).feed(frame) == [Frame(index=0, id=None, body=body)]
    body += b"\x5a"
    with pytest.raises(ValueError, match=str(limit or MESSAGE_LIMIT)):
        IndexedCodec(protocol).encode(0, body)
    with pytest.raises(WireError) as caught:  # on the length alone, before any of the rest came
        IndexedCodec(protocol).feed(model.call_frame(layout, 0, None, body)[:4])
    assert caught.value.reason == "length_above_limit"


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_message_limit_holds_where_the_layout_names_none(over: int) -> None:
    codec = IndexedCodec(Indexed(), message_limit=50)
    frame = struct.pack("<IH", 50 + over, 1) + bytes(48 + over)
    if over <= 0:
        assert codec.feed(frame) == [Frame(index=1, id=None, body=bytes(48 + over))]
        assert codec.encode(1, bytes(48 + over)) == frame
        return
    with pytest.raises(WireError, match="50"):
        codec.feed(frame)
    with pytest.raises(ValueError, match="50"):
        codec.encode(1, bytes(49))


def test_length_below_header_at_minus_one_and_zero() -> None:
    assert IndexedCodec().feed(b"\x02\0\0\0\x05\0") == [Frame(index=5, id=None, body=b"")]
    with pytest.raises(WireError) as caught:
        IndexedCodec().feed(b"\x01\0\0\0")
    assert caught.value.reason == "length_below_header"


def test_a_wire_error_says_the_number_and_the_limit() -> None:
    with pytest.raises(WireError) as caught:
        IndexedCodec(Indexed(max_length=1000)).feed(struct.pack("<I", 5_000_000))
    assert "5000000" in str(caught.value)
    assert "1000" in str(caught.value)


def test_a_stream_that_ends_between_frames_is_whole() -> None:
    codec = IndexedCodec()
    codec.finish()
    codec = IndexedCodec()
    codec.feed(codec.encode(0, b"x"))
    codec.finish()


# A sender's own mistakes


def refuse(call: Callable[[], object]) -> None:
    """The caller is told that the argument was wrong; nobody blames the wire."""
    with pytest.raises(ValueError) as caught:
        call()
    assert not isinstance(caught.value, WireError)
    assert str(caught.value)


@pytest.mark.parametrize("index", [65536, 65537, 2**31, 2**32, 2**64, -1])
def test_an_index_that_two_bytes_cannot_carry(index: int) -> None:
    assert IndexedCodec().encode(65535, b"") == b"\x02\0\0\0\xff\xff"
    refuse(lambda: IndexedCodec().encode(index, b""))


@pytest.mark.parametrize(("width", "index"), [(4, 2**32), (4, -1), (0, 1), (0, 2**32), (0, -1)])
def test_an_index_that_the_width_cannot_carry(width: Any, index: int) -> None:
    refuse(lambda: IndexedCodec(Indexed(index_width=width)).encode(index, b""))


@pytest.mark.parametrize(
    ("width", "id_"),
    [(4, 2**32), (4, 2**64), (4, -1), (8, 2**64), (8, -1), (4, None), (8, None), (0, 0), (0, 7)],
)
def test_an_id_out_of_range_missing_or_superfluous(width: Any, id_: int | None) -> None:
    codec = IndexedCodec(Indexed(id_width=width, reply="in_order"))
    refuse(lambda: codec.encode(0, b"", id_))
    refuse(lambda: codec.encode_reply(b"", id_))


def test_a_body_over_what_two_bytes_of_length_can_say() -> None:
    codec = IndexedCodec(Indexed(length_width=2, reply="in_order"))
    assert codec.encode(0, bytes(65533))[:2] == b"\xff\xff"
    refuse(lambda: codec.encode(0, bytes(65534)))
    assert codec.encode_reply(bytes(65535))[:2] == b"\xff\xff"
    refuse(lambda: codec.encode_reply(bytes(65536)))
    whole = IndexedCodec(Indexed(length_width=2, length_covers="whole_frame"))
    assert whole.encode(0, bytes(65531))[:2] == b"\xff\xff"
    refuse(lambda: whole.encode(0, bytes(65532)))
    body = IndexedCodec(Indexed(length_width=2, length_covers="body_only"))
    assert body.encode(0, bytes(65535))[:2] == b"\xff\xff"
    refuse(lambda: body.encode(0, bytes(65536)))


def test_a_mistake_leaves_the_codec_usable() -> None:
    codec = IndexedCodec()
    refuse(lambda: codec.encode(65536, b""))
    assert codec.feed(codec.encode(3, b"abc")) == [Frame(index=3, id=None, body=b"abc")]


def test_a_codec_refuses_what_it_cannot_receive() -> None:
    refuse(lambda: IndexedCodec(receives="requests"))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        IndexedCodec().encode(0, "text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        IndexedCodec().feed("text")  # type: ignore[arg-type]


def test_the_wire_error_is_a_value_error() -> None:
    assert issubclass(WireError, ValueError)
    assert not issubclass(WireError, callmethod.RpcException)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_every_kind_of_bytes_is_taken(kind: Any) -> None:
    codec = IndexedCodec(Indexed(id_width=4, reply="by_id"))
    frame = codec.encode(1, kind(b"abc"), 7)
    assert codec.feed(kind(frame)) == [Frame(1, 7, b"abc")]
    assert codec.encode_reply(kind(b"abc"), 7).endswith(b"abc")


@pytest.mark.parametrize("wrong", ["text", 5, None])
def test_what_is_no_bytes_is_refused_by_name(wrong: Any) -> None:
    codec = IndexedCodec()
    with pytest.raises(TypeError, match="data must be bytes, not"):
        codec.feed(wrong)
    with pytest.raises(TypeError, match="body must be bytes, not"):
        codec.encode(1, wrong)
