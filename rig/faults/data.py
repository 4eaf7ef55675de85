# SPDX-License-Identifier: Apache-2.0
"""Group D: plain data accesses to a neighbour's bytes, to the trusted base, to nothing at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rig.arch.types import Syndrome
from rig.faults.legs import Attack, build, execute
from rig.faults.ops import LOADS, STORES, Op
from rig.faults.setting import Case, Setting
from rig.image.model import Owner
from rig.plan.model import Kind as Placing

WIDE = ("load64", "store64", "vload32", "vstore32", "vload64", "vstore64")
MANY = ("ldm", "stm", "push", "pop")
EXCLUSIVE = ("ldrex", "strex", "amoadd", "amoswap")


def d01(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """Loads of every width and sign; beside the data, one each from stack and globals copy."""
    yield from _neighbour(s, "D-01", a, v, s.ops(*LOADS), s.ops("load32"))


def d02(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    yield from _neighbour(s, "D-02", a, v, s.ops(*STORES), s.ops("store32"))


def d07(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    ops = s.ops(*MANY)
    if not ops:
        yield s.refuse("D-07", "pair", "N/A(no multi-word instruction)", a, v)
    yield from _neighbour(s, "D-07", a, v, ops, ())


def d08(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    ops = s.ops(*WIDE)
    if not ops:
        yield s.refuse("D-08", "pair", "N/A(no FPU and no doubleword instruction)", a, v)
    yield from _neighbour(s, "D-08", a, v, ops, ())


def d09(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    yield from _neighbour(s, "D-09", a, v, s.ops(*EXCLUSIVE), ())


def _neighbour(s: Setting, family: str, a: Owner, v: Owner, ops: Sequence[Op], few: Sequence[Op]) -> Iterator[Case]:
    """All `ops` on the first place of the victim's that is not granted, `few` on its others and on granted ones."""
    full, made = False, False
    for what, address in s.targets(v):
        granted = [op for op in ops if s.allows(a.index, op.access(address))]
        chosen = few if full or granted else ops
        for op in chosen if not s.quick else chosen[-1:]:
            made = True
            yield build(s, Attack(family, a, op, address, v, tag="" if what == "data" else what))
        full = full or not granted
    if ops and not made:
        yield s.refuse(family, "pair", "N/A(granted)", a, v)
    if family in ("D-01", "D-02"):
        for op in few:
            yield from (build(s, Attack(family, a, op, table, v, tag="table")) for table in _tables(s, a, v))


def _tables(s: Setting, a: Owner, v: Owner) -> list[int]:
    """The function table counts as the victim's where the victim owns memory 0's first bytes."""
    tables = s.plan.placement.all(Placing.TABLE)
    own = v.slice is not None and v.slice.memory == 0 and v.slice.span.start == 0
    return [t.start for t in tables if own and s.rights.owner_of(t.start) in (None, v.index)]


def d03(s: Setting, a: Owner) -> Iterator[Case]:
    """Loads and stores in the agent's RAM: sacrificial words, and a load of the mailbox's constant first word."""
    ram = s.symbols["rig_sacrifice_ram"]
    for op in s.ops("load8u", "load16u", "load32", "store8", "store16", "store32"):
        yield build(s, Attack("D-03", a, op, ram + 16, victim_name="agent"))
    if "rig_mailbox" in s.symbols:
        yield build(s, Attack("D-03", a, s.ops("load32")[0], s.symbols["rig_mailbox"], victim_name="agent"))


def d04(s: Setting, a: Owner) -> Iterator[Case]:
    """Stores to the agent's text and to the shared code."""
    for what in ("text", "code"):
        at = s.symbols[f"rig_sacrifice_{what}"] + 16
        rom = "" if s.in_ram(at) else "a store to this read-only memory changes nothing, protected or not"
        for op in s.ops("store8", "store16", "store32"):
            whose = "agent" if what == "text" else "code"
            yield build(s, Attack("D-04", a, op, at, victim_name=whose, no_disarmed=rom))


def d05(s: Setting, a: Owner) -> Iterator[Case]:
    """NULL. On Arm address 0 holds the vectors: a load shows their first word, a store or call could not be undone."""
    load, store = s.ops("load32")[0], s.ops("store32")[0]
    if not s.arm:
        for op in (load, store):
            yield build(s, Attack("D-05", a, op, 0, no_disarmed="nothing answers at address 0", returns=True))
    else:
        found = s.code.read(0, 4)
        word = None if found is None else int.from_bytes(found, "little")
        yield build(s, Attack("D-05", a, load, 0, victim_name="agent", returns=True, disarmed_value=word))
        yield build(s, Attack("D-05", a, store, 0, victim_name="agent", returns=True, value=word,  # what lies there
                              no_disarmed="the vectors lie at address 0"))
    why = "the vectors lie at address 0" if s.arm else "nothing answers at address 0"
    yield execute(s, "D-05", a, 0, None, "agent" if s.arm else "", plant=False, no_disarmed=why, thumb=False)


def d06(s: Setting, a: Owner) -> Iterator[Case]:
    """A hole: nothing answers there. Disarmed, Arm's bus says so in a different way; RISC-V's in the same."""
    if not s.board.holes:
        yield s.refuse("D-06", "hole", "N/A(no hole in the memory map)", a)
    for bank in s.board.holes[:2]:
        at = bank.start + (bank.size // 2 & ~0xFF) + 0x40
        bus = (Syndrome("PRECISERR", at, at, clause="nothing answers: bus fault"),) if s.arm else ()
        yield build(s, Attack("D-06", a, s.ops("load32")[0], at, reached=bus, returns=not s.arm,
                              no_disarmed="" if s.arm else "the bus answers like the PMP"))
