# SPDX-License-Identifier: Apache-2.0
"""Nothing vanishes silently: every family and pair is a program or a reason; programs say truly whom they touch."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import pytest
from faults_samples import ARM, RV, SHAPES, Sample, finding, sample, shape, with_lists
from plan_images import Build, Part

from rig.arch.types import Kind
from rig.faults.catalogue import Status, catalogue
from rig.faults.expand import EDGES, ONCE, PAIRS, SINGLES
from rig.faults.model import Effect, FaultProgram, Stop, Why
from rig.image.model import Model
from rig.inject.model import Disarm, Flag, Leg, Program, Verb
from rig.plan.model import Kind as Placing
from rig.plan.model import Lowering, Strategy

ALL = [(name, board) for name in SHAPES for board in ("arm", "rv")]
BUILT = {f.id for f in catalogue() if f.status is Status.BUILT}
PAIR_FAMILIES = {family for family, _ in PAIRS} | {"W-17", "W-18"}
OWN_FAMILIES = {family for family, _ in SINGLES} | {"P-06"}
SAFE = re.compile(r"[A-Za-z0-9_.:#/+>~%-]+")


def test_every_built_family_has_its_place_in_the_expansion() -> None:
    made = PAIR_FAMILIES | OWN_FAMILIES | {f for f, _ in ONCE} | {f for f, _ in EDGES}
    assert made | {"C-03"} == BUILT


@pytest.mark.parametrize(("name", "board"), ALL)
def test_every_pair_and_every_owner_has_a_program_or_a_reason(name: str, board: str) -> None:
    s = shape(name, board)
    pairs, owners = defaultdict(set), defaultdict(set)
    for case in (*s.programs, *s.refused):
        pairs[case.family].add((case.actor, case.victim))
        owners[case.family].add(case.actor)
    everybody = {o.index for o in s.image.owners}
    wanted = {(a, v) for a in everybody for v in everybody if a != v}
    for family in PAIR_FAMILIES:
        assert wanted <= pairs[family], f"{family}: {sorted(wanted - pairs[family])}"
    for family in OWN_FAMILIES:
        assert owners[family] == everybody, family
    for family, _ in ONCE:
        assert owners[family] == {0}
    assert not [r for r in s.refused if r.why is Why.INFRA]


@pytest.mark.parametrize(("name", "board"), ALL)
def test_ids_are_unique_and_printable_and_the_same_again(name: str, board: str) -> None:
    s = shape(name, board)
    cases = (*s.programs, *s.refused)
    assert len({case.id for case in cases}) == len(cases)
    assert all(SAFE.fullmatch(case.id) and case.id.startswith(case.family) for case in cases)
    again, refused = s.expand(seed=1)
    assert again == s.programs and refused == s.refused
    other, _ = s.expand(seed=2)
    assert [p.id for p in other] == [p.id for p in s.programs]
    assert [p.values for p in other] != [p.values for p in s.programs]


def test_hostile_names_stay_apart_and_harmless() -> None:
    image = with_lists(SHAPES["page"].image())
    names = ("<script>alert(1)</script>\n", "../../etc/passwd", "ü" * 5000)
    owners = tuple(replace(o, name=n) for o, n in zip(image.owners, names, strict=True))
    s = sample(replace(image, owners=owners), ARM, Lowering.SYNTH)
    ids = [case.id for case in (*s.programs, *s.refused)]
    assert len(set(ids)) == len(ids)
    assert all(SAFE.fullmatch(i) and len(i) < 400 for i in ids)


@pytest.mark.parametrize(("name", "board"), ALL)
def test_an_address_is_the_victims_by_the_manifest(name: str, board: str) -> None:
    s = shape(name, board)
    for p in s.programs:
        access = p.armed.access
        if access is None or p.victim is None or p.family in ("W-17", "C-04") or p.sweep:
            continue
        owners = {s.truth.owner_of(at) for at in range(access.address, access.end)}
        shared = {s.truth.name_of(access.address)} & {"table"} or p.armed.stop is Stop.ALLOWED
        if p.family == "S-01":
            assert s.truth.owner_of(p.address) == p.victim
        elif not shared and s.image.owners[p.victim].domain is None:
            assert p.victim in owners, p.id


@pytest.mark.parametrize(("name", "board"), ALL)
def test_the_manifest_decides_what_must_be_stopped(name: str, board: str) -> None:
    s = shape(name, board)
    for p in s.programs:
        if p.armed.access is not None and p.armed.stop in (Stop.TRAP, Stop.ALLOWED):
            assert (p.armed.stop is Stop.TRAP) == s.must_stop(p), p.id
    assert any(p.armed.stop is Stop.ALLOWED and p.semantic_escape for p in s.of("W-03"))


@pytest.mark.parametrize(("name", "board"), ALL)
def test_a_legal_leg_stays_with_the_actors_own(name: str, board: str) -> None:
    s = shape(name, board)
    for p in s.programs:
        leg = p.legs.get(Leg.LEGAL)
        if leg is None or p.armed.access is None or leg.focus == 0:
            continue
        kind = Kind.WRITE if p.effects[Leg.LEGAL] is Effect.STORED else Kind.READ
        assert s.truth.granted(p.actor, kind).covers(leg.focus, leg.focus + p.width), p.id


@pytest.mark.parametrize(("name", "board"), ALL)
def test_what_a_disarmed_leg_writes_is_put_back_or_hurts_nobody(name: str, board: str) -> None:
    s = shape(name, board)
    mailbox = s.plan.placement.find("mailbox")
    roles = s.board.roles
    assert roles is not None
    for p in s.programs:
        leg = p.legs.get(Leg.DISARMED)
        access = p.armed.access
        if leg is None or access is None or access.kind is not Kind.WRITE or leg.disarm is Disarm.PRIVILEGE:
            continue
        assert not mailbox.start <= p.address < mailbox.end, p.id
        if s.truth.name_of(p.address) in ("agent:text", "agent:ram"):
            assert s.symbols["rig_sacrifice_ram"] <= p.address < s.symbols["rig_sacrifice_ram"] + 64 or \
                s.symbols["rig_sacrifice_text"] <= p.address < s.symbols["rig_sacrifice_text"] + 64, p.id
        if leg.verb is Verb.RUN and p.effects[Leg.DISARMED] in (Effect.STORED, Effect.ADDED) and p.family != "W-17":
            assert Flag.RESTORE in leg.flags, p.id
            assert leg.watch <= p.address and p.address + p.width <= leg.watch + leg.watch_len, p.id


def test_an_armed_store_that_gets_through_is_undone_before_the_next_program() -> None:
    s = shape("multi")
    for p in s.programs:
        leg = p.legs.get(Leg.ARMED)
        access = p.armed.access
        if leg and leg.verb is Verb.RUN and access and access.kind is Kind.WRITE and leg.watch_len:
            assert Flag.RESTORE in leg.flags, p.id


@pytest.mark.parametrize("board", ["arm", "rv"])
def test_execute_attacks_plant_at_their_target(board: str) -> None:
    s = shape("multi", board)
    planted = [p for p in s.programs if p.op == "call" and Flag.PLANT in p.legs[Leg.ARMED].flags]
    assert {p.family for p in planted} == {"X-01", "X-02", "X-03", "X-05"}
    for p in planted:
        leg = p.legs[Leg.ARMED]
        assert leg.watch == p.address and leg.watch_len >= 2 and leg.focus == 0
        assert p.armed.pcs == {p.address}


def test_no_program_is_longer_than_the_agent_takes() -> None:
    for name, board in ALL:
        for p in shape(name, board).programs:
            for wire in (*p.legs.values(), *p.after.values()):
                check_wire(wire, p)


def check_wire(wire: Program, p: FaultProgram) -> None:
    assert wire.watch_len <= 64 and 0 < wire.limit_us <= 10_000_000, p.id
    assert len(wire.steps) <= 64 and all(len(x.args) <= 16 and len(x.fargs) <= 16 for x in wire.steps), p.id
    assert all(0 <= word < 1 << 32 for step in wire.steps for word in (*step.args, *step.fargs, step.entry)), p.id
    assert wire.verb is not Verb.SWEEP or 0 < wire.count <= 16384, p.id
    assert all(leg in p.effects for leg in p.legs if leg is not Leg.ARMED), p.id


def test_contexts_are_the_actors_and_only_variants_are_others() -> None:
    for name, board in ALL:
        s = shape(name, board)
        count = len(s.image.owners)
        for p in s.programs:
            for leg, wire in p.legs.items():
                high = [step.context for step in wire.steps if step.context >= count]
                assert not high or (p.family in ("W-17", "W-18") and leg is Leg.DISARMED), p.id
            if p.family not in ("T-02", "W-07", "W-18") and Leg.ARMED in p.legs:
                assert p.legs[Leg.ARMED].steps[-1].context == p.actor, p.id


def test_static_is_a_control_row_of_data_accesses_that_must_land() -> None:
    s = shape("multi", "arm", None, Strategy.STATIC)
    assert {p.family for p in s.programs} == {"D-01", "D-02"}
    assert all(p.armed.stop is Stop.LANDS and p.control and s.must_stop(p) for p in s.programs)
    everybody = {o.index for o in s.image.owners}
    assert {(p.actor, p.victim) for p in s.programs} == {(a, v) for a in everybody for v in everybody if a != v}
    assert {r.family for r in s.refused} == BUILT - {"D-01", "D-02"}
    table = shape("tables", "arm", None, Strategy.STATIC)
    start = table.plan.placement.all(Placing.TABLE)[0].start
    assert {p.actor for p in table.programs if p.address == start} == {0, 1, 2}


def test_owners_of_one_context_are_not_isolated_and_never_a_trap() -> None:
    image = replace(with_lists(SHAPES["page"].image()), shared_context=((0, 1),), findings=(finding("F14", (1, 0)),))
    s = sample(image, ARM, Lowering.SYNTH)
    both = [c for c in s.refused if {c.actor, c.victim} == {0, 1}]
    assert both and all(c.why is Why.SHARED for c in both)
    edges = {family for family, _ in EDGES} | {"S-01", "C-04"}  # native stacks are never shared
    assert {p.family for p in s.programs if {p.actor, p.victim} == {0, 1}} <= edges
    assert {c.reason for c in s.refused if c.why is Why.SHARED} == {"not isolated: F14 (a, b)"}
    assert {c.family for c in both} == PAIR_FAMILIES
    assert any(p.actor == 2 and p.victim == 0 for p in s.of("D-01"))


def test_a_group_is_named_by_the_finding_that_made_it() -> None:
    image = replace(with_lists(SHAPES["page"].image()), shared_context=((0, 1, 2),), findings=(
        finding("F14", (0, 1)), replace(finding("F9", (0, 2)), cured=True)))
    s = sample(image, ARM, Lowering.SYNTH)
    assert {c.reason for c in s.refused if c.why is Why.SHARED and {c.actor, c.victim} == {0, 2}} == {
        "not isolated: F14 (a, x)"}


def test_pairs_inside_a_domain_are_listed_as_such() -> None:
    s = shape("domains")
    inside = [r for r in s.refused if {r.actor, r.victim} == {0, 1}]
    assert {r.family for r in inside} == PAIR_FAMILIES
    assert {r.reason for r in inside} == {"N/A(same domain)"}


def test_missing_input_refuses_a_family_once() -> None:
    missing = {"K-02": "no types", "K-11": "no types", "C-03": "no components"}
    s = sample(replace(with_lists(SHAPES["multi"].image()), refusals=missing), ARM, Lowering.SYNTH)
    found = [(r.id, r.why, r.reason) for r in s.refused if r.family in missing]
    assert found == [("K-02/all", Why.INPUT, "no types"), ("K-11/all", Why.INPUT, "no types")]
    assert not s.of("K-02") and not s.of("K-11")


def test_reasons_are_those_of_the_issue() -> None:
    reasons = {r.reason for name, board in ALL for r in shape(name, board).refused}
    assert {"N/A(no intruder)", "N/A(no list seam)", "N/A(no table)", "N/A(shared .text)", "N/A(same domain)",
            "N/A(no slack)", "N/A(one memory)", "N/A(not the same memory)", "N/A(no linear memory)"} <= reasons


def test_one_owner_alone_has_no_pairs_but_all_else() -> None:
    image = SHAPES["page"].image()
    s = sample(replace(image, owners=image.owners[:1], seams=()), ARM, Lowering.SYNTH)
    assert {r.family for r in s.refused if r.reason == "N/A(no pair of owners)"} == PAIR_FAMILIES
    assert {p.family for p in s.programs} >= {"C-01", "C-02", "D-03", "X-01", "S-01", "P-06"}


def test_quick_has_fewer_programs_of_the_same_families(name: str = "multi") -> None:
    s: Sample = shape(name)
    few, refused = s.expand(quick=True)
    assert len(few) < len(s.programs) * 3 / 4
    assert {p.family for p in few} | {r.family for r in refused} == {c.family for c in (*s.programs, *s.refused)}


def test_many_owners_still_get_every_family_for_every_pair() -> None:
    crowd = Build(Model.PAGE, [Part(f"c{i}") for i in range(20)]).image()
    s = sample(crowd, ARM, Lowering.SYNTH)
    done = defaultdict(set)
    for case in (*s.programs, *s.refused):
        done[case.family].add((case.actor, case.victim))
    assert all(len(done[family] - {(None, None)}) >= 20 * 19 for family in PAIR_FAMILIES)
    assert len([p for p in s.of("D-01") if (p.actor, p.victim) == (0, 1)]) == 3


@pytest.mark.parametrize(("board", "families"), [(ARM, {"D-05"}), (RV, {"D-05", "D-06"})])
def test_two_leg_programs_say_why(board: object, families: set[str]) -> None:
    s = shape("page", "arm" if board is ARM else "rv")
    for p in s.programs:
        if Leg.DISARMED not in p.legs:
            assert p.disarmed_none or p.family in ("C-05",), p.id
        if p.family in families and board is RV:
            assert Leg.DISARMED not in p.legs, p.id


def test_on_arm_a_hole_ends_in_a_precise_bus_fault_when_disarmed() -> None:
    for p in shape("page").of("D-06"):
        assert p.effects[Leg.DISARMED] is Effect.REACHED
        assert [(x.cause, x.first, x.last) for x in p.reached] == [("PRECISERR", p.address, p.address)]
