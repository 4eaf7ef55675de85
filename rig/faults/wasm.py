# SPDX-License-Identifier: Apache-2.0
"""Group W, the intruder's own lowered code: indexes chosen so that its loads and stores reach where they must not.

The index comes from the lowering's address formula; the program counter must be a load or store of that kind and width
inside the intruder's function.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rig.arch.types import Access, Kind
from rig.faults.decode import MemoryInstruction, rv32, thumb2
from rig.faults.legs import NO_FLAG, far_side, program, straddle, window
from rig.faults.model import Effect, Expect, FaultProgram, Stop, Why
from rig.faults.setting import Case, Setting
from rig.image.formula import index_for
from rig.image.model import Owner, Primitive, PrimitiveKind
from rig.inject.model import Disarm, Flag, Leg, Step
from rig.plan.abi import Abi, abi_of, signature
from rig.plan.model import Lowering

M32 = 0xFFFF_FFFF
CPUID, CFSR = 0xE000_ED00, 0xE000_ED28
FAR = 0x7000_0000  # a static offset from here on is a big one


@dataclass(frozen=True, slots=True)
class Wanted:
    """One access of an intruder's primitive at a native address."""

    family: str
    actor: Owner
    primitive: Primitive
    address: int
    victim: Owner | None = None
    victim_name: str = ""
    disarm: Disarm = Disarm.MAP
    returns: bool = False  # a device: nothing may be read around the target
    tag: str = ""


def usable(s: Setting, a: Owner) -> list[Primitive]:
    """The intruder's tools that were emitted and whose effect on memory is plain. () for anybody else."""
    if not a.intruder:
        return []
    return [p for p in s.image.primitives
            if s.image.functions[p.function].owner == a.index and f"rig_fn_{p.function}" in s.symbols
            and (p.kind is PrimitiveKind.LOAD or p.value_param is not None)
            and (not p.value_type.startswith("f") or p.op.startswith(p.value_type))]


def near(s: Setting, a: Owner) -> list[Primitive]:
    """One tool for each instruction, without a big static offset."""
    found: dict[str, Primitive] = {}
    for p in usable(s, a):
        if p.offset < FAR:
            found.setdefault(p.op, p)
    return list(found.values())


def _index(s: Setting, p: Primitive, address: int) -> int | None:
    base = s.memory_base(p.memory)
    if base is None:
        return None
    return index_for(s.plan.lowering.value, base, s.image.memories[p.memory].size, address & M32, p.offset, p.width)


def _traps_in_wasm(s: Setting, p: Primitive, index: int) -> bool:
    return index + p.offset + p.width > s.image.memories[p.memory].size


def attack(s: Setting, w: Wanted) -> Case:
    """The program, or why this lowering or ELF cannot express it."""
    p, a = w.primitive, w.actor
    index, own = _index(s, p, w.address), s.main_target(a)
    legal = _index(s, p, own)
    if index is None or legal is None:
        return s.refuse(w.family, f"{p.export}{'.' + w.tag if w.tag else ''}", "N/A(lowering)", a, w.victim)
    found = instructions(s, p)
    if not found:
        reason = f"the ELF shows no {p.kind.value} of {p.width} bytes in function {p.function}"
        return s.refuse(w.family, p.export, reason, a, w.victim, Why.INFRA)
    kind = Kind.READ if p.kind is PrimitiveKind.LOAD else Kind.WRITE
    whole = Access(kind, w.address, p.width, privileged=False)
    granted = s.allows(a.index, whole)
    edge, far = (None, None) if granted else (straddle(s, a, whole), far_side(s, a, whole))
    values = {leg: value(s, p) for leg in Leg}
    write = kind is Kind.WRITE
    seen = s.in_ram(w.address, p.width) and not w.returns
    flag, hidden = (Flag.RESTORE if write else NO_FLAG), NO_FLAG
    watched = window(s, w.address, p.width) if write and seen else (0, 0)
    legs = {Leg.ARMED: program(Leg.ARMED, call(s, a, p, index, values[Leg.ARMED]), flag=flag if seen else hidden,
                               watch=watched, focus=(far or w.address) if seen else 0)}
    effect = Effect.STORED if write else Effect.LOADED
    effects = {Leg.ARMED: effect} if granted else {}
    if not granted:
        legs[Leg.LEGAL] = program(Leg.LEGAL, call(s, a, p, legal, values[Leg.LEGAL]), flag=flag,
                                  watch=window(s, own, p.width) if write else (0, 0), focus=own)
        legs[Leg.DISARMED] = program(Leg.DISARMED, call(s, a, p, index, values[Leg.DISARMED]), disarm=w.disarm,
                                     flag=flag if seen else hidden, watch=watched, focus=w.address if seen else 0)
        effects |= {Leg.LEGAL: effect, Leg.DISARMED: Effect.RETURNED if w.returns else effect}
    size = {"i32": 4, "f32": 4}.get(p.value_type, 8)
    return FaultProgram(
        id=s.id(w.family, p.export + (f".{w.tag}" if w.tag else ""), a.index, _name(w), s.symbolic(w.address)),
        family=w.family, actor=a.index, victim=w.victim.index if w.victim else None, victim_name=_name(w),
        target=s.symbolic(w.address), address=w.address, width=p.width if write else min(p.width, size), legs=legs,
        effects=effects, values={leg: v for leg, v in values.items() if leg in legs}, signed=p.op.endswith("_s"),
        armed=Expect(Stop.ALLOWED if granted else Stop.TRAP, whole, frozenset(i.pc for i in found),
                     pieces=pieces(kind, w.address, p.width, found), own_side=far is not None),
        disarmed_none="the access is granted, nothing to turn off" if granted else "",
        readers=(w.victim.index,) if w.victim else (), op=p.op, form=next((i.form for i in found if i.form), ""),
        straddle=edge, semantic_escape=granted and _traps_in_wasm(s, p, index), float_result=_in_float(s, p),
    )


