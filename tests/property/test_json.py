"""JSON as the command line reads and writes it, against `google.protobuf.json_format`.

The two libraries are to agree on every kind of field. Where they do not, the difference is named
in docs/command_line.md and tested by itself below.
"""

from __future__ import annotations

import ctypes
import json
import math
import struct
from typing import TYPE_CHECKING, Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

import callmethod
from callmethod import _core

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = """\
  {o}double a_double = 1; {o}float a_float = 2; {o}int32 an_int32 = 3; {o}int64 an_int64 = 4;
  {o}uint32 a_uint32 = 5; {o}uint64 a_uint64 = 6; {o}sint32 a_sint32 = 7; {o}sint64 a_sint64 = 8;
  {o}fixed32 a_fixed32 = 9; {o}fixed64 a_fixed64 = 10; {o}sfixed32 a_sfixed32 = 11;
  {o}sfixed64 a_sfixed64 = 12; {o}bool a_bool = 13; {o}string a_string = 14; {o}bytes a_bytes = 15;
  {o}Colour a_colour = 16; {o}Every an_every = 17;
  repeated double doubles = 21; repeated float floats = 22; repeated sint64 longs = 23;
  repeated bool bools = 24; repeated string strings = 25; repeated bytes several_bytes = 26;
  repeated Colour colours = 27; repeated Every everys = 28;
  map<int32, string> by_int = 31; map<string, double> by_string = 32; map<bool, bytes> by_bool = 33;
  map<uint64, Colour> by_long = 34; map<sfixed32, Every> by_fixed = 35;
  oneof choice {{ string chosen_text = 41; int64 chosen_number = 42; Every chosen_every = 43;
    bool chosen_bool = 44; Colour chosen_colour = 45; }}
  {o}string odd_Name__here_ = 51; {o}int32 renamed = 52 [json_name = "another-name"];
"""

PROTO2 = (
    'syntax = "proto2"; package two; enum Colour { NONE = 0; RED = 1; GREEN = 2; BELOW = -3; }'
    "message Every {" + FIELDS.format(o="optional ") + "  optional int32 with_default = 61"
    " [default = 7]; repeated int32 packed = 62 [packed = true]; optional group Part = 63 {"
    " optional int32 x = 1; } }"
)

PROTO3 = (
    'syntax = "proto3"; package three;'
    + "".join(
        f'import "google/protobuf/{name}.proto";'
        for name in ("any", "duration", "empty", "field_mask", "struct", "timestamp", "wrappers")
    )
    + "enum Colour { NONE = 0; RED = 1; GREEN = 2; BELOW = -3; }"
    + "message Every {"
    + FIELDS.format(o="")
    + "  optional int32 present = 61; optional string present_text = 62; }"
    + "message Known {"
    "  google.protobuf.Timestamp timestamp = 1; google.protobuf.Duration duration = 2;"
    "  google.protobuf.FieldMask mask = 3; google.protobuf.Struct struct = 4;"
    "  google.protobuf.Value value = 5; google.protobuf.ListValue list = 6;"
    "  google.protobuf.Empty empty = 7; google.protobuf.BoolValue bool_value = 8;"
    "  google.protobuf.BytesValue bytes_value = 9; google.protobuf.DoubleValue double_value = 10;"
    "  google.protobuf.FloatValue float_value = 11; google.protobuf.Int32Value int32_value = 12;"
    "  google.protobuf.Int64Value int64_value = 13; google.protobuf.StringValue string_value = 14;"
    "  google.protobuf.UInt32Value uint32_value = 15;"
    "  google.protobuf.UInt64Value uint64_value = 16;"
    "  google.protobuf.Any any = 17; google.protobuf.NullValue null = 18;"
    "  repeated google.protobuf.Timestamp timestamps = 19;"
    "  map<string, google.protobuf.Duration> durations = 20;"
    "  repeated google.protobuf.Value values = 21;"
    "}"
)


class Both:
    """One message type in both libraries."""

    def __init__(self, folder: Path, text: str, name: str) -> None:
        path = folder / f"{name.replace('.', '_').lower()}.proto"
        path.write_text(text, encoding="utf-8")
        loaded = callmethod.load(path)
        self.name = name
        self.type: Any = getattr(loaded, name.rpartition(".")[2])
        self.descriptors = loaded.DESCRIPTOR.pool
        _, files = _core.compile_protos([path], [folder], comments=False)
        self.pool = _core.MessagePool(files)

    def ours(self, message: Any) -> Any:
        return json.loads(self.pool.to_json(self.name, message.SerializeToString()))

    def theirs(self, message: Any) -> Any:
        text = json_format.MessageToJson(message, descriptor_pool=self.descriptors)
        return json.loads(text)

    def read_by_us(self, text: str) -> Any:
        return self.type.FromString(self.pool.parse_json(self.name, text))

    def read_by_them(self, text: str) -> Any:
        return json_format.Parse(text, self.type(), descriptor_pool=self.descriptors)

    def agree_on(self, message: Any) -> None:
        ours, theirs = self.ours(message), self.theirs(message)
        assert alike(ours, theirs), (ours, theirs)
        for text in (json.dumps(ours), json.dumps(theirs)):
            assert same(self.read_by_us(text), message), text
            assert same(self.read_by_them(text), message), text


