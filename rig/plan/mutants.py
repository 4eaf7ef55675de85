# SPDX-License-Identifier: Apache-2.0
"""Seeded isolation bugs (fault catalogue, section 5): functions plan → plan that damage only what is programmed.

A plan mutant leaves the intent (`ContextPlan.regions`) as it was and changes the words, as a buggy planner, encoder
or switch would. Agent and judge mutants are listed here and live in their own rooms.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from rig.arch import pmp, pmsav7
from rig.boards.model import Board, Protection
from rig.plan.model import ContextPlan, Plan, RegionPlan

Applies = Callable[[Plan, Board], str | None]
Mutate = Callable[[Plan, random.Random], Plan]
Choice = tuple[ContextPlan, RegionPlan]
Test = Callable[[ContextPlan, RegionPlan], bool]

_SIZE, _SRD, _AP, _XN = 1, 8, 24, 28  # lowest bits of RASR fields
_ENABLE = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """`applies`: None, or why this plan cannot show the bug. `board`, `backed`: what the mutant brings along."""

    id: str
    title: str
    kind: str  # "plan" | "agent" | "judge"
    applies: Applies
    mutate: Mutate
    killers: tuple[str, ...]  # families expected to see it (C-05 beside them)
    board: str | None = None  # a board that can show it
    backed: int | None = None  # bytes of memory that components must promise to stay in


# -- what a mutant can be applied to ------------------------------------------------------------------------------


def _data(context: ContextPlan, region: RegionPlan) -> bool:
    return region.what.startswith(("memory:", "slice:"))


def _writable(context: ContextPlan, region: RegionPlan) -> bool:
    return "w" in region.rights


def _read_only(context: ContextPlan, region: RegionPlan) -> bool:
    return "w" not in region.rights


def _has_srd(context: ContextPlan, region: RegionPlan) -> bool:
    return bool(context.arm) and bool(_fields(context, region).srd)


def _grows_up(context: ContextPlan, region: RegionPlan) -> bool:
    """A doubled region would still be aligned: it grants what lies above instead of being UNPREDICTABLE."""
    there = _fields(context, region)
    return _data(context, region) and there.base % (2 * there.size) == 0


def _is_napot(context: ContextPlan, region: RegionPlan) -> bool:
    return bool(context.pmpcfg) and context.pmpcfg[region.slot] & 0x18 == pmp.Mode.NAPOT << 3


def _choices(plan: Plan, test: Test) -> list[Choice]:
    return [(c, r) for c in plan.contexts for r in c.regions if test(c, r)]


def _own(plan: Plan, test: Test) -> Test:
    """Narrowed to regions over memory of the context's owner: its own legal sweeps go there, an adapter's do not."""
    owner = {p.name: p.owner for p in plan.placement.objects}
    return lambda c, r: owner.get(r.what) == c.owner and test(c, r)


def _pick(plan: Plan, rng: random.Random, *tests: Test) -> Choice:
    """One of the regions that pass the first test that any passes. ValueError: the mutant does not apply."""
    for test in tests:
        found = _choices(plan, test)
        if found:
            return rng.choice(found)
    raise ValueError("the mutant does not apply to this plan")


def _on(protection: Protection, test: Test, missing: str) -> Applies:
    def applies(plan: Plan, board: Board) -> str | None:
        if board.protection is not protection:
            return {"pmsav7": "a PMSAv7 mutant", "pmp": "a PMP mutant"}[protection.value]
        return None if _choices(plan, test) else missing

    return applies


def _any(test: Test, missing: str) -> Applies:
    return lambda plan, board: None if _choices(plan, test) else missing


def _never(plan: Plan, rng: random.Random) -> Plan:
    raise ValueError("this mutant is none of the plan")


def _elsewhere(plan: Plan, board: Board) -> str | None:
    return None


# -- changing words -----------------------------------------------------------------------------------------------


def _fields(context: ContextPlan, region: RegionPlan) -> pmsav7.Region:
    return pmsav7.fields(region.slot, *context.arm[region.slot])


def _with(plan: Plan, *changed: ContextPlan) -> Plan:
    by_id = {c.id: c for c in changed}
    return replace(plan, contexts=tuple(by_id.get(c.id, c) for c in plan.contexts))


def _arm_words(plan: Plan, context: ContextPlan, slot: int, rbar: int, rasr: int) -> Plan:
    words = list(context.arm)
    words[slot] = (rbar, rasr)
    return _with(plan, replace(context, arm=tuple(words)))


def _rasr(plan: Plan, choice: Choice, change: Callable[[int], int]) -> Plan:
    context, region = choice
    rbar, rasr = context.arm[region.slot]
    return _arm_words(plan, context, region.slot, rbar, change(rasr))


def _srd(plan: Plan, choice: Choice, change: Callable[[int], int]) -> Plan:
    return _rasr(plan, choice, lambda rasr: rasr & ~(0xFF << _SRD) | (change(rasr >> _SRD & 0xFF) & 0xFF) << _SRD)


def _pmp_words(plan: Plan, context: ContextPlan, cfg: list[int], addr: list[int]) -> Plan:
    count = len(context.pmpcfg)
    return _with(plan, replace(context, pmpcfg=tuple(cfg[:count]), pmpaddr=tuple(addr[:count])))


def _entry(context: ContextPlan, region: RegionPlan) -> int:
    """Index of the entry that carries the rights: the second of a TOR pair."""
    return region.slot + (context.pmpcfg[region.slot] & 0x18 == 0)


def _spare(context: ContextPlan) -> int:
    """Unused PMP entries at the end."""
    used = max((i + 1 for i, cfg in enumerate(context.pmpcfg) if cfg & 0x18), default=0)
    return len(context.pmpcfg) - used


def _as_tor(plan: Plan, choice: Choice, low: int, high: int) -> Plan:
    """The region's entries replaced by a TOR pair over [low, high), rights kept; what follows moves up."""
    context, region = choice
    at = _entry(context, region)
    cfg, addr = list(context.pmpcfg), list(context.pmpaddr)
    cfg[region.slot : at + 1] = [0, cfg[at] & ~0x18 | pmp.Mode.TOR << 3]
    addr[region.slot : at + 1] = [low >> 2, high >> 2]
    return _pmp_words(plan, context, cfg, addr)


