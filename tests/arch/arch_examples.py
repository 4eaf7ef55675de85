# SPDX-License-Identifier: Apache-2.0
"""Accesses the random comparison does not make (beats, exclusives, AMO, stacking), with their answers by hand."""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

from rig.arch import pmp, pmsav7
from rig.arch.types import NO_FAULT, Access, Kind

Fault = tuple[str, int | None, int | None]
R, W, X = Kind.READ, Kind.WRITE, Kind.EXECUTE
RAM, END = 0x2000_0000, 0x2000_0100  # Arm: 256 B read-write, nothing else for unprivileged code
PMP_RAM, PMP_END = 0x8000_0000, 0x8000_0100


class Example(NamedTuple):
    name: str
    access: Access
    allow: bool | None
    faults: frozenset[Fault] = frozenset()


def deny(name: str, access: Access, *faults: Fault) -> Example:
    return Example(name, access, False, frozenset(faults))


def arm_context(module: ModuleType = pmsav7) -> pmsav7.Context:
    context: pmsav7.Context = module.Context(0x800, 5, (pmsav7.encode(pmsav7.Region(0, RAM, END - RAM)),))
    return context


ARM = (
    Example("LDM that ends with the region", Access(R, END - 16, 4, False, words=4), True),
    deny("STM over the end: first word outside, exactly", Access(W, END - 8, 4, False, words=4),
         ("DACCVIOL", END, END)),
    deny("LDRD over the end", Access(R, END - 4, 4, False, words=2), ("DACCVIOL", END, END)),
    deny("LDM below the start", Access(R, RAM - 8, 4, False, words=4), ("DACCVIOL", RAM - 8, RAM - 8)),
    deny("LDM off word alignment traps before the MPU", Access(R, END - 2, 4, False, words=2),
         ("UNALIGNED", None, None)),
    deny("LDREX off its alignment", Access(R, RAM + 2, 4, False, exclusive=True), ("UNALIGNED", None, None)),
    Example("LDREXH needs halfword alignment only", Access(R, RAM + 2, 2, False, exclusive=True), True),
    deny("LDREX", Access(R, END, 4, False, exclusive=True), ("DACCVIOL", END, END)),
    deny("STREX: fault, or status 1 and nothing written", Access(W, END, 4, False, exclusive=True),
         ("DACCVIOL", END, END), (NO_FAULT, None, None)),
    deny("PUSH whose fault cannot be stacked either", Access(W, END - 4, 4, False, words=2, stacking=True),
         ("DACCVIOL", END, END), ("DACCVIOL|MSTKERR", END, END)),
    deny("POP from a denied stack", Access(R, END, 4, False, words=2, stacking=True),
         ("DACCVIOL", END, END), ("DACCVIOL|MSTKERR", END, END)),
    deny("exception frame over the start", Access(W, RAM - 8, 4, False, words=8, frame=True), ("MSTKERR", None, None)),
    deny("exception return from a revoked stack", Access(R, END, 4, False, words=8, frame=True),
         ("MUNSTKERR", None, None)),
    deny("exception frame in the PPB", Access(W, 0xE000_ED90, 4, False, words=8, frame=True), ("STKERR", None, None)),
    Example("exception frame inside", Access(W, RAM, 4, False, words=8, frame=True), True),
    deny("unaligned load over the end: any address of it", Access(R, END - 3, 4, False), ("DACCVIOL", END - 3, END)),
    deny("word from MPU-denied into the PPB: either fault", Access(R, 0xDFFF_FFFE, 4, False),
         ("DACCVIOL", 0xDFFF_FFFE, 0xE000_0001), ("PRECISERR", 0xDFFF_FFFE, 0xE000_0001)),
    deny("fetch of the second halfword outside", Access(X, END - 2, 4, False), ("IACCVIOL", None, None)),
    deny("LDRT from privileged code is checked unprivileged", Access(R, END, 4, False), ("DACCVIOL", END, END)),
    Example("background for privileged code", Access(W, END, 4, True), True),
    Example("MPU_CTRL by privileged code", Access(W, 0xE000_ED94, 4, True), True),
    deny("MPU_CTRL by unprivileged code", Access(W, 0xE000_ED94, 4, False), ("PRECISERR", 0xE000_ED94, 0xE000_ED94)),
    Example("at priority < 0 without HFNMIENA the MPU is off", Access(W, END, 4, False, hardfault=True), True),
)


def pmp_context(module: ModuleType = pmp, misaligned: pmp.Misaligned = "whole") -> pmp.Context:
    entry = pmp.Entry(pmp.Mode.NAPOT, pmp.napot(PMP_RAM, PMP_END - PMP_RAM), r=True, w=True)
    read_only = pmp.Entry(pmp.Mode.NA4, PMP_END + 16 >> 2, r=True)
    cfg, addr = zip(pmp.encode(entry), pmp.encode(read_only), strict=True)
    context: pmp.Context = module.Context(32, 0, cfg, addr, 0, misaligned)
    return context


PMP = (
    Example("AMO on read-write memory", Access(W, PMP_RAM, 4, False, atomic=True), True),
    deny("AMO on read-only memory is a store fault", Access(W, PMP_END + 16, 4, False, atomic=True),
         ("7", PMP_END + 16, PMP_END + 16)),
    deny("AMO on no memory: store fault even for its read half", Access(W, PMP_END, 4, False, atomic=True),
         ("7", PMP_END, PMP_END)),
    deny("LR", Access(R, PMP_END, 4, False, exclusive=True), ("5", PMP_END, PMP_END)),
    deny("SC: fault, or it fails and writes nothing", Access(W, PMP_END, 4, False, exclusive=True),
         ("7", PMP_END, PMP_END), (NO_FAULT, None, None)),
    deny("misaligned AMO: either exception, even on own memory", Access(W, PMP_RAM + 2, 4, False, atomic=True),
         ("6", PMP_RAM + 2, PMP_RAM + 2), ("7", PMP_RAM + 2, PMP_RAM + 2)),
    deny("misaligned LR", Access(R, PMP_RAM + 1, 4, False, exclusive=True),
         ("4", PMP_RAM + 1, PMP_RAM + 1), ("5", PMP_RAM + 1, PMP_RAM + 1)),
    deny("load over the end: start or failing portion", Access(R, PMP_END - 1, 4, False),
         ("5", PMP_END - 1, PMP_END + 2)),
    deny("32-bit instruction over the end", Access(X, PMP_END - 2, 4, False), ("1", PMP_END - 2, PMP_END + 1)),
    deny("aligned FSD on RV32 may be cut too", Access(W, PMP_END + 16, 8, False), ("7", PMP_END + 16, PMP_END + 23)),
    deny("two beats, second outside", Access(W, PMP_END - 4, 4, False, words=2), ("7", PMP_END, PMP_END)),
    Example("M ignores an unlocked entry", Access(X, PMP_RAM, 4, True), True),
    Example("M where nothing matches", Access(W, PMP_END, 4, True), True),
)