def _name(w: Wanted) -> str:
    return w.victim.name if w.victim else w.victim_name or "nobody"


def instructions(s: Setting, p: Primitive) -> list[MemoryInstruction]:
    """Where the primitive's access may execute: all of its width; halves of 8 bytes where there is no whole one."""
    span = s.code.span(p.function)
    code = s.code.read(span[0], span[1] - span[0]) if span else None
    if span is None or code is None:
        return []
    kind = Kind.READ if p.kind is PrimitiveKind.LOAD else Kind.WRITE
    found = [i for i in (thumb2 if s.arm else rv32)(code, span[0]) if i.kind is kind]
    whole = [i for i in found if i.width == p.width]
    halves = [i for i in found if p.width == 8 and i.width == 4]
    return whole + halves


def pieces(kind: Kind, address: int, width: int, found: list[MemoryInstruction]) -> tuple[Access, ...]:
    """What the accesses may be that make up one wasm access; () when it is exactly one of its own width."""
    shapes = dict.fromkeys((i.size, i.words) for i in found)
    if list(shapes) == [(width, 1)]:
        return ()
    return tuple(Access(kind, address + at, size, privileged=False, words=words)
                 for size, words in shapes for at in range(0, width, size * words))


def value(s: Setting, p: Primitive) -> int:
    """A random value; for floating point an ordinary number, so that no copy may alter it."""
    drawn = s.value(p.width)
    if not p.value_type.startswith("f"):
        return drawn
    return drawn & (1 << 8 * p.width - 8) - 1 | 0x40 << 8 * p.width - 8


def call(s: Setting, a: Owner, p: Primitive, index: int, stored: int) -> Step:
    """The step that enters a primitive: arguments where the calling convention of the lowering wants them."""
    first = s.plan.lowering is Lowering.WASM2C
    shape = signature(s.image.functions[p.function].type, abi_of(s.board), first)
    words, floats = [0] * (shape.reg_words + shape.stack_words), [0] * 16
    if first:
        words[0] = s.context(a.index).instance
    words[shape.places[p.address_param].words[0]] = index - p.bias & M32
    if p.value_param is not None:
        place = shape.places[p.value_param]
        for i, word in enumerate(place.words):
            words[word] = stored >> 32 * i & M32
        if place.fp is not None:
            floats[place.fp : place.fp + 2] = [stored & M32, stored >> 32 & M32]
    used = max((i + 1 for i, word in enumerate(floats) if word), default=0)
    return Step(a.index, s.symbols[f"rig_fn_{p.function}"], tuple(words), tuple(floats[:used]))


def _in_float(s: Setting, p: Primitive) -> bool:
    return p.kind is PrimitiveKind.LOAD and p.value_type.startswith("f") and abi_of(s.board) is Abi.AAPCS_VFP