def _can_be_tor(context: ContextPlan, region: RegionPlan) -> bool:
    return bool(context.pmpcfg) and _data(context, region) and (not _is_napot(context, region) or _spare(context) > 0)


def _movable(context: ContextPlan, region: RegionPlan) -> bool:
    return _data(context, region) if context.arm else _can_be_tor(context, region)


# -- the mutants --------------------------------------------------------------------------------------------------


def _m01(plan: Plan, rng: random.Random) -> Plan:
    choice = _pick(plan, rng, _own(plan, _grows_up), _own(plan, _data), _grows_up, _data)
    return _rasr(plan, choice, lambda rasr: rasr + (1 << _SIZE))


def _m02(plan: Plan, rng: random.Random) -> Plan:
    return _rasr(plan, _pick(plan, rng, _own(plan, _data), _data), lambda rasr: rasr - (1 << _SIZE))


def _m03(plan: Plan, rng: random.Random) -> Plan:
    """Arm: RBAR moved (misaligned, as a wrong base is there). PMP: a TOR range moved."""
    by = rng.choice((32, -32))
    context, region = choice = _pick(plan, rng, _own(plan, _movable), _movable)
    if not context.arm:
        return _as_tor(plan, choice, region.start + by, region.end + by)
    rbar, rasr = context.arm[region.slot]
    return _arm_words(plan, context, region.slot, rbar + by, rasr)


def _m04(plan: Plan, rng: random.Random) -> Plan:
    change = rng.choice((lambda srd: srd << 1 | srd >> 7, lambda srd: ~srd))
    return _srd(plan, _pick(plan, rng, _own(plan, _has_srd), _has_srd), change)


def _m05(plan: Plan, rng: random.Random) -> Plan:
    return _srd(plan, _pick(plan, rng, _own(plan, _has_srd), _has_srd), lambda srd: 0)


def _neighbours(plan: Plan, slots: range | None = None) -> list[tuple[ContextPlan, int, Choice]]:
    """(context, free slot or first free entry, a region of another context's data that it does not have)."""
    found = []
    for context in plan.contexts:
        mine = {r.what for r in context.regions}
        free = _free(context, slots)
        if free is None:
            continue
        for other, region in _choices(plan, _data):
            size = 1 if other.arm else _entry(other, region) + 1 - region.slot
            if region.what not in mine and (context.arm or _spare(context) >= size):
                found.append((context, free, (other, region)))
    return found


