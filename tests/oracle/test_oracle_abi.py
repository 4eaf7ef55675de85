# SPDX-License-Identifier: Apache-2.0
"""Lowering and lifting agree with wasmtime, type by type: the same core values, the same bytes, the same results."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest
from oracle_samples import HEAP, WasmtimeError, dump_of, make_of, world

from rig.build.components import read_component
from rig.errors import Refusal
from rig.host import tools
from rig.image.component import WitFunction, WitType
from rig.oracle.abi import align_of, flatten, signature, size_of, up
from rig.oracle.convert import convertible
from rig.oracle.lift import Fetch, LiftTrap, TooLong, lift, lower, only
from rig.oracle.values import Case, Value, is_bytes, same
from rig.oracle.vectors import edges, vectors

SCALARS = ("bool", "char", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64")
FLAT = (
    *SCALARS, "colour", "rights", "many", "point", "pixel", "shape", "option<u64>", "result<s8, f64>", "result",
    "tuple<u8, s16, f32>", "option<option<u32>>", "result<option<u8>>",
)  # fmt: skip
LISTS = (
    "string", "list<u8>", "list<u16>", "list<point>", "list<pixel>", "list<shape>", "mixed", "note", "option<string>",
)  # fmt: skip
DEEP = (
    "list<string>", "tuple<string, list<u8>>", "wide", "list<list<u16>>", "result<list<string>, colour>", "list<note>",
    "tuple<u8, option<list<mixed>>>", "option<option<list<u8>>>", "result<u32, string>",
)  # fmt: skip


def types_of(tmp_path: Path, params: str) -> WitFunction:
    """A function with these parameters, read from a component that does nothing."""
    (tmp_path / "w.wit").write_text(world(f"({params})"))
    for args in (
        ["component", "embed", "w.wit", "--world", "w", "--dummy", "-o", "w.core"],
        ["component", "new", "w.core", "-o", "w.wasm"],
    ):
        done = tools.run(tools.find("wasm-tools"), args, cwd=tmp_path, timeout=60)
        assert done.ok, done.err
    return read_component(tmp_path / "w.wasm", name="w").exports[0]


@pytest.mark.parametrize("text", [*FLAT, *LISTS])
def test_lowered_values_are_what_wasmtime_passes(text: str, tmp_path: Path) -> None:
    params = f"a: {text}, b: u8"
    function = types_of(tmp_path, params)
    type = function.params[0][1]
    assert convertible(type)
    probe = dump_of(tmp_path, params, [type for _, type in function.params])
    for value, _ in vectors(function, 7, 30):
        seen = probe.call((value, 9), WitType("list", (WitType("u8"),)))
        assert isinstance(seen, bytes)
        lowered = lower(function, (value, 9))
        assert len(lowered.payloads) <= 1
        for index, core in enumerate(lowered.params):
            bits = int.from_bytes(seen[8 * index : 8 * index + 8], "little")
            if any(payload.slot == index for payload in lowered.payloads):
                assert bits == HEAP or not lowered.payloads[0].data
            else:
                assert bits == core.bits and core.type == signature(function).params[index], (value, index)
        heap = seen[8 * len(lowered.params) :]
        for payload in lowered.payloads:
            assert heap.startswith(payload.data) and HEAP % payload.align == 0


@pytest.mark.parametrize("text", [*FLAT, *LISTS, *DEEP])
def test_lifted_results_are_what_wasmtime_returns(text: str, tmp_path: Path) -> None:
    """The bytes that lowering makes of a value are the value again: for our lifting and for wasmtime's."""
    given = types_of(tmp_path, f"a: {text}")
    type = given.params[0][1]
    probe = make_of(tmp_path, text, type)
    function = WitFunction("t:t/i", "f", (), type)
    area = signature(function).area
    assert signature(function).deep == (text in DEEP or text in ("note", "option<string>"))
    for (value,) in vectors(given, 11, 24):
        if area:
            raw = memory_of(given, value)
            assert same(lift(function, 0, raw[:area], fetch_from(raw)), value)
        else:
            bits = lower(given, (value,)).params[0].bits
            raw = bits.to_bytes(8, "little")
            assert same(lift(function, bits, b"", only(b"")), value)
        assert same(probe.call((raw,), type), value), value


