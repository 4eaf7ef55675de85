# SPDX-License-Identifier: Apache-2.0
"""ELF facts, synth's objects and their region table against the module."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_samples import Lab

from rig.errors import UsageError
from rig.image.elf import (
    SynthObject,
    check_region_table,
    parse_elf,
    read_code,
    read_elf,
    read_object,
    region_size,
)  # fmt: skip
from rig.image.model import Image, Model

ARM = ("-t", "cortex-m4", "--relocatable", "--embedder-data-init", "--embedder-global-init")


def compiled(lab: Lab, image: Image, name: str, *flags: str) -> Path:
    (lab.folder / f"{name}.wasm").write_bytes(image.wasm)
    lab.run("synth", "compile", f"{name}.wasm", "-o", f"{name}.o", *flags)
    return lab.folder / f"{name}.o"


@pytest.fixture(scope="module")
def image(lab: Lab) -> Image:
    return lab.image(Model.MULTI, "ca", "bi", "cc")


@pytest.fixture(scope="module")
def arm(lab: Lab, image: Image) -> SynthObject:
    return read_object(compiled(lab, image, "arm", *ARM), image)


def test_every_function_of_an_arm_object_is_found_by_its_number(arm: SynthObject, image: Image) -> None:
    assert arm.elf.machine == "arm" and arm.elf.relocatable and set(arm.functions) == set(range(12))
    spans = sorted(arm.functions.values())
    assert all(a + n <= b for (a, n), (b, _) in pairwise(spans))
    assert all(a % 2 == 0 for a, _ in spans)  # without the Thumb bit


def test_functions_of_an_rv32_object_are_found_by_export(lab: Lab) -> None:
    image = lab.image(Model.STACK, "ca", "bi", "cc")
    found = read_object(compiled(lab, image, "rv32", "-b", "riscv"), image)
    assert found.elf.machine == "riscv" and set(found.functions) == set(range(9)) and found.table is None
    assert check_region_table(found, image) == ()


def test_the_region_table_of_a_real_object_agrees(arm: SynthObject, image: Image) -> None:
    assert arm.table is not None and arm.table.count == 3 and set(arm.table.bases) == {1, 2}
    assert check_region_table(arm, image) == ()


def test_a_contradiction_is_a_finding_for_each(arm: SynthObject, image: Image) -> None:
    table = arm.table
    assert table is not None
    wrong = [
        replace(table, count=2),
        replace(table, sizes={**table.sizes, 1: 4096}),
        replace(table, regions={**table.regions, 2: 0x20000}),
        replace(table, bases={1: table.bases[1]}),
        replace(table, bases={**table.bases, 2: replace(table.bases[2], size=8)}),
        replace(table, bases={**table.bases, 2: table.bases[1]}),
    ]
    for other in wrong:
        findings = check_region_table(replace(arm, table=other), image)
        assert len(findings) == 1 and findings[0].id == "region-table" and findings[0].where.endswith("arm.o")
    assert "there is none" in check_region_table(replace(arm, table=None), image)[0].what


def test_an_object_of_another_module_is_noticed(arm: SynthObject, lab: Lab) -> None:
    assert check_region_table(arm, lab.image(Model.MULTI, "app", "sink", "tick"))


def test_sections_that_do_not_hold_the_memory_are_noticed(arm: SynthObject, image: Image) -> None:
    sections = tuple(replace(s, align=4) if s.name == ".synth.wasm_mem_1" else s for s in arm.elf.sections)
    findings = check_region_table(replace(arm, elf=replace(arm.elf, sections=sections)), image)
    assert len(findings) == 1 and "aligned to 4" in findings[0].what


@pytest.mark.parametrize(("size", "region"), [(0, 32), (1, 32), (32, 32), (33, 64), (65536, 65536), (65537, 131072)])
def test_regions_are_powers_of_two_from_32_bytes_on(size: int, region: int) -> None:
    assert region_size(size) == region


# -- linked images --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def linked(lab: Lab) -> Path:
    """A small linked image with aliases as the build makes them."""
    (lab.folder / "code.s").write_text(
        ".text\n.globl _start, rig_fn_0, rig_fn_7\n.type rig_fn_0,@function\n.type rig_fn_7,@function\n"
        "_start: rig_fn_0: nop\nnop\n.size rig_fn_0, 8\nrig_fn_7: ret\n.size rig_fn_7, 4\n"
        ".data\n.globl word\nword: .word 0x12345678\n.bss\nempty: .space 64\n"
    )
    flags = ("-target", "riscv32-freestanding-none", "-mcpu=generic_rv32+m-c")
    lab.run("zig", "cc", *flags, "-c", "code.s", "-o", "code.o")
    lab.run("zig", "ld.lld", "code.o", "-o", "code.elf", "--build-id=sha1", "-Ttext=0x80000000", "-Tdata=0x80002000")
    return lab.folder / "code.elf"


def test_a_linked_image_tells_symbols_segments_and_build_id(linked: Path) -> None:
    elf = read_elf(linked)
    assert elf.machine == "riscv" and not elf.relocatable and elf.entry == 0x8000_0000
    assert elf.address("word") == 0x8000_2000 and elf.bytes_at(0x8000_2000, 4) == b"\x78\x56\x34\x12"
    assert elf.build_id is not None and len(elf.build_id) == 20
    assert elf.bytes_at(elf.address("empty"), 4) == bytes(4)  # zero-filled part
    assert elf.bytes_at(0x9000_0000, 4) is None
    with pytest.raises(UsageError, match="has no symbol 'nothing'"):
        elf.address("nothing")


def test_code_of_wasm_functions_is_found_by_alias(linked: Path) -> None:
    code = read_code(linked)
    assert code.span(0) == (0x8000_0000, 0x8000_0008) and code.span(7) == (0x8000_0008, 0x8000_000C)
    assert code.span(1) is None
    assert code.read(0x8000_0008, 4) == bytes.fromhex("67800000")
    assert code.read(code.elf.address("empty"), 4) is None  # not in the file


def test_a_linked_image_is_no_object(linked: Path, image: Image) -> None:
    with pytest.raises(UsageError, match="not a relocatable object"):
        read_object(linked, image)


@pytest.mark.parametrize(
    "data", [b"", b"\0asm\1\0\0\0", b"\x7fELF", b"\x7fELF\2\1\1" + bytes(57), b"\x7fELF" + bytes(200)]
)
def test_other_files_are_named(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "x.elf"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=r"x\.elf: "):
        read_elf(file)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.elf: cannot be read"):
        read_elf(tmp_path / "none.elf")


@settings(max_examples=200, deadline=2000)
@given(data=st.data())
def test_damaged_files_give_usage_errors_only(
    arm: SynthObject, linked: Path, image: Image, data: st.DataObject
) -> None:
    source = Path(arm.elf.path) if data.draw(st.booleans()) else linked
    raw = bytearray(source.read_bytes())
    if data.draw(st.booleans()):
        del raw[data.draw(st.integers(0, len(raw))) :]
    headers = [*range(52), *range(max(0, len(raw) - 600), len(raw))]  # where damage matters most
    for _ in range(data.draw(st.integers(1, 3))):
        if raw:
            at = data.draw(st.sampled_from(headers)) % len(raw)
            raw[at] = data.draw(st.integers(0, 255))
    try:
        facts = parse_elf(bytes(raw), "x.elf")
        check_region_table(SynthObject(facts, {}, None), image)
    except UsageError as error:
        assert str(error).startswith("x.elf: ")