def _none(s: Setting, family: str, a: Owner, v: Owner | None = None) -> Iterator[Case]:
    yield s.refuse(family, "pair" if v else "own", "N/A(no intruder)", a, v)


def w01(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """An index outside the memory, below or above, that lands on the victim's bytes."""
    tools = near(s, a)
    if not tools:
        yield from _none(s, "W-01", a, v)
        return
    made = False
    for what, address in s.targets(v):
        for p in tools if not made else tools[:1]:
            base, size = s.memory_base(p.memory), s.image.memories[p.memory].size
            same = what == "data" and v.slice is not None and v.slice.memory == p.memory
            if base is None or (same and base <= address < base + size) or _granted(s, a, p, address):
                continue  # inside one memory: W-08
            made = True
            yield attack(s, Wanted("W-01", a, p, address, v, tag="below" if address < base else f"above.{what}"))
    if not made:
        yield s.refuse("W-01", "pair", "N/A(inside the memory, see W-08)", a, v)


def w01_own(s: Setting, a: Owner) -> Iterator[Case]:
    """The plain negative index: right below the memory."""
    for p in near(s, a):
        base = s.memory_base(p.memory)
        if base is not None and not _granted(s, a, p, base - 64):
            v = s.rights.owner_of(base - 64)
            victim = None if v is None or v == a.index else s.image.owners[v]
            yield attack(s, Wanted("W-01", a, p, base - 64, victim, tag="negative"))


def w02(s: Setting, a: Owner) -> Iterator[Case]:
    """A device, the system control space, the agent's text, the agent's RAM."""
    tools = near(s, a)
    if not tools:
        yield from _none(s, "W-02", a)
    for p in tools:
        quiet = _quiet_register(s, p.width)
        if quiet is not None:
            yield attack(s, Wanted("W-02", a, p, quiet, victim_name="device", returns=True))
        if s.arm and p.width == 4:
            register = CFSR if p.kind is PrimitiveKind.STORE else CPUID  # writing ones clears bits that are clear
            yield attack(s, Wanted("W-02", a, p, register, victim_name="ppb", disarm=Disarm.PRIVILEGE, returns=True))
        for what in ("text", "ram"):
            at = s.symbols[f"rig_sacrifice_{what}"] + 32
            if s.in_ram(at) or p.kind is PrimitiveKind.LOAD:
                yield attack(s, Wanted("W-02", a, p, at, victim_name="agent"))


def _quiet_register(s: Setting, width: int) -> int | None:
    """A device register that may be read and written without effect: CMSDK STATE (4 bytes), 16550 scratch (1)."""
    if s.board.uart is None:
        return None
    found = {"cmsdk": (4, s.board.uart + 4), "16550": (1, s.board.uart + 7)}.get(s.board.uart_kind or "")
    return found[1] if found and found[0] == width else None


def w03(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """A big static offset: the 33-bit sum of wasm wraps in hardware and lands on the victim."""
    tools = _far(s, a)
    if not near(s, a):
        yield from _none(s, "W-03", a, v)
    elif not tools:
        yield s.refuse("W-03", "pair", "N/A(no tool with a big static offset)", a, v)
    for p in tools:
        address = next((at for _, at in s.targets(v) if not _granted(s, a, p, at)), None)
        if address is None:
            yield s.refuse("W-03", "pair", "N/A(granted)", a, v)
        else:
            yield attack(s, Wanted("W-03", a, p, address, v))


def w03_own(s: Setting, a: Owner) -> Iterator[Case]:
    """The same, wrapping into the intruder's own memory: granted, and a semantic escape."""
    yield from (attack(s, Wanted("W-03", a, p, s.scratch(a), victim_name="itself", tag="own")) for p in _far(s, a))


def _far(s: Setting, a: Owner) -> list[Primitive]:
    return [p for p in usable(s, a) if p.offset >= FAR]


def w04(s: Setting, a: Owner) -> Iterator[Case]:
    """Slack of the intruder's own region."""
    tools = near(s, a)
    if not tools:
        yield from _none(s, "W-04", a)
        return
    slack = [x for x in s.plan.slack if x.owner == a.index and x.what.startswith(("memory:", "slice:"))]
    if not slack:
        yield s.refuse("W-04", "own", "N/A(no slack)", a)
    for x in slack:
        yield from (attack(s, Wanted("W-04", a, p, x.start, victim_name="itself")) for p in tools
                    if p.width <= x.end - x.start)


def w05(s: Setting, a: Owner) -> Iterator[Case]:
    """Eight bytes, half of them beyond the end of what is granted."""
    tools = [p for p in near(s, a) if p.width == 8]
    if not near(s, a):
        yield from _none(s, "W-05", a)
    elif not tools:
        yield s.refuse("W-05", "own", "N/A(no 64-bit access)", a)
    for p in tools:
        kind = Kind.READ if p.kind is PrimitiveKind.LOAD else Kind.WRITE
        main = s.main_target(a)
        end = next((e for b, e in s.granted(a.index, kind) if b <= main < e), None)
        if end is None:
            yield s.refuse("W-05", p.export, "N/A(no memory)", a)
            continue
        v = s.rights.owner_of(end)
        yield attack(s, Wanted("W-05", a, p, end - 4, None if v is None or v == a.index else s.image.owners[v]))


def w07(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """The intruder stores through its memory, the victim reads the same offset of its own: the two must not alias."""
    mine, theirs = s.data(a), s.data(v)
    tools = [p for p in near(s, a) if p.op == "i32.store"]
    if not near(s, a):
        yield from _none(s, "W-07", a, v)
    elif mine is None or theirs is None or not tools:
        yield s.refuse("W-07", "pair", "N/A(no memory of its own)", a, v)
    elif mine.name == theirs.name:
        yield s.refuse("W-07", "pair", "N/A(one memory)", a, v)
    else:
        yield from _aliases(s, a, v, tools[0])


def _aliases(s: Setting, a: Owner, v: Owner, p: Primitive) -> Iterator[Case]:
    mine, theirs = s.data(a), s.data(v)
    assert mine is not None and theirs is not None and v.slice is not None
    bases = (s.memory_base(p.memory), s.memory_base(v.slice.memory))
    assert bases[0] is not None and bases[1] is not None
    low = max(mine.start - bases[0], theirs.start - bases[1])
    high = min(mine.end - bases[0], theirs.end - bases[1])
    offset = (low + high) // 2 & ~63
    index = _index(s, p, bases[0] + offset)
    if not low <= offset <= high - 4 or index is None:
        yield s.refuse("W-07", "pair", "N/A(no offset in common)" if index is not None else "N/A(lowering)", a, v)
        return
    own, other, stored = bases[0] + offset, bases[1] + offset, {leg: s.value(4) for leg in (Leg.LEGAL, Leg.ARMED)}
    load, watched = s.stub("load32"), window(s, bases[0] + offset, 4)

    def run(leg: Leg, reader: Owner, at: int) -> tuple[Step, Step]:
        assert index is not None
        return call(s, a, p, index, stored[leg]), Step(reader.index, load, (at,))

    yield FaultProgram(
        id=s.id("W-07", p.export, a.index, v.name, s.symbolic(other)), family="W-07", actor=a.index, victim=v.index,
        victim_name=v.name, target=s.symbolic(other), address=other, width=4,
        legs={Leg.LEGAL: program(Leg.LEGAL, *run(Leg.LEGAL, a, own), flag=Flag.RESTORE, watch=watched),
              Leg.ARMED: program(Leg.ARMED, *run(Leg.ARMED, v, other), flag=Flag.RESTORE, watch=watched, focus=other)},
        effects={Leg.LEGAL: Effect.VALUE, Leg.ARMED: Effect.LOADED}, armed=Expect(Stop.UNAFFECTED), values=stored,
        disarmed_none="the memory index is in the code, not in the protection", readers=(v.index,), op=p.op,
    )


def w08(s: Setting, a: Owner, v: Owner) -> Iterator[Case]:
    """An index inside the one memory, in the victim's slice: right for wasm, not for the owner."""
    tools, data = near(s, a), s.data(v)
    if not tools:
        yield from _none(s, "W-08", a, v)
        return
    same = [p for p in tools if v.slice is not None and v.slice.memory == p.memory]
    if data is None or not same:
        yield s.refuse("W-08", "pair", "N/A(not the same memory)", a, v)
    else:
        at = s.main_target(v)
        yield from (attack(s, Wanted("W-08", a, p, at, v)) for p in same)


def _granted(s: Setting, a: Owner, p: Primitive, address: int) -> bool:
    kind = Kind.READ if p.kind is PrimitiveKind.LOAD else Kind.WRITE
    return s.allows(a.index, Access(kind, address & M32, p.width, privileged=False))