def alike(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, numbers as numbers: 1.0 and 1 are.

    So are two numbers that are one `float`, of which either library may write more digits; whether
    all digits of a `double` are there, reading them back shows.
    """
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float) or isinstance(other, float):
        narrow = ctypes.c_float(one).value
        return one == other or (math.isfinite(narrow) and narrow == ctypes.c_float(other).value)
    return type(one) is type(other) and one == other


def same(one: Any, other: Any) -> bool:
    # By bytes: a NaN is not equal to itself.
    return one.SerializeToString(deterministic=True) == other.SerializeToString(deterministic=True)


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("two"), PROTO2, "two.Every")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("three"), PROTO3, "three.Every")


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return Both(tmp_path_factory.mktemp("known"), PROTO3, "three.Known")


TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
# One NaN only: JSON has one. One zero only: see the last tests.
ZERO = 0.0
DOUBLES = st.floats(allow_nan=False).map(ZERO.__add__) | st.just(math.nan)
# Without the largest one, which is written as more than it is: see there, too.
LARGEST_FLOAT = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
FLOATS = st.floats(width=32, allow_nan=False).filter(lambda value: abs(value) != LARGEST_FLOAT).map(
    ZERO.__add__
) | st.just(math.nan)


def signed(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def unsigned(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "DOUBLE": DOUBLES,
    "FLOAT": FLOATS,
    "BOOL": st.booleans(),
    "STRING": TEXT,
    "BYTES": st.binary(max_size=8),
    **{kind: signed(32) for kind in ("INT32", "SINT32", "SFIXED32")},
    **{kind: signed(64) for kind in ("INT64", "SINT64", "SFIXED64")},
    **{kind: unsigned(32) for kind in ("UINT32", "FIXED32")},
    **{kind: unsigned(64) for kind in ("UINT64", "FIXED64")},
}
KINDS = {
    1: "DOUBLE", 2: "FLOAT", 3: "INT64", 4: "UINT64", 5: "INT32", 6: "FIXED64", 7: "FIXED32",
    8: "BOOL", 9: "STRING", 12: "BYTES", 13: "UINT32", 15: "SFIXED32", 16: "SFIXED64",
    17: "SINT32", 18: "SINT64",
}  # fmt: skip


def fill(draw: Any, message: Any, depth: int) -> None:  # noqa: C901  (one case for each kind)
    """Set some of the fields."""
    fields = [*message.DESCRIPTOR.fields]
    for field in draw(st.lists(st.sampled_from(fields), max_size=6, unique_by=id)):
        place = getattr(message, field.name)
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            value = entry.fields_by_name["value"]
            for key in draw(st.lists(scalar(entry.fields_by_name["key"]), max_size=2)):
                if value.message_type is None:
                    place[key] = draw(scalar(value))
                elif depth:
                    fill(draw, place[key], depth - 1)
        elif entry is not None:
            if depth and hasattr(place, "add"):
                for _ in range(draw(st.integers(1, 2))):
                    fill(draw, place.add(), depth - 1)
            elif depth:
                place.SetInParent()
                fill(draw, place, depth - 1)
        elif hasattr(place, "extend"):
            place.extend(draw(st.lists(scalar(field), max_size=3)))
        else:
            setattr(message, field.name, draw(scalar(field)))


def scalar(field: Any) -> st.SearchStrategy[Any]:
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    return SCALARS[KINDS[field.type]]


@given(data=st.data())
def test_proto2(two: Both, data: st.DataObject) -> None:
    message = two.type()
    fill(data.draw, message, 2)
    two.agree_on(message)


@given(data=st.data())
def test_proto3(three: Both, data: st.DataObject) -> None:
    message = three.type()
    fill(data.draw, message, 2)
    three.agree_on(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
SECONDS = st.integers(-62135596800, 253402300799)
NANOS = st.sampled_from([0, 1, 10, 999, 1_000, 500_000, 1_000_000, 999_999_999]) | st.integers(
    0, 999_999_999
)
PATHS = st.lists(st.sampled_from(["a", "foo_bar", "foo_bar.baz_qux", "x1.y"]), max_size=3)
DURATIONS = st.builds(
    lambda sign, seconds, nanos: {"seconds": sign * seconds, "nanos": sign * nanos},
    st.sampled_from([1, -1]),
    st.integers(0, 315_576_000_000),
    NANOS,
)
WRAPPED = {
    "bool_value": st.booleans(), "bytes_value": st.binary(max_size=8),
    "double_value": DOUBLES.filter(math.isfinite),
    "float_value": FLOATS.filter(math.isfinite),
    "int32_value": signed(32), "int64_value": signed(64),
    "string_value": TEXT, "uint32_value": unsigned(32), "uint64_value": unsigned(64),
}  # fmt: skip
PACKED = {"Duration": b"\x08\x03", "Every": b"\x18\x05", "Int64Value": b"\x08\x07"}


@st.composite
def known_parts(draw: Any) -> dict[str, Any]:
    parts: dict[str, st.SearchStrategy[Any]] = {
        "timestamp": st.fixed_dictionaries({"seconds": SECONDS, "nanos": NANOS}),
        "duration": DURATIONS,
        "mask": st.fixed_dictionaries({"paths": PATHS}),
        "durations": st.dictionaries(TEXT, DURATIONS, max_size=2),
        **{name: st.fixed_dictionaries({"value": values}) for name, values in WRAPPED.items()},
    }
    some = draw(st.lists(st.sampled_from(sorted(parts)), unique=True, max_size=5))
    return {name: draw(parts[name]) for name in some}


@given(
    parts=known_parts(),
    values=st.lists(JSON, max_size=3),
    struct=st.none() | st.dictionaries(TEXT, JSON, max_size=3),
    packed=st.sampled_from(["", *PACKED]),
)
def test_well_known_types(
    known: Both, parts: dict[str, Any], values: list[Any], struct: Any, packed: str
) -> None:
    durations = parts.pop("durations", {})
    message = known.type(**parts)
    for key, duration in durations.items():
        message.durations[key].seconds = duration["seconds"]
        message.durations[key].nanos = duration["nanos"]
    json_format.ParseDict(values, message.list)
    for value in values:
        json_format.ParseDict(value, message.values.add())
    if struct is not None:
        json_format.ParseDict(struct, message.struct)
    if packed:
        name = "three.Every" if packed == "Every" else f"google.protobuf.{packed}"
        message.any.type_url = f"type.googleapis.com/{name}"
        message.any.value = PACKED[packed]
    known.agree_on(message)


@pytest.mark.parametrize(
    "text",
    [
        '{"aDouble": "1.5"}',
        '{"aDouble": "Infinity", "aFloat": "-Infinity"}',
        '{"anInt64": 5, "anInt32": "6"}',
        '{"anInt32": 1e2}',
        '{"a_string": "by its own name"}',
        '{"aBytes": "-_8"}',
        '{"aBytes": "+/8="}',
        '{"aColour": 2}',
        '{"aString": null, "anEvery": null, "strings": null}',
        '{"byBool": {"true": "AA=="}}',
        '{"another-name": 4}',
    ],
)
def test_what_else_is_read(three: Both, text: str) -> None:
    assert same(three.read_by_us(text), three.read_by_them(text))


@pytest.mark.parametrize(
    "text",
    [
        '{"anInt32": 2147483648}',
        '{"anInt32": 1.5}',
        '{"aUint32": -1}',
        '{"anInt64": "9223372036854775808"}',
        '{"aBool": "true"}',
        '{"aString": 5}',
        '{"aColour": "MAUVE"}',
        '{"nothing": 1}',
        '{"strings": "x"}',
        '{"strings": [null]}',
        '{"chosenText": "a", "chosenNumber": 1}',
        "",
        "{} {}",
    ],
)
def test_what_is_refused(three: Both, text: str) -> None:
    with pytest.raises(ValueError):
        three.read_by_us(text)
    with pytest.raises(json_format.ParseError):
        three.read_by_them(text)


@pytest.mark.parametrize("text", ['{"aBytes": "!"}', "[]"])
def test_what_only_json_format_takes(three: Both, text: str) -> None:
    with pytest.raises(ValueError):
        three.read_by_us(text)
    assert three.read_by_them(text) == three.type()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["double_value", "float_value"])
def test_wrapped_values_that_are_no_numbers_are_lost(known: Both, field: str, value: float) -> None:
    message = known.type()
    getattr(message, field).value = value
    (ours,), (theirs,) = known.ours(message).values(), known.theirs(message).values()
    assert ours is None
    assert isinstance(theirs, str)


def test_the_sign_of_a_zero_is_kept_where_a_field_has_presence(two: Both, three: Both) -> None:
    two.agree_on(two.type(a_double=-0.0))
    three.agree_on(three.type(doubles=[-0.0]))
    assert two.ours(two.type(a_double=-0.0)) == {"aDouble": -0.0}
    assert three.ours(three.type(a_double=-0.0)) == {}
    assert not three.read_by_us('{"aDouble": -0.0}').ByteSize()


def test_the_largest_float_is_read_by_nobody_as_it_is_written(three: Both) -> None:
    text = json.dumps(three.theirs(three.type(a_float=LARGEST_FLOAT)))
    with pytest.raises(ValueError, match="out of range"):
        three.read_by_us(text)
    with pytest.raises(json_format.ParseError, match="too large"):
        three.read_by_them(text)