def _free(context: ContextPlan, slots: range | None) -> int | None:
    if not context.arm:
        return len(context.pmpcfg) - _spare(context) if _spare(context) else None
    return next((i for i in slots or range(len(context.arm)) if i < len(context.arm)
                 and not context.arm[i][1] & _ENABLE), None)


def _m06_applies(plan: Plan, board: Board) -> str | None:
    return None if _neighbours(plan) else "no context with a free region and a neighbour whose memory it lacks"


def _m06(plan: Plan, rng: random.Random) -> Plan:
    context, free, (other, region) = rng.choice(_neighbours(plan))
    if context.arm:
        there = replace(_fields(other, region), number=free)
        return _arm_words(plan, context, free, *pmsav7.encode(there))
    cfg, addr = list(context.pmpcfg), list(context.pmpaddr)
    last = _entry(other, region) + 1
    cfg[free : free + last - region.slot] = other.pmpcfg[region.slot : last]
    addr[free : free + last - region.slot] = other.pmpaddr[region.slot : last]
    return _pmp_words(plan, context, cfg, addr)


def _m07_applies(plan: Plan, board: Board) -> str | None:
    if board.protection is not Protection.PMSAV7 or board.regions <= 8:
        return "needs an MPU of more than 8 regions"
    if any(r.slot >= 8 for c in plan.contexts for r in c.regions):
        return "some context needs more than 8 regions by itself"
    return None if len(plan.contexts) > 1 and _choices(plan, _data) else "no two contexts with a memory"


def _m07(plan: Plan, rng: random.Random) -> Plan:
    """One context keeps its data region in slot 8, the others are written by 8-region code: its region stays."""
    context, region = _pick(plan, rng, _own(plan, _data), _data)
    words = list(context.arm)
    words[8] = pmsav7.encode(replace(_fields(context, region), number=8))
    words[region.slot] = pmsav7.disabled(region.slot)
    others = [replace(c, arm=c.arm[:8]) for c in plan.contexts if c.id != context.id]
    return _with(plan, replace(context, arm=tuple(words)), *others)


def _m08(plan: Plan, rng: random.Random) -> Plan:
    choice = _pick(plan, rng, _read_only)
    if choice[0].arm:
        return _rasr(plan, choice, lambda rasr: rasr & ~(7 << _AP) | 3 << _AP)
    return _cfg_bit(plan, choice, 2)


def _m09(plan: Plan, rng: random.Random) -> Plan:
    choice = _pick(plan, rng, _writable)
    return _rasr(plan, choice, lambda rasr: rasr & ~(1 << _XN)) if choice[0].arm else _cfg_bit(plan, choice, 4)


def _cfg_bit(plan: Plan, choice: Choice, bit: int) -> Plan:
    context, region = choice
    cfg = list(context.pmpcfg)
    cfg[_entry(context, region)] |= bit
    return _pmp_words(plan, context, cfg, list(context.pmpaddr))


def _m11(plan: Plan, rng: random.Random) -> Plan:
    """CONTROL.nPRIV = 0, mstatus.MPP = M."""
    context, _ = _pick(plan, rng, _own(plan, _data), _data, lambda c, r: True)
    return _with(plan, replace(context, control=context.control & ~1 if context.arm else 3))


def _m12_applies(plan: Plan, board: Board) -> str | None:
    return None if board.protection is Protection.PMSAV7 else "a PMP without any entry on denies U-mode everything"


def _m12(plan: Plan, rng: random.Random) -> Plan:
    return _with(plan, *(replace(c, ctrl=c.ctrl & ~1) for c in plan.contexts))


def _m16(plan: Plan, rng: random.Random) -> Plan:
    choice = _pick(plan, rng, lambda c, r: _can_be_tor(c, r) and not _is_napot(c, r), _can_be_tor)
    return _as_tor(plan, choice, 0, choice[1].end)


