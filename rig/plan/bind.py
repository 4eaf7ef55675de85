# SPDX-License-Identifier: Apache-2.0
"""Placement + symbols of the linked ELF → the plan: contexts down to register values, and the seams.

How contexts come about: docs/plan.md. Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rig.boards.model import Arch, Board
from rig.errors import InfrastructureError
from rig.image.model import Image, Model, Owner, OwnerKind, Seam
from rig.plan import tables
from rig.plan.abi import abi_of, signature
from rig.plan.encode import Encoded, Want, encode
from rig.plan.extents import slice_span
from rig.plan.geometry import granted_end, power, up
from rig.plan.globals import table_size
from rig.plan.model import (
    ContextPlan,
    Kind,
    ListCheck,
    Lowering,
    Placed,
    Placement,
    Plan,
    SeamPlan,
    Slack,
    Strategy,
)

CTRL = 5  # MPU_CTRL: ENABLE | PRIVDEFENA; HFNMIENA = 0
UNPRIVILEGED = {Arch.V7M: 1, Arch.RV32: 0}  # CONTROL.nPRIV, mstatus.MPP = U
ONE_ELEMENT = 0xFF  # ListCheck.length: the pointer leads to exactly one element (return area, spilled arguments)


def bind(image: Image, board: Board, placement: Placement, strategy: Strategy, symbols: Mapping[str, int]) -> Plan:
    """All contexts and seams of one strategy.

    `symbols`: name → value of the ELF. Refusal when the regions do not suffice (with arithmetic), InfrastructureError
    when the ELF is not the one of this placement.
    """
    placement = with_code(placement, symbols)
    made = _encoded(image, board, placement, strategy)
    contexts = tuple(_context(image, board, placement, o, made[o.index]) for o in image.owners)
    found = (_seam(image, board, placement, s, symbols) for s in image.seams)
    return Plan(
        board=board.name,
        model=image.model.value,
        strategy=strategy,
        lowering=placement.lowering,
        placement=placement,
        contexts=contexts,
        seams=tuple(s for s in found if s is not None),
        slack=_slack(placement, contexts),
        regions_used=max((m.used for m in made), default=0),
        regions_available=board.regions,
    )


def check(image: Image, board: Board, placement: Placement, strategy: Strategy) -> None:
    """Refusal when a strategy cannot fit, before anything is built (code counts as its whole role)."""
    _encoded(image, board, placement, strategy)


def with_code(placement: Placement, symbols: Mapping[str, int]) -> Placement:
    """The placement with the unprivileged executable range as linked. InfrastructureError when it is out of bounds."""
    start, end = (_symbol(symbols, name) for name in ("__unpriv_start", "__unpriv_end"))
    low, high = placement.code
    if not low <= start < end <= high:
        raise InfrastructureError(f"the ELF's unprivileged code [{start:#x}, {end:#x}) lies outside the range that was "
                                  f"placed for it, [{low:#x}, {high:#x})")
    for name, value in placement.symbols:
        if symbols.get(name, value) != value:
            raise InfrastructureError(f"the ELF has {name} at {symbols[name]:#x}, the placement at {value:#x}: "
                                      "they do not belong together")
    return replace(placement, code=(start, end))


def wants(image: Image, placement: Placement, owner: Owner) -> tuple[Want, ...]:
    """What an owner's own context grants under `switch`: ranges in slot order."""
    code = Want("code", *placement.code, "rx")
    found = [code, _want(placement.find(f"stack:{owner.index}"), "rw")]
    found += [_want(placement.find(name), rights) for name, rights in _data(image, placement, owner).items()]
    found += [_want(window, "rw") for window in placement.all(Kind.WINDOW)]
    found += [_want(table, "r") for table in placement.all(Kind.TABLE)]
    return tuple(w for w in found if w.start < w.end)


def static_wants(board: Board, placement: Placement) -> tuple[Want, ...]:
    """The one map of `static`: all that any owner needs, all stacks (with the tables on top of them) in one region."""
    stacks = placement.all(Kind.STACK)
    found = [Want("code", *placement.code, "rx")]
    if stacks:
        low, high = stacks[0].start, stacks[-1].end
        found.append(Want("stacks", low, granted_end(board, low, high, low + power(high - low)), "rw"))
    found += [_want(p, "rw") for p in (*placement.all(Kind.MEMORY), *placement.all(Kind.WINDOW))]
    rights: dict[str, str] = {}
    for grant in placement.grants:
        rights[grant.name] = _join(rights.get(grant.name, ""), grant.rights)
    found += [_want(placement.find(name), right) for name, right in rights.items()]
    return tuple(w for w in found if w.start < w.end)


def memory0_base(placement: Placement) -> int:
    """Native address of memory 0; 0 for an image without a memory."""
    return next((p.start for p in placement.all(Kind.MEMORY) if p.index == 0), 0)


def own_table(image: Image, placement: Placement, owner: Owner) -> int:
    """Where an owner's own copy of the function table lies: behind its globals table."""
    return placement.find(f"stack:{owner.index}").end - placement.reserve + up(table_size(image), 8)


def _encoded(image: Image, board: Board, placement: Placement, strategy: Strategy) -> tuple[Encoded, ...]:
    if strategy is Strategy.STATIC:
        one = encode(static_wants(board, placement), board, "the static map")
        return (one,) * len(image.owners)
    return tuple(encode(wants(image, placement, o), board, f"context of {o.name}") for o in image.owners)