def memory_of(given: WitFunction, value: Value) -> bytes:
    """The callee's memory from HEAP on as it holds the parameter: the value itself first, then its lists.

    The value is spilled by lowering it as one of eighteen parameters.
    """
    many = WitFunction(None, "many", (*given.params, *((f"p{i}", WitType("u8")) for i in range(17))), None)
    payloads = lower(many, (value, *[0] * 17)).payloads
    places, end = {}, len(payloads[-1].data)
    for index, payload in enumerate(payloads[:-1]):
        places[index] = up(end, payload.align)
        end = places[index] + len(payload.data)
    memory = bytearray(payloads[-1].data.ljust(end, b"\0"))
    places[len(payloads) - 1] = 0
    for index, payload in enumerate(payloads[:-1]):
        memory[places[index] : places[index] + len(payload.data)] = payload.data
    for index, payload in enumerate(payloads[:-1]):
        at = places[index + payload.into] + payload.slot
        assert memory[at : at + 4] == bytes(4)
        memory[at : at + 4] = struct.pack("<I", HEAP + places[index])
    return bytes(memory)


def fetch_from(memory: bytes) -> Fetch:
    return lambda pointer, size: memory[pointer - HEAP : pointer - HEAP + size]


@pytest.mark.parametrize("text", DEEP)
def test_lists_inside_of_lists_are_placed_before_what_points_to_them(text: str, tmp_path: Path) -> None:
    function = types_of(tmp_path, f"x: u64, a: {text}")
    for args in vectors(function, 5, 20):
        lowered = lower(function, args)
        for index, payload in enumerate(lowered.payloads):
            if payload.into:
                target = lowered.payloads[index + payload.into]
                assert payload.slot % 4 == 0 and target.data[payload.slot : payload.slot + 4] == bytes(4)
            else:
                assert lowered.params[payload.slot].type in ("i32", "i64") and lowered.params[payload.slot].bits == 0
        assert lowered.bytes >= sum(12 + len(payload.data) for payload in lowered.payloads)


def test_more_than_sixteen_core_parameters_are_one_pointer_to_all(tmp_path: Path) -> None:
    params = ", ".join(f"p{i}: {'point' if i % 3 == 0 else 'u8' if i % 3 == 1 else 's64'}" for i in range(15))
    function = types_of(tmp_path, params)
    assert signature(function).params == ("i32",) and signature(function).spilled
    probe = dump_of(tmp_path, params, [type for _, type in function.params])
    for args in vectors(function, 3, 10):
        seen = probe.call(args, WitType("list", (WitType("u8"),)))
        (payload,) = lower(function, args).payloads
        assert isinstance(seen, bytes) and payload.align == 8
        assert struct.unpack("<Q", seen[:8])[0] == HEAP
        # Padding is undefined: compare what lies between, by lifting it again.
        assert same(spilled(function, seen[8 : 8 + len(payload.data)]), args)
        assert same(spilled(function, payload.data), args)


def spilled(function: WitFunction, data: bytes) -> Value:
    whole = WitType("tuple", tuple(type for _, type in function.params))
    return lift(WitFunction(None, "f", (), whole), 0, data, only(b""))


def test_more_than_thirty_two_flags_are_refused() -> None:
    flags = WitType("list", (WitType("flags", names=tuple(f"f{i}" for i in range(33))),))
    with pytest.raises(Refusal, match="more than 32 flags"):
        signature(WitFunction(None, "f", (("a", flags),), None))
    with pytest.raises(Refusal, match="more than 32 flags"):
        signature(WitFunction(None, "f", (), flags))


