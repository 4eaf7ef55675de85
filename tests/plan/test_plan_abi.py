# SPDX-License-Identifier: Apache-2.0
"""Argument words, against the rules of AAPCS32 and the RISC-V psABI, and against what a C compiler does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rig.boards.load import load_board
from rig.errors import Refusal
from rig.image.model import FuncType
from rig.plan.abi import Abi, Place, abi_of, registers, signature

C_TYPES = {"i32": "unsigned", "i64": "unsigned long long", "f32": "float", "f64": "double"}
TARGETS = {
    Abi.AAPCS: ("thumb-freestanding-eabi", "cortex_m3"),
    Abi.AAPCS_VFP: ("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp"),
    Abi.ILP32: ("riscv32-freestanding", "generic_rv32+m+a+c"),
}
SHAPES = [
    (), ("i32",), ("i64",), ("i32", "i64"), ("i32", "i32", "i32", "i64"), ("i32", "i32", "i32", "i64", "i32"),
    ("i32",) * 6, ("i64", "i64", "i64"), ("i32", "i64", "i32", "i64", "i32"), ("f32", "i32", "f64", "f32"),
    ("f64",) * 9, ("f32",) * 17, ("f32",) * 15 + ("f64", "f32"), ("i32",) * 7 + ("i64",), ("i32",) * 7 + ("f64", "i32"),
    ("i32",) * 9 + ("i64", "i32"), ("f32", "f64", "f32", "i64", "i32", "f64"),
]  # fmt: skip


def test_words_by_hand() -> None:
    arm = signature(FuncType(("i32", "i64", "i32"), ("i64",)), Abi.AAPCS)
    assert arm.places == (Place((0,)), Place((2, 3)), Place((4,)))
    assert (arm.reg_words, arm.stack_words, arm.result_words) == (4, 1, 2)
    skipped = signature(FuncType(("i32", "i32", "i32", "i64"), ()), Abi.AAPCS)
    assert skipped.places[3] == Place((4, 5)) and (skipped.reg_words, skipped.stack_words) == (4, 2)
    split = signature(FuncType(("i32",) * 7 + ("i64",), ("i32",)), Abi.ILP32)
    assert split.places[7] == Place((7, 8)) and (split.reg_words, split.stack_words) == (8, 1)
    fp = signature(FuncType(("f32", "f64", "f32", "i32"), ("f32",)), Abi.AAPCS_VFP)
    assert fp.places == (Place(fp=0), Place(fp=2), Place(fp=1), Place((0,)))  # s1 is filled back
    assert (fp.reg_words, fp.stack_words, fp.result_words) == (1, 0, 0)


def test_the_instance_takes_the_first_word() -> None:
    for abi in Abi:
        plain = signature(FuncType(("i32", "i32"), ()), abi)
        with_instance = signature(FuncType(("i32", "i32"), ()), abi, instance_first=True)
        assert [p.words[0] + 1 for p in plain.places] == [p.words[0] for p in with_instance.places]
        assert with_instance.reg_words == plain.reg_words + 1
    assert signature(FuncType(("i32", "i64"), ()), Abi.AAPCS, True).places == (Place((1,)), Place((2, 3)))


def test_several_results_have_no_gate() -> None:
    with pytest.raises(Refusal, match="returns 2 values"):
        signature(FuncType((), ("i32", "i32")), Abi.AAPCS)


def test_the_abi_follows_the_board() -> None:
    assert [abi_of(load_board(n)) for n in ("mps2-an385", "mps2-an386", "virt-rv32")] == list(Abi)
    assert [registers(a) for a in Abi] == [4, 4, 8]


@pytest.mark.parametrize("abi", list(Abi))
def test_a_compiler_puts_the_words_where_we_say(abi: Abi, tmp_path: Path) -> None:
    """Each parameter is returned by a function of its own; the code shows from which register or stack slot."""
    source, wanted = [], {}
    for s, shape in enumerate(SHAPES):
        places = signature(FuncType(shape, ()), abi).places
        names = ", ".join(f"{C_TYPES[t]} p{i}" for i, t in enumerate(shape)) or "void"
        for i, kind in enumerate(shape):
            name = f"f{s}_{i}"
            source.append(f"extern {C_TYPES[kind]} sink_{name}; void {name}({names}) {{ sink_{name} = p{i}; }}")
            wanted[name] = (places[i], kind)
    (tmp_path / "a.c").write_text("\n".join(source))
    target, cpu = TARGETS[abi]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", target, f"-mcpu={cpu}", "-O1", "-S", "-g0",
               "-fno-sanitize=all", "-fomit-frame-pointer", "-fno-unwind-tables", "a.c", "-o", "a.s"]
    if abi is Abi.AAPCS_VFP:
        command.append("-mfloat-abi=hard")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True, timeout=120)
    text = (tmp_path / "a.s").read_text()
    for name, (place, kind) in wanted.items():
        body = text[text.index(f"\n{name}:") : text.index(f"\t.size\t{name}")]
        for used in _sources(place, abi, kind):
            assert re.search(used, body), f"{abi}, {name}: {place} ({kind}) is not {used} in\n{body}"


def _sources(place: Place, abi: Abi, kind: str) -> list[str]:
    """Regular expressions of what must be read in the body."""
    if place.fp is not None:
        return [rf"\bs{place.fp}\b" if kind == "f32" else rf"\bd{place.fp // 2}\b"]
    limit, found = registers(abi), []
    for word in place.words:
        if word < limit:
            found.append(rf"\b{'a' if abi is Abi.ILP32 else 'r'}{word}\b")
        elif abi is Abi.ILP32:
            found.append(rf"\b{4 * (word - limit)}\(sp\)")
        else:
            alone = rf"v?ldr(\.w)?\s.*{_slot(word)}"
            pair = rf"|(ldrd\s|vldr\sd).*{_slot(place.words[0])}" if len(place.words) == 2 else ""
            found.append(alone + pair)
    return found


def _slot(word: int) -> str:
    offset = 4 * (word - 4)
    return rf"\[sp, #{offset}\]" if offset else r"\[sp\]"
