# SPDX-License-Identifier: Apache-2.0
"""The catalogue made concrete for one image, board and plan: every family for every owner and every ordered pair.

Nothing vanishes silently: what cannot be expressed is a RefusedProgram with the reason. Pure; same seed, same programs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from rig.arch.types import Kind
from rig.boards.model import Board
from rig.faults import controls, data, deputy, execute, geometry, privilege, stack, temporal, wasm
from rig.faults.catalogue import Status, catalogue
from rig.faults.legs import Attack, build
from rig.faults.model import FaultProgram, RefusedProgram, Stop, Why
from rig.faults.setting import Case, CodeFacts, Rights, Setting
from rig.faults.shared import Shared, variants
from rig.image.model import Image, Owner
from rig.plan.model import Kind as Placing
from rig.plan.model import Plan, Strategy

__all__ = ["CALLS", "CodeFacts", "Rights", "expand", "variants"]

CALLS = "C-03"  # not a fault program: the campaign compares calls with un-fused components
Pair = Callable[[Setting, Owner, Owner], Iterable[Case]]
Single = Callable[[Setting, Owner], Iterable[Case]]

PAIRS: tuple[tuple[str, Pair], ...] = (
    ("D-01", data.d01), ("D-02", data.d02), ("D-07", data.d07), ("D-08", data.d08), ("D-09", data.d09),
    ("G-01", geometry.g01), ("G-02", geometry.g02), ("G-03", geometry.g03), ("G-06", geometry.g06),
    ("G-07", geometry.g07), ("X-03", execute.x03), ("X-04", execute.x04), ("T-01", temporal.t01),
    ("T-02", temporal.t02), ("K-11", deputy.k11), ("W-01", wasm.w01), ("W-03", wasm.w03), ("W-07", wasm.w07),
    ("W-08", wasm.w08),
)  # fmt: skip
SINGLES: tuple[tuple[str, Single], ...] = (
    ("C-01", controls.c01), ("C-02", controls.c02), ("C-04", controls.c04), ("C-05", controls.c05),
    ("C-06", controls.c06), ("D-03", data.d03), ("D-04", data.d04), ("D-05", data.d05), ("D-06", data.d06),
    ("X-01", execute.x01), ("X-02", execute.x02), ("X-05", execute.x05), ("X-06", execute.x06), ("S-01", stack.s01),
    ("P-01", privilege.p01), ("P-02", privilege.p02), ("P-03", privilege.p03), ("P-04", privilege.p04),
    ("P-05", privilege.p05), ("K-02", deputy.k02), ("W-02", wasm.w02), ("W-04", wasm.w04), ("W-05", wasm.w05),
)  # fmt: skip
EDGES: tuple[tuple[str, Single], ...] = (  # beside the pairs of the same family: the actor's own edges
    ("G-01", geometry.g01_own), ("G-02", geometry.g02_own), ("G-03", geometry.g03_own), ("G-06", geometry.g06_own),
    ("G-07", geometry.g07_own), ("W-01", wasm.w01_own), ("W-03", wasm.w03_own),
)  # fmt: skip
ONCE: tuple[tuple[str, Single], ...] = (("C-07", controls.c07), ("C-08", controls.c08))  # by the first owner alone


def expand(
    image: Image,
    board: Board,
    plan: Plan,
    rights: Rights,
    symbols: Mapping[str, int],
    code: CodeFacts,
    seed: int,
    *,
    quick: bool = False,
) -> tuple[list[FaultProgram], list[RefusedProgram]]:
    """All programs of an image under one plan, and all that could not be made.

    `rights`: the manifest. `symbols`: of the linked ELF (docs/internals.md). `code`: its machine code. `seed`: of all
    random values. `static` is a control row: data accesses only, which must land. `quick`: less of each family.
    """
    setting = Setting(image, board, plan, rights, symbols, code, seed, quick)
    make = _static if plan.strategy is Strategy.STATIC else _all
    programs: list[FaultProgram] = []
    refused: list[RefusedProgram] = []
    for case in make(setting):
        if isinstance(case, FaultProgram):
            programs.append(case)
        else:
            refused.append(case)
    return programs, refused


def _all(s: Setting) -> Iterator[Case]:
    built = [f.id for f in catalogue() if f.status is Status.BUILT]
    missing = {f: s.image.refusals[f] for f in built if f in s.image.refusals}
    yield from (s.refuse(f, "all", reason, why=Why.INPUT) for f, reason in missing.items() if f != CALLS)
    owners = s.image.owners
    for family, once in ONCE:
        yield from _some(s, family, owners[0], None, once(s, owners[0])) if owners else ()
    tools = next((o for o in owners if o.intruder), owners[0] if owners else None)
    for a in owners:
        for family, single in SINGLES:
            if family not in missing:
                yield from _some(s, family, a, None, single(s, a))
        yield from _some(s, "P-06", a, None, privilege.p06(s, a, every=a is tools))
        for family, own in EDGES:
            if family not in missing:
                yield from own(s, a)
    shared = Shared(s)
    pairs: tuple[tuple[str, Pair], ...] = (
        *PAIRS, ("W-17", lambda _, a, v: shared.w17(a, v)), ("W-18", lambda _, a, v: shared.w18(a, v))
    )
    for a, v in s.pairs:
        why = s.apart(a, v)
        for family, pair in pairs:
            if family in missing:
                continue
            if why is not None:
                yield s.refuse(family, "pair", why[1], a, v, why[0])
            else:
                yield from _some(s, family, a, v, pair(s, a, v))
    if len(owners) < 2:
        yield from (s.refuse(family, "all", "N/A(no pair of owners)") for family, _ in pairs if family not in missing)


def _some(s: Setting, family: str, a: Owner, v: Owner | None, cases: Iterable[Case]) -> Iterator[Case]:
    """The cases; when there are none, that is a mistake of the expansion and never green."""
    made = False
    for case in cases:
        made = True
        yield case
    if not made:
        yield s.refuse(family, "pair" if v else "own", "the expansion made no program", a, v, Why.INFRA)


def _static(s: Setting) -> Iterator[Case]:
    """The control row: plain loads and stores to what is another owner's must land, because one map is for all."""
    load, store = s.ops("load32")[0], s.ops("store32")[0]
    for a, v in s.pairs:
        why = s.apart(a, v)
        if why is not None:
            yield s.refuse("D-01", "pair", why[1], a, v, Why.NA)
            continue
        for what, address in s.targets(v):
            for family, op in (("D-01", load), ("D-02", store)):
                if not s.allows(a.index, op.access(address)):
                    yield build(s, Attack(family, a, op, address, v, stop=Stop.LANDS, control=True, tag=what))
    for a in s.image.owners:
        for table in s.plan.placement.all(Placing.TABLE):
            if not s.granted(a.index, Kind.WRITE).contains(table.start):
                at = table.start
                yield build(s, Attack("D-02", a, store, at, victim_name="table", stop=Stop.LANDS, control=True))
    static = {"D-01", "D-02"}
    yield from (s.refuse(f.id, "all", "N/A(static: the control row)") for f in catalogue()
                if f.status is Status.BUILT and f.id not in static)