def test_an_unsupported_type_is_refused() -> None:
    with pytest.raises(Refusal, match="own<resource>"):
        signature(WitFunction(None, "f", (("a", WitType("unsupported", names=("own<resource>",))),), None))


def test_a_returned_list_that_did_not_come_back_whole_is_no_value() -> None:
    function = WitFunction(None, "f", (), WitType("string"))
    with pytest.raises(TooLong, match="6 bytes, 5 came back"):
        lift(function, 0, struct.pack("<II", 64, 6), only(b"hello"))


INVALID = [
    ("colour", 3, "is no case"),
    ("char", 0xD800, "no character"),
    ("char", 0x110000, "no character"),
]


@pytest.mark.parametrize(("text", "bits", "words"), INVALID)
def test_bits_that_are_no_value_trap_here_and_in_wasmtime(text: str, bits: int, words: str, tmp_path: Path) -> None:
    type = types_of(tmp_path, f"a: {text}").params[0][1]
    with pytest.raises(LiftTrap, match=words):
        lift(WitFunction(None, "f", (), type), bits, b"", only(b""))
    with pytest.raises(WasmtimeError):
        make_of(tmp_path, text, type).call((bits.to_bytes(8, "little"),), type)


def test_a_string_that_is_not_utf8_traps_here_and_in_wasmtime(tmp_path: Path) -> None:
    raw = struct.pack("<II", HEAP + 8, 2) + b"\xff\xfe"
    with pytest.raises(LiftTrap, match="not UTF-8"):
        lift(WitFunction(None, "f", (), WitType("string")), 0, raw[:8], only(raw[8:]))
    with pytest.raises(WasmtimeError):
        make_of(tmp_path, "string", WitType("string")).call((raw,), WitType("string"))


def test_high_bits_of_a_small_integer_are_dropped_as_wasmtime_drops_them(tmp_path: Path) -> None:
    for text, bits, value in (("u8", 0x1FF, 255), ("s8", 0x180, -128), ("u16", 0x10001, 1), ("bool", 2, True)):
        assert same(lift(WitFunction(None, "f", (), WitType(text)), bits, b"", only(b"")), value)
        assert same(make_of(tmp_path, text, WitType(text)).call((bits.to_bytes(8, "little"),), WitType(text)), value)


def test_sizes_and_alignments_of_the_specification() -> None:
    u8, u16, u64 = WitType("u8"), WitType("u16"), WitType("u64")
    assert (size_of(WitType("tuple", (u8, u64, u16))), align_of(WitType("tuple", (u8, u64, u16)))) == (24, 8)
    assert (size_of(WitType("option", (u64,))), size_of(WitType("option", (u8,)))) == (16, 2)
    assert size_of(WitType("flags", names=tuple(f"f{i}" for i in range(17)))) == 4
    assert size_of(WitType("enum", names=tuple(f"e{i}" for i in range(257)))) == 2
    assert (size_of(WitType("tuple")), flatten(WitType("tuple")), flatten(WitType("flags"))) == (0, (), ())
    assert flatten(WitType("variant", (WitType("f32"), WitType("u32")), ("a", "b"))) == ("i32", "i32")
    assert flatten(WitType("variant", (WitType("f64"), WitType("u32")), ("a", "b"))) == ("i32", "i64")


def test_nan_is_lowered_as_the_canonical_one() -> None:
    for kind, bits in (("f32", 0x7FC00000), ("f64", 0x7FF8000000000000)):
        function = WitFunction(None, "f", (("a", WitType(kind)),), None)
        assert lower(function, (math.nan,)).params[0].bits == bits
        assert lower(function, (-math.nan,)).params[0].bits == bits


def test_every_case_of_a_variant_is_seen_by_the_vectors() -> None:
    shape = WitType("variant", (None, WitType("u8"), WitType("string")), ("none", "small", "text"))
    assert {value.name for value in edges(shape) if isinstance(value, Case)} == {"none", "small", "text"}
    assert not is_bytes(WitType("list", (WitType("s8"),)))
