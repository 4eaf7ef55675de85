# SPDX-License-Identifier: Apache-2.0
"""A fault matches exactly one admissible syndrome or says why not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rig.arch.syndrome import ArmFault, RiscvFault, decode, matches
from rig.arch.types import Syndrome

A, PC = 0x2000_0100, 0x0000_1234
ARM = ArmFault(cfsr=0x82, hfsr=0, mmfar=A, bfar=0, pc=PC, psr=0x0100_0000, exc_return=0xFFFF_FFFD, control=1)
RISCV = RiscvFault(mcause=5, mtval=A, mepc=PC, mstatus=0)
MMD, MMI = Syndrome("DACCVIOL", A, A), Syndrome("IACCVIOL", None, None)
BFP, LA = Syndrome("PRECISERR", A, A), Syndrome("5", A, A, zero_ok=True)
HERE = frozenset({PC})


@pytest.mark.parametrize(("fault", "syndrome"), [
    (ARM, MMD),
    (replace(ARM, mmfar=A + 3), Syndrome("DACCVIOL", A, A + 3)),
    (replace(ARM, cfsr=0x01), MMI),
    (replace(ARM, cfsr=0x8200, bfar=A), BFP),
    (replace(ARM, cfsr=0x92, pc=0xDEAD_BEEF), Syndrome("DACCVIOL|MSTKERR", A, A)),
    (replace(ARM, cfsr=0x10, pc=0xDEAD_BEEF), Syndrome("MSTKERR", None, None)),
    (replace(ARM, cfsr=1 << 16), Syndrome("UNDEFINSTR", None, None)),
    (RISCV, LA),
    (replace(RISCV, mtval=0), LA),
    (replace(RISCV, mcause=2, mtval=0x3000_2073), Syndrome("2", None, None)),
])  # fmt: skip
def test_an_exact_fault_matches(fault: ArmFault | RiscvFault, syndrome: Syndrome) -> None:
    assert matches(fault, syndrome, HERE) is None


@pytest.mark.parametrize(("fault", "syndrome", "reason"), [
    (replace(ARM, cfsr=0x92), MMD, "cause DACCVIOL|MSTKERR, expected DACCVIOL"),
    (ARM, Syndrome("DACCVIOL|MSTKERR", A, A), "cause DACCVIOL, expected DACCVIOL|MSTKERR"),
    (replace(ARM, cfsr=0), MMD, "cause none, expected DACCVIOL"),
    (replace(ARM, cfsr=0x82 | 1 << 6), MMD, "cause CFSR[6]|DACCVIOL, expected DACCVIOL"),
    (replace(ARM, hfsr=1 << 31), MMD, "cause DACCVIOL|DEBUGEVT, expected DACCVIOL"),
    (replace(ARM, mmfar=A + 4), MMD, "address 0x20000104 outside 0x20000100..0x20000100"),
    (replace(ARM, cfsr=0x02), MMD, "address not reported, MMFAR expected in 0x20000100..0x20000100"),
    (replace(ARM, cfsr=0x81), MMI, "address 0x20000100 in MMFAR, expected none"),
    (replace(ARM, cfsr=0x8082), MMD, "address 0x00000000 in BFAR, expected none"),
    (replace(ARM, cfsr=0x8200, bfar=A - 4), BFP, "address 0x200000fc outside 0x20000100..0x20000100"),
    (replace(ARM, cfsr=0x0400), BFP, "cause IMPRECISERR, expected PRECISERR"),
    (replace(ARM, hfsr=1 << 30), MMD, "escalated"),
    (replace(ARM, pc=PC + 2), MMD, "pc 0x00001236, expected 0x00001234"),
    (replace(RISCV, mcause=7), LA, "cause 0x7, expected 5"),
    (replace(RISCV, mcause=0x8000_0005), LA, "cause 0x80000005, expected 5"),
    (replace(RISCV, mtval=A + 1), LA, "address 0x20000101 outside 0x20000100..0x20000100"),
    (replace(RISCV, mtval=0), replace(LA, zero_ok=False), "address 0x00000000 outside 0x20000100..0x20000100"),
    (replace(RISCV, mepc=0), LA, "pc 0x00000000, expected 0x00001234"),
])  # fmt: skip
def test_anything_else_says_what_differs(fault: ArmFault | RiscvFault, syndrome: Syndrome, reason: str) -> None:
    assert matches(fault, syndrome, HERE) == reason


def test_the_pc_is_compared_only_when_asked() -> None:
    assert matches(replace(ARM, pc=0), MMD, None) is None
    assert matches(replace(ARM, pc=0), MMD, frozenset()) == "pc 0x00000000, expected none"


def test_escalation_is_expected_where_the_configuration_says_so() -> None:
    forced = replace(ARM, hfsr=1 << 30)
    assert matches(forced, MMD, HERE, escalated=True) is None
    assert matches(ARM, MMD, HERE, escalated=True) == "not escalated, expected HardFault with FORCED"


def test_decode_names_every_cause_and_gives_only_valid_addresses() -> None:
    seen = decode(replace(ARM, cfsr=0x0101_0082 | 1 << 10, hfsr=1 << 30 | 1 << 1))
    assert seen.causes == {"DACCVIOL", "IMPRECISERR", "UNDEFINSTR", "UNALIGNED", "VECTTBL"}
    assert (seen.mmfar, seen.bfar, seen.escalated) == (A, None, True)
