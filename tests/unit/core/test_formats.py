"""Headers of safetensors and GGUF files, hostile ones above all (``artifacts.md`` §6)."""

from __future__ import annotations

import contextlib
import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.formats import (
    MAX_HEADER_BYTES,
    MAX_TENSORS,
    TensorInfo,
    distance_squared,
    is_number,
    numbers,
    read_gguf,
    read_safetensors,
    refuse_program,
    safetensors_header_bytes,
)
from holdfast.errors import HoldfastError, MalformedError, RefusedError


def safetensors(header, data=b"", *, size=None):
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw) if size is None else size) + raw + data


def tensor(dtype="F32", shape=(2,), begin=0, end=8, **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end], **more}


def text(value):
    return struct.pack("<Q", len(value)) + value


def gguf(*tensors, items=(), version=3, tensor_count=None, data=b"", magic=b"GGUF"):
    head = magic + struct.pack("<IQQ", version, len(tensors) if tensor_count is None else tensor_count, len(items))
    head += b"".join(items) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


def gguf_tensor(name=b"w", shape=(2,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def test_safetensors_name_their_tensors():
    header = {"__metadata__": {"format": "pt"}, "b": tensor("F16", (2, 2), 8, 16), "a": tensor()}
    raw = safetensors(header, bytes(16))
    begin = safetensors_header_bytes(raw, len(raw))
    assert read_safetensors(raw[:begin], len(raw)) == [
        TensorInfo("a", "F32", (2,), begin, 8),
        TensorInfo("b", "F16", (2, 2), begin + 8, 8),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        safetensors({}, size=1),
        safetensors({}, size=MAX_HEADER_BYTES + 1),
        safetensors({}, size=2**64 - 1),
        safetensors({"__metadata__": {"a": 1}}),
        safetensors({"a": tensor()}, bytes(7)),
        safetensors({"a": tensor()}, bytes(9)),
        safetensors({"a": tensor(end=4)}, bytes(4)),
        safetensors({"a": tensor(begin=1, end=9)}, bytes(9)),
        safetensors({"a": tensor(), "b": tensor()}, bytes(8)),
        safetensors({"a": tensor(), "b": tensor(begin=9, end=17)}, bytes(17)),
        safetensors({"a": tensor("F31")}, bytes(8)),
        safetensors({"a": tensor(["F32"])}, bytes(8)),
        safetensors({"a": tensor(shape=(-2,))}, bytes(8)),
        safetensors({"a": tensor(shape=(True, 2))}, bytes(8)),
        safetensors({"a": tensor(shape=(2**40, 2**40))}, bytes(8)),
        safetensors({"a": tensor(shape=(1,) * 8 + (2,))}, bytes(8)),
        safetensors({"a": tensor(begin=8, end=0)}, bytes(8)),
        safetensors({"a": tensor(external="../secret")}, bytes(8)),
        safetensors({"a" * 1025: tensor()}, bytes(8)),
        safetensors(b'{"a":1'),
        safetensors({"a": [1]}),
    ],
)
def test_a_hostile_safetensors_header_is_refused(raw):
    with pytest.raises(MalformedError) as caught:
        read_safetensors(raw, len(raw))
    assert caught.value.code in ("model.safetensors", "json.syntax")


def test_one_tensor_has_one_place():
    one = json.dumps(tensor())
    raw = safetensors(f'{{"a":{one},"a":{one}}}'.encode(), bytes(8))
    with pytest.raises(MalformedError) as caught:
        read_safetensors(raw, len(raw))
    assert caught.value.code == "json.duplicate_key"


def test_deep_headers_are_refused():
    raw = safetensors(b'{"a":' + b"[" * 100 + b"]" * 100 + b"}")
    with pytest.raises(MalformedError) as caught:
        read_safetensors(raw, len(raw))
    assert caught.value.code == "json.depth"


def test_a_header_that_was_not_given_whole_is_refused():
    raw = safetensors({"a": tensor()}, bytes(8))
    with pytest.raises(MalformedError):
        read_safetensors(raw[:20], len(raw))


def test_gguf_names_its_tensors():
    items = (
        text(b"general.alignment") + struct.pack("<II", 4, 32),
        text(b"name") + struct.pack("<I", 8) + text(b"tiny"),
        text(b"list") + struct.pack("<IIQ3H", 9, 2, 3, 1, 2, 3),
        text(b"words") + struct.pack("<IIQ", 9, 8, 1) + text(b"a"),
        text(b"flag") + struct.pack("<IB", 7, 1),
    )
    raw = gguf(gguf_tensor(), gguf_tensor(b"q", (32, 2), 8, 32), items=items, data=bytes(32 + 68))
    begin = len(raw) - 100
    assert read_gguf(raw, len(raw)) == [
        TensorInfo("w", "F32", (2,), begin, 8),
        TensorInfo("q", "Q8_0", (32, 2), begin + 32, 68),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        gguf(magic=b"GGML"),
        gguf(version=1),
        gguf(tensor_count=MAX_TENSORS + 1),
        gguf(tensor_count=2**64 - 1),
        gguf(gguf_tensor(), data=bytes(7)),
        gguf(gguf_tensor(offset=32), data=bytes(8)),
        gguf(gguf_tensor(), gguf_tensor(b"v"), data=bytes(8)),
        gguf(gguf_tensor(), gguf_tensor(offset=32), data=bytes(40)),
        gguf(gguf_tensor(offset=4), data=bytes(40)),
        gguf(gguf_tensor(b"")),
        gguf(gguf_tensor(kind=99), data=bytes(8)),
        gguf(gguf_tensor(shape=(2**40, 2**40)), data=bytes(8)),
        gguf(gguf_tensor(shape=(1,) * 9), data=bytes(8)),
        gguf(gguf_tensor(b"q", (31,), 8), data=bytes(64)),
        gguf(items=(text(b"a") + struct.pack("<I", 99),)),
        gguf(items=(text(b"a") + struct.pack("<IB", 7, 2),)),
        gguf(items=(text(b"\xff") + struct.pack("<IB", 7, 1),)),
        gguf(items=(text(b"a") + struct.pack("<IB", 7, 1),) * 2),
        gguf(items=(text(b"general.alignment") + struct.pack("<II", 4, 33),)),
        gguf(items=(text(b"general.alignment") + struct.pack("<II", 4, 0),)),
        gguf(items=(struct.pack("<Q", 2**63) + b"a",)),
        gguf(items=(text(b"a") + struct.pack("<IIQ", 9, 10, 2**62),)),
        gguf(items=(text(b"a") + struct.pack("<IIQIQIQIQ", 9, 9, 1, 9, 1, 9, 1, 0, 0),)),
        gguf(items=(text(b"a") + struct.pack("<IQ", 8, 2**40),)),
    ],
)
def test_a_hostile_gguf_header_is_refused(raw):
    with pytest.raises(MalformedError) as caught:
        read_gguf(raw, len(raw))
    assert caught.value.code == "model.gguf"