def _m17(plan: Plan, rng: random.Random) -> Plan:
    context, region = _pick(plan, rng, _own(plan, _is_napot), _is_napot)
    addr = list(context.pmpaddr)
    word = addr[region.slot]
    ones = (word ^ word + 1) >> 1  # the trailing ones
    addr[region.slot] = rng.choice((word | word + 1, word ^ (ones + 1) >> 1))
    return _pmp_words(plan, context, list(context.pmpcfg), addr)


def _lanes(context: ContextPlan, region: RegionPlan) -> list[int]:
    """Entries of the same CSR word with another cfg byte."""
    here = _entry(context, region)
    word = range(here & ~3, min(here | 3, len(context.pmpcfg) - 1) + 1)
    return [i for i in word if context.pmpcfg[i] != context.pmpcfg[here]]


def _misplaceable(context: ContextPlan, region: RegionPlan) -> bool:
    return bool(context.pmpcfg) and _writable(context, region) and bool(_lanes(context, region))


def _m20(plan: Plan, rng: random.Random) -> Plan:
    context, region = _pick(plan, rng, _own(plan, _misplaceable), _misplaceable)
    cfg, here, lanes = list(context.pmpcfg), _entry(context, region), _lanes(context, region)
    there = rng.choice([i for i in lanes if not cfg[i]] or lanes)
    cfg[here], cfg[there] = cfg[there], cfg[here]
    return _pmp_words(plan, context, cfg, list(context.pmpaddr))


_V7, _PMP = Protection.PMSAV7, Protection.PMP
_NO_DATA = "no context has a memory"

MUTANTS: tuple[Mutant, ...] = (
    Mutant("M01", "region size field one too large", "plan", _on(_V7, _data, _NO_DATA), _m01, ("G-01", "G-02")),
    Mutant("M02", "region size field one too small", "plan", _on(_V7, _data, _NO_DATA), _m02, ("C-02",)),
    Mutant("M03", "region base off by 32 bytes", "plan", _any(_movable, "no memory region that can be moved"), _m03,
           ("G-02", "C-02")),
    Mutant("M04", "subregion mask shifted or inverted", "plan", _on(_V7, _has_srd, "no region uses subregions"), _m04,
           ("G-02", "C-02"), backed=40 << 10),
    Mutant("M05", "subregion mask zero", "plan", _on(_V7, _has_srd, "no region uses subregions"), _m05,
           ("G-01", "G-02"), backed=40 << 10),
    Mutant("M06", "a neighbour's region left enabled", "plan", _m06_applies, _m06, ("D-01", "D-02")),
    Mutant("M07", "region slots 8 to 15 not cleared", "plan", _m07_applies, _m07, ("D-01", "D-02"),
           board="mps2-an386-16r"),
    Mutant("M08", "read-only region writable", "plan", _any(_read_only, "no read-only region"), _m08, ("D-04",)),
    Mutant("M09", "data executable", "plan", _any(_writable, "no data region"), _m09, ("X-01", "X-02")),
    Mutant("M11", "a component left privileged", "plan", _elsewhere, _m11, ("C-01",)),
    Mutant("M12", "protection unit never enabled", "plan", _m12_applies, _m12, ("D-01", "D-02")),
    Mutant("M16", "TOR lower bound zero", "plan", _on(_PMP, _can_be_tor, "no region that can be a TOR pair"), _m16,
           ("G-02", "D-01"), board="virt-rv32"),
    Mutant("M17", "NAPOT trailing ones off by one", "plan", _on(_PMP, _is_napot, "no NAPOT entry"), _m17,
           ("G-01", "C-02"), board="virt-rv32"),
    Mutant("M20", "pmpcfg byte in the wrong lane", "plan", _on(_PMP, _misplaceable, "no data region"), _m20,
           ("C-02", "D-01"), board="virt-rv32"),
    Mutant("M21", "switch skips reprogramming on a stale flag", "agent", _elsewhere, _never, ("D-01", "C-02")),
    Mutant("M23", "base registers not reloaded", "agent", _elsewhere, _never, ("C-03", "W-07")),
    Mutant("M33", "canaries are a constant", "judge", _elsewhere, _never, ("nonce",)),
    Mutant("M34", "fault status cleared before it is logged", "agent", _elsewhere, _never, ("C-08",)),
)
BY_ID = {m.id: m for m in MUTANTS}
