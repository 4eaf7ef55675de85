# SPDX-License-Identifier: Apache-2.0
"""Argument vectors: enough, within their types, edges included, and the same for the same seed."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

import rig
from rig.image.component import WitFunction, WitType
from rig.oracle.abi import signature
from rig.oracle.lift import lower
from rig.oracle.values import INTEGERS, Value
from rig.oracle.vectors import edges, vectors

U8, S32, F32, STRING = WitType("u8"), WitType("s32"), WitType("f32"), WitType("string")
POINT = WitType("record", (S32, F32), ("x", "y"))
TYPES = (
    *(WitType(kind) for kind in (*INTEGERS, "bool", "f32", "f64", "char", "string")),
    WitType("list", (U8,)), WitType("list", (POINT,)), POINT, WitType("tuple"), WitType("tuple", (U8, STRING)),
    WitType("option", (S32,)), WitType("result", (None, U8)), WitType("variant", (None, F32), ("a", "b")),
    WitType("enum", names=tuple(f"e{i}" for i in range(300))), WitType("flags", names=("r", "w")),
)  # fmt: skip


def function(*types: WitType) -> WitFunction:
    return WitFunction(None, "f", tuple((f"p{i}", type) for i, type in enumerate(types)), None)


def column(type: WitType, n: int = 100) -> list[Value]:
    return [vector[0] for vector in vectors(function(type), 1, n)]


@pytest.mark.parametrize("type", TYPES, ids=lambda type: type.kind)
def test_as_many_as_asked_for_and_all_fit_their_type(type: WitType) -> None:
    for n in (1, 7, 100, 333):
        made = vectors(function(type, type), 1, n)
        assert len(made) == n
    for vector in made:
        lower(function(type, type), vector)  # raises where a value does not fit


@pytest.mark.parametrize("kind", INTEGERS)
def test_the_edges_of_every_integer_occur(kind: str) -> None:
    low, high = INTEGERS[kind]
    values = column(WitType(kind))
    assert {low, high, 0, 1, high - 1} <= set(values)
    assert all(isinstance(value, int) and low <= value <= high for value in values)


def test_the_edges_of_floats_occur() -> None:
    for kind in ("f32", "f64"):
        values = [value for value in column(WitType(kind)) if isinstance(value, float)]
        assert any(math.isnan(value) for value in values)
        assert {math.inf, -math.inf, 0.0} <= set(values)
        assert any(value == 0 and math.copysign(1, value) < 0 for value in values)
        assert any(0 < abs(value) < 1.2e-38 for value in values)  # subnormal in f32


def test_empty_and_unicode_strings_and_lists_occur() -> None:
    strings = [value for value in column(STRING) if isinstance(value, str)]
    assert "" in strings and any(max(map(ord, value), default=0) > 0xFFFF for value in strings)
    lists = column(WitType("list", (U8,)))
    assert b"" in lists and any(isinstance(value, bytes) and len(value) > 100 for value in lists)
    assert () in column(WitType("list", (POINT,)))


def test_two_integers_meet_at_all_their_edges() -> None:
    made = vectors(function(S32, S32), 1)
    assert (-(1 << 31), -1) in made and (0, 0) in made and (1, 0) in made and ((1 << 31) - 1, 0) in made


def test_every_edge_of_every_parameter_occurs_where_there_are_too_many_to_combine() -> None:
    made = vectors(function(*[S32] * 6), 1)
    for index in range(6):
        assert set(edges(S32)) <= {vector[index] for vector in made}


def test_payloads_fit_a_frame_to_the_agent() -> None:
    for type in (STRING, WitType("list", (U8,)), WitType("list", (WitType("u64"),)), WitType("list", (POINT,))):
        assert signature(function(type)).params == ("i32", "i32")
        assert max(len(lower(function(type), v).payloads[0].data) for v in vectors(function(type), 5, 400)) <= 1024


def test_the_same_seed_gives_the_same_vectors_in_another_process_and_another_seed_others() -> None:
    script = (
        "from rig.image.component import *; from rig.oracle.vectors import vectors\n"
        "types = ('u32', 'f64', 'string'); params = tuple((k, WitType(k)) for k in types)\n"
        "print(vectors(WitFunction('a:b/c', 'f', params, None), 42))"
    )
    root = str(Path(rig.__file__).parent.parent)
    runs = [
        subprocess.run(
            [sys.executable, "-c", script],
            env={"PYTHONPATH": root, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1] and len(runs[0]) > 2000
    assert vectors(function(S32, F32), 1) != vectors(function(S32, F32), 2)


def test_a_function_without_parameters_is_called_as_often() -> None:
    assert vectors(function(), 1) == [()] * 100