@given(st.binary(max_size=300))
def test_any_bytes_give_only_our_errors(raw):
    with contextlib.suppress(HoldfastError):
        read_gguf(b"GGUF\x03\0\0\0" + raw, len(raw) + 8)
    with contextlib.suppress(HoldfastError):
        read_safetensors(struct.pack("<Q", len(raw)) + raw, len(raw) + 8)


@pytest.mark.parametrize(
    ("name", "head", "refused"),
    [
        ("model.bin", b"PK\x03\x04", True),
        ("w/model.PT", b"PK\x03\x04", True),
        ("anything", b"\x80\x04\x95", True),
        ("config.json", b"\x80\x02}", True),
        ("model.bin", b"GGUF", False),
        ("archive.zip", b"PK\x03\x04", False),
        ("model.safetensors", b"\x80\0\0\0", False),
    ],
)
def test_pickles_are_programs(name, head, refused):
    if not refused:
        refuse_program(name, head)
        return
    with pytest.raises(RefusedError) as caught:
        refuse_program(name, head)
    assert (caught.value.code, caught.value.param) == ("model.program", name)


@pytest.mark.parametrize(
    ("dtype", "data", "expected"),
    [
        ("F32", struct.pack("<2f", 1.5, -2), [1.5, -2]),
        ("F16", struct.pack("<2e", 1.5, -2), [1.5, -2]),
        ("BF16", b"\xc0\x3f\0\xc0", [1.5, -2]),
        ("I64", struct.pack("<q", -3), [-3]),
        ("BOOL", b"\1\0", [1, 0]),
    ],
)
def test_tensors_are_told_as_numbers(dtype, data, expected):
    assert is_number(dtype)
    assert list(numbers(dtype, data)) == expected


def test_quantised_blocks_are_no_numbers():
    assert not is_number("Q4_0")
    assert distance_squared("F32", struct.pack("<2f", 1, 2), struct.pack("<2f", 4, 6)) == 25.0
