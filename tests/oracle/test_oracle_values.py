# SPDX-License-Identifier: Apache-2.0
"""Values: what counts as the same, what a subject's TOML may give, and what wasmtime's package can pass."""

from __future__ import annotations

import math

import pytest

from rig.errors import UsageError
from rig.image.component import WitType
from rig.oracle.convert import convertible, from_wasmtime, to_wasmtime
from rig.oracle.values import Case, Value, parse, same, zero

U8, U32, S8, F32, STRING, BOOL = (WitType(kind) for kind in ("u8", "u32", "s8", "f32", "string", "bool"))
OPTION = WitType("option", (U32,))
RESULT = WitType("result", (STRING, None))
POINT = WitType("record", (S8, F32), ("x", "y"))
COLOUR = WitType("enum", names=("red", "green"))
RIGHTS = WitType("flags", names=("r", "w"))


def test_nans_are_one_class_and_zeros_have_signs() -> None:
    assert same(math.nan, -math.nan) and same((1, math.nan), (1, math.nan))
    assert not same(0.0, -0.0) and not same(math.nan, 1.0)
    assert same(Case("some", math.nan), Case("some", math.nan)) and not same(Case("ok", 1), Case("err", 1))


def test_a_bool_is_no_int_and_bytes_are_no_tuple() -> None:
    assert not same(True, 1) and not same(b"\x01", (1,)) and not same(1, 1.0)
    assert same(None, None) and same("a", "a") and same(frozenset("rw"), frozenset("wr")) and not same((1,), (1, 2))


GIVEN = [
    (7, U8, 7),
    (-1, S8, -1),
    (True, BOOL, True),
    (2, F32, 2.0),
    (0.1, F32, 0.10000000149011612),
    (math.nan, F32, math.nan),
    (1e300, F32, math.inf),
    ("é", WitType("char"), "é"),
    ("text", STRING, "text"),
    ([1, 255], WitType("list", (U8,)), b"\x01\xff"),
    ([1, -1], WitType("list", (S8,)), (1, -1)),
    ([3, 0.5], POINT, (3, 0.5)),
    ({"some": 3}, OPTION, Case("some", 3)),
    ({"none": {}}, OPTION, Case("none")),
    ({"ok": "x"}, RESULT, Case("ok", "x")),
    ({"err": {}}, RESULT, Case("err")),
    ("green", COLOUR, "green"),
    (["w"], RIGHTS, frozenset("w")),
]


@pytest.mark.parametrize(("given", "type", "value"), GIVEN, ids=lambda x: repr(x)[:20])
def test_what_a_subject_may_give(given: object, type: WitType, value: Value) -> None:
    assert same(parse(given, type, "calls[0].args[0]"), value)


WRONG = [
    (256, U8, "an integer from 0 to 255, not 256"),
    (True, U8, "an integer"),
    (1.0, U8, "an integer"),
    (1, BOOL, "true or false"),
    ("1", F32, "a number"),
    ("ab", WitType("char"), "one character"),
    (b"x", STRING, "a string"),
    ("blue", COLOUR, "one of red, green"),
    (["x"], RIGHTS, "an array out of r, w"),
    (3, WitType("list", (U8,)), "an array"),
    ([1], POINT, "an array of 2 values"),
    ({"many": 3}, OPTION, "{ none = {} }, { some = … }"),
    ({"some": 1, "none": {}}, OPTION, "one of"),
    ({"none": 0}, OPTION, "one of"),
    (1, WitType("unsupported", names=("stream",)), "type stream"),
]


@pytest.mark.parametrize(("given", "type", "words"), WRONG, ids=lambda x: repr(x)[:20])
def test_what_it_may_not_give_is_named_with_its_key_and_the_cure(given: object, type: WitType, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(given, type, "calls[0].args[0]")
    assert str(caught.value).startswith("calls[0].args[0]: ") and words in str(caught.value)


def test_errors_inside_name_the_place_inside() -> None:
    with pytest.raises(UsageError, match=r"args\[0\]\[1\]\[0\]: "):
        parse([[1, 1.0], [300, 1.0]], WitType("list", (POINT,)), "args[0]")
    with pytest.raises(UsageError, match=r"args\[0\]\.some: "):
        parse({"some": -1}, OPTION, "args[0]")


def test_a_stub_answers_zero() -> None:
    for type, value in (
        (U8, 0), (BOOL, False), (F32, 0.0), (STRING, ""), (OPTION, Case("none")), (RESULT, Case("ok", "")),
        (POINT, (0, 0.0)), (COLOUR, "red"), (RIGHTS, frozenset()), (WitType("list", (U8,)), b""),
        (WitType("char"), "\0"), (WitType("list", (S8,)), ()),
    ):  # fmt: skip
        assert same(zero(type), value)


def test_only_unsupported_types_cannot_pass_to_wasmtime() -> None:
    unsupported = WitType("unsupported", names=("own<resource>",))
    assert convertible(WitType("result", (U32, BOOL))) and convertible(WitType("list", (OPTION,)))
    assert not convertible(unsupported) and not convertible(WitType("list", (WitType("option", (unsupported,)),)))


def test_nested_options_go_in_and_out_unchanged() -> None:
    nested = WitType("option", (OPTION,))
    for value in (Case("none"), Case("some", Case("none")), Case("some", Case("some", 5))):
        assert same(from_wasmtime(to_wasmtime(value, nested), nested), value)