def _want(placed: Placed, rights: str) -> Want:
    return Want(placed.name, placed.start, placed.region_end, rights, placed.kind is Kind.PERIPHERAL)


def _join(a: str, b: str) -> str:
    return "rw" if "w" in a + b else "r"


def _data(image: Image, placement: Placement, owner: Owner) -> dict[str, str]:
    """Objects and rights of an owner and of all that share its context. Native stacks are never shared."""
    group = next((g for g in image.shared_context if owner.index in g), (owner.index,))
    known = {p.name for p in placement.objects}
    found: dict[str, str] = {}
    for member in (image.owners[i] for i in sorted(group)):
        for name, rights in _own_data(image, member).items():
            if name in known:
                found[name] = _join(found.get(name, ""), rights)
        for grant in placement.grants:
            if grant.owner == member.index:
                found[grant.name] = _join(found.get(grant.name, ""), grant.rights)
    order = {p.name: i for i, p in enumerate(placement.objects)}
    return dict(sorted(found.items(), key=lambda item: order[item[0]]))


def _own_data(image: Image, owner: Owner) -> dict[str, str]:
    """Component: its slice (model 1) or its memories. Adapter, host: the memories its code names, reads as `r`."""
    if owner.kind is OwnerKind.COMPONENT:
        if image.model.shared:
            shadow = {"slice:stack": "rw"} if image.model is Model.STACK and owner.stack_globals else {}
            return ({f"slice:{owner.index}": "rw"} | shadow) if owner.slice is not None else {}
        return {f"memory:{m.index}": "rw" for m in image.memories if owner.index in m.owners}
    return {f"memory:{k}": "r" if k in owner.reads else "rw" for k in owner.memories}


def _context(image: Image, board: Board, placement: Placement, owner: Owner, made: Encoded) -> ContextPlan:
    stack = placement.find(f"stack:{owner.index}")
    top = stack.end - placement.reserve
    synth = placement.lowering.is_synth
    arm = board.arch is Arch.V7M
    base = memory0_base(placement)
    if arm and synth and not (base and tables.uses_memory0(image, owner)):
        base = own_table(image, placement, owner)  # never 0: a call through the table must not read the vectors
    save = next((p.start for p in placement.all(Kind.AGENT) if p.index == owner.index), 0)
    return ContextPlan(
        id=owner.index,
        owner=owner.index,
        regions=made.regions,
        arm=made.arm,
        pmpcfg=made.pmpcfg,
        pmpaddr=made.pmpaddr,
        ctrl=CTRL if arm else 0,
        control=UNPRIVILEGED[board.arch],
        stack_low=stack.start,
        sp=top,
        r9=top if arm and synth else 0,
        r10=image.memories[0].size if arm and synth and image.memories else 0,
        r11=base if synth else 0,
        instance=0 if synth else top,
        window_save=save,
    )


def _seam(image: Image, board: Board, placement: Placement, seam: Seam, symbols: Mapping[str, int]) -> SeamPlan | None:
    """None: the lowering dropped the callee because nothing reachable calls it; the gate then knows no such seam."""
    target = symbols.get(f"rig_fn_{seam.target}")
    if target is None:
        return None
    instance_first = placement.lowering is Lowering.WASM2C
    shape = signature(seam.type, abi_of(board), instance_first)
    low, high = _caller_span(image, placement, seam)
    checks = []
    for item in seam.lists:
        pointer = shape.places[item.pointer].words[0]
        length = ONE_ELEMENT if item.length < 0 else shape.places[item.length].words[0]
        checks.append(ListCheck(pointer, length, item.element_size, low, high))
    return SeamPlan(seam.index, seam.caller, seam.callee, target, shape.reg_words, shape.stack_words,
                    shape.result_words, tuple(checks), instance_first)


def _caller_span(image: Image, placement: Placement, seam: Seam) -> tuple[int, int]:
    """Wasm offsets that a list of the caller may lie in: its slice, in models 2 and 3 its whole memory.

    Owners that share a context hand each other's pointers on: all their slices together.
    """
    group = next((g for g in image.shared_context if seam.caller in g), (seam.caller,))
    spans = [slice_span(o) for o in (image.owners[i] for i in group) if o.slice is not None]
    if image.model.shared and spans:
        return min(s.start for s in spans), max(s.end for s in spans)
    memories = {item.memory for item in seam.lists}
    ends = [p.size for p in placement.all(Kind.MEMORY) if p.index in memories]
    return 0, max(ends, default=0)


def _slack(placement: Placement, contexts: tuple[ContextPlan, ...]) -> tuple[Slack, ...]:
    """Granted bytes beyond logical objects: they belong to whoever has the region."""
    named = {p.name: p for p in placement.objects if p.region_end > p.end}
    return tuple(
        Slack(c.owner, what, named[what].end, named[what].region_end)
        for c in contexts for what in dict.fromkeys(r.what for r in c.regions) if what in named
    )


def _symbol(symbols: Mapping[str, int], name: str) -> int:
    if name not in symbols:
        raise InfrastructureError(f"the linked ELF lacks the symbol {name}")
    return symbols[name]
