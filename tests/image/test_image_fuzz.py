# SPDX-License-Identifier: Apache-2.0
"""Whatever is done to an artifact, reading it ends soon, in an image or in one clear sentence."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_samples import Lab, attestation, resigned, section, with_records, without

from rig.errors import Refusal, UsageError
from rig.image.component import Component
from rig.image.join import component_parts
from rig.image.model import Model
from rig.image.reach import graph
from rig.image.reader import read
from rig.image.records import ATTESTATION, MANIFEST, PROVENANCE
from rig.image.wasm import parse_module

TRIO = ("user", "maker", "giver")
ORDINARY = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow])


def flip(data: st.DataObject, original: bytes, most: int = 3) -> bytes:
    damaged = bytearray(original)
    for _ in range(data.draw(st.integers(1, most))):
        bit = data.draw(st.integers(0, len(damaged) * 8 - 1))
        damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def try_to_read(data: bytes, components: tuple[Component, ...]) -> None:
    started = time.monotonic()
    try:
        read(data, name="fused.wasm", components=components, host_imports=("demo:iso/sink",))
    except (UsageError, Refusal) as error:
        assert str(error) and "\n" not in str(error)
    assert time.monotonic() - started < 2


@pytest.fixture(scope="module")
def samples(lab: Lab) -> list[tuple[bytes, tuple[Component, ...]]]:
    """Fused modules of every model, with and without the components they came from."""
    plain = ("ca", "bi", "cc")
    domains = {"a": ("ca",), "b": ("bi", "cc")}
    made = [
        (lab.fuse(Model.MULTI, *TRIO, flags=("--emit-manifest",)), TRIO),
        (lab.fuse(Model.PAGE, *plain), plain),
        (lab.fuse(Model.STACK, "one", "two"), ("one", "two")),
        (lab.fuse(Model.DOMAINS, *plain, domains=domains), plain),
        (lab.fuse(Model.MULTI, "capp", "ctick"), ("capp", "ctick")),
    ]
    whole = [(data, tuple(lab.component(n) for n in names)) for data, names in made]
    return [*whole, *((data, ()) for data, _ in made)]


@ORDINARY
@given(data=st.data())
def test_any_flipped_bit(samples: list[tuple[bytes, tuple[Component, ...]]], data: st.DataObject) -> None:
    original, components = data.draw(st.sampled_from(samples))
    try_to_read(flip(data, original), components)


@ORDINARY
@given(data=st.data())
def test_flipped_bits_under_hashes_made_true(
    samples: list[tuple[bytes, tuple[Component, ...]]], data: st.DataObject
) -> None:
    """Past the hash: damage in code, data and tables reaches the attribution itself."""
    original, components = data.draw(st.sampled_from(samples))
    body = without(original, ATTESTATION, PROVENANCE, MANIFEST)
    code = min(len(body), 1500)  # types, imports, …, code and data come first, debug sections later
    try_to_read(resigned(flip(data, body[:code]) + body[code:], original), components)


@ORDINARY
@given(data=st.data())
def test_flipped_bits_in_the_provenance(
    samples: list[tuple[bytes, tuple[Component, ...]]], data: st.DataObject
) -> None:
    original, components = data.draw(st.sampled_from(samples))
    try_to_read(with_records(original, scpv=flip(data, section(original, PROVENANCE), 8)), components)


@ORDINARY
@given(data=st.data())
def test_numbers_in_the_attestation_that_lie(
    samples: list[tuple[bytes, tuple[Component, ...]]], data: st.DataObject
) -> None:
    original, components = data.draw(st.sampled_from(samples))
    record = attestation(original)
    meta = record["metadata"]
    rows = [*meta["placements"], *meta["boundaries"], meta["parameters"]]
    row = data.draw(st.sampled_from(rows))
    key = data.draw(st.sampled_from(sorted(row)))
    row[key] = data.draw(
        st.sampled_from([0, 1, 2, 3, 7, 1056, 65536, 1 << 31, -1, True, False, None, "x", "multi", [[0], [1]], []])
    )
    try_to_read(with_records(original, record), components)


@pytest.mark.parametrize("part", range(8))
def test_cut_at_any_byte(lab: Lab, part: int) -> None:
    data = lab.fuse(Model.MULTI, "a", "b")
    for at in range(part, len(data), 8):
        with pytest.raises(UsageError) as error:
            read(data[:at], name="fused.wasm")
        assert re.match(r"fused\.wasm: ", str(error.value))


@ORDINARY
@given(data=st.data())
def test_components_with_flipped_bits(lab: Lab, data: st.DataObject) -> None:
    """Component files are taken apart for their core modules; the hash is not there to help."""
    try:
        component_parts(flip(data, lab.file("ca").read_bytes()), "ca.wasm")
    except UsageError as error:
        assert str(error).startswith("ca.wasm: ")


def test_components_nested_without_end() -> None:
    data = b"\0asm\x0d\0\x01\0"
    for _ in range(40):
        size = len(data)
        leb = bytes([size & 0x7F | 0x80, size >> 7]) if size > 0x7F else bytes([size])
        data = b"\0asm\x0d\0\x01\0\x04" + leb + data
    with pytest.raises(UsageError, match="nested deeper"):
        component_parts(data, "x.wasm")


def test_a_table_that_reaches_everything_from_everywhere_is_refused_soon(lab: Lab) -> None:
    """3000 functions that call through one table of 3000 entries: nine million ways."""
    count = 3000
    functions = "".join(f"(func $g{k} (type $t) (call_indirect (type $t) (i32.const 0)))" for k in range(count))
    names = " ".join(f"$g{k}" for k in range(count))
    text = f"(module (type $t (func)) (table {count} funcref) (elem (i32.const 0) {names}) {functions})"
    (lab.folder / "table.wat").write_text(text)
    lab.run("wasm-tools", "parse", "table.wat", "-o", "table.out")
    started = time.monotonic()
    with pytest.raises(UsageError, match="ways to call a function"):
        graph(parse_module((lab.folder / "table.out").read_bytes(), "x"))
    assert time.monotonic() - started < 5
