# SPDX-License-Identifier: Apache-2.0
"""Families whose programs need more than an address: intruders, lists, tables, supervisor calls, edges."""

from __future__ import annotations

from dataclasses import replace

import pytest
from faults_samples import ARM, RV, SHAPES, Elf, Sample, sample, shape, with_lists, with_tools
from plan_images import registers

from rig.arch import pmp, pmsav7
from rig.arch.types import Access, Kind
from rig.faults.ids import Ids, escape
from rig.faults.model import Effect, Stop, Why
from rig.faults.shared import variants
from rig.image.formula import native_address
from rig.inject.model import Leg, Verb
from rig.plan.globals import instance
from rig.plan.model import Lowering, Strategy


def allows(s: Sample, context: object, access: Access) -> bool | None:
    there = registers(context, s.board)
    decide = pmsav7.decide if isinstance(there, pmsav7.Context) else pmp.decide
    return decide(there, access).allow


# -- wasm attacks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", ["arm", "rv"])
def test_an_index_lands_where_the_program_says(board: str) -> None:
    s = shape("multi", board)
    tools = {s.symbols[f"rig_fn_{p.function}"]: p for p in s.image.primitives}
    checked = 0
    for p in s.programs:
        if p.family not in ("W-01", "W-02", "W-03", "W-04", "W-05", "W-08"):
            continue
        step = p.legs[Leg.ARMED].steps[-1]
        tool = tools[step.entry]
        base = s.plan.placement.find(f"memory:{tool.memory}").start
        first = s.plan.lowering is Lowering.WASM2C
        assert not first or step.args[0] == s.plan.context(p.actor).instance
        index = step.args[1 if first else 0]
        assert native_address(s.plan.lowering.value, base, s.image.memories[tool.memory].size, index, tool.offset,
                              tool.width) == p.address, p.id
        checked += 1
    assert checked > 50


def test_a_pc_is_an_access_of_that_kind_inside_the_function() -> None:
    s = shape("multi")
    spans = {s.symbols[f"rig_fn_{p.function}"]: s.elf.span(p.function) for p in s.image.primitives}
    for p in s.of("W-01"):
        low, high = spans[p.legs[Leg.ARMED].steps[-1].entry] or (0, 0)
        assert p.armed.pcs and all(low <= pc < high for pc in p.armed.pcs)


def test_a_function_without_such_an_access_is_no_evidence() -> None:
    s = shape("multi")
    blind = replace(s, elf=Elf(s.elf.spans, dict.fromkeys(s.elf.code, b"\x00\xbf" * 2)))
    _, refused = blind.expand()
    assert [r for r in refused if r.family == "W-01" and r.why is Why.INFRA]


def test_eight_bytes_may_be_two_accesses_and_either_half_may_be_reported() -> None:
    s = shape("multi")
    p = next(p for p in s.of("W-05") if p.op == "i64.load")
    assert [(x.address, x.size) for x in p.armed.pieces] == [(p.address, 4), (p.address + 4, 4)]
    decision = s.decision(p)
    assert decision is not None and decision.allow is False
    assert {(x.first, x.last) for x in decision.syndromes} == {(p.address + 4, p.address + 4)}


def test_a_double_travels_in_a_float_register_where_the_abi_says_so() -> None:
    store = next(p for p in shape("multi").of("W-05") if p.op == "f64.store")
    step, value = store.legs[Leg.ARMED].steps[-1], store.values[Leg.ARMED]
    assert step.fargs == (value & 0xFFFF_FFFF, value >> 32) and value >> 52 & 0x7FF not in (0, 0x7FF)
    soft = next(p for p in shape("multi", "rv").of("W-05") if p.op == "f64.store")
    assert soft.legs[Leg.ARMED].steps[-1].fargs == ()


def test_what_masking_cannot_express_is_said() -> None:
    image = with_tools(with_lists(SHAPES["page"].image()), 2)
    image = replace(image, memories=(replace(image.memories[0], pages=4),))
    s = sample(image, RV, Lowering.SYNTH_MASK)
    for family in ("W-01", "W-02"):
        found = [r for r in s.refused if r.family == family and r.actor == 2]
        assert found and {r.reason for r in found} == {"N/A(lowering)"}
    assert s.of("W-08") and all(p.armed.stop is Stop.TRAP for p in s.of("W-08"))


def test_memories_must_not_alias() -> None:
    for p in shape("multi").of("W-07"):
        store, load = p.legs[Leg.ARMED].steps
        assert store.context == p.actor and load.context == p.victim and load.args == (p.address,)
        assert p.armed.stop is Stop.UNAFFECTED and Leg.DISARMED not in p.legs


def test_slack_of_a_region_is_granted_and_an_escape_of_meaning_only_outside_wasm() -> None:
    s = shape("backed")
    own = [p for p in s.of("G-03") if p.victim is None]
    assert own and all(p.armed.stop is Stop.ALLOWED for p in own)
    for p in s.of("W-04"):
        assert p.armed.stop is Stop.ALLOWED and not p.semantic_escape  # inside the declared page


# -- lists --------------------------------------------------------------------------------------------------------


def test_lists_are_attacked_at_their_end_beyond_it_and_around_2_to_the_32() -> None:
    s = shape("multi")
    for owner, pages in ((0, 2), (2, 1)):
        found = [p for p in s.of("K-02") if p.actor == owner]
        tags = {p.id.split("/")[1].removeprefix("list."): p for p in found}
        assert set(tags) == {"beyond", "high-pointer", "all", "wraps"}
        high = pages * 65536
        pointer, length = tags["beyond"].legs[Leg.LEGAL].steps[0].args[:2]
        assert pointer + length == high
        pointer, length = tags["beyond"].legs[Leg.ARMED].steps[0].args[:2]
        assert pointer + length == high + 1
        pointer, length = tags["wraps"].legs[Leg.ARMED].steps[0].args[:2]
        assert pointer + length >= 1 << 32 and (pointer + length) % (1 << 32) <= high and pointer <= high
        assert tags["all"].legs[Leg.ARMED].steps[0].args[1] == 0xFFFF_FFFF
        for p in found:
            assert p.legs[Leg.ARMED].steps[0].entry == s.symbols[f"rig_gate_{p.armed.seam}"] and p.fresh


def test_a_pointer_into_the_callees_memory_is_searched_for_its_secret() -> None:
    s = shape("multi")
    found = s.of("K-11")
    assert {(p.actor, p.victim) for p in found} == {(0, 1), (2, 1)}
    for p in found:
        *writes, call = p.legs[Leg.ARMED].steps
        assert all(step.context == p.victim for step in writes) and call.context == p.actor
        caller = s.image.owners[p.actor].slice
        assert caller is not None
        base = s.plan.placement.find(f"memory:{caller.memory}").start
        assert (base + call.args[0]) % (1 << 32) == writes[0].args[0]
        scan = p.after[Leg.ARMED]
        theirs = s.plan.placement.find("memory:1")
        assert (scan.verb, scan.first, scan.count) == (Verb.SCAN, theirs.start, theirs.size)
        secret = b"".join(step.args[1].to_bytes(4, "little") for step in writes)
        assert scan.payloads[0].data == secret and len(set(secret)) > 4
        assert p.effects[Leg.DISARMED] is Effect.NEEDLE and Leg.LEGAL not in p.after


def test_wasm2c_checks_its_copies_so_that_no_leak_is_asked_for() -> None:
    assert {p.effects[Leg.DISARMED] for p in shape("multi", "rv").of("K-11")} == {Effect.PASSED_GATE}


# -- tables and globals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "board"), [("multi", "arm"), ("multi", "rv"), ("tables", "arm"), ("tables", "rv")])
def test_variants_let_everybody_use_the_first_owners_copies(name: str, board: str) -> None:
    s = shape(name, board)
    made = variants(s.plan)
    count = len(s.plan.contexts)
    assert [v.id for v in made] == [count + v.owner for v in made] and len(made) == count
    first = s.plan.contexts[0]
    at = first.r9 or first.instance
    for v in made:
        assert (v.r9, v.instance, v.window_save) == (first.r9, first.instance, first.window_save)
        assert allows(s, v, Access(Kind.WRITE, at, 4, False))
        own = s.plan.context(v.owner)
        assert allows(s, own, Access(Kind.WRITE, at, 4, False)) == (v.owner == 0)
        assert allows(s, v, Access(Kind.WRITE, own.stack_low, 4, False))
    assert variants(shape("multi", "arm", None, Strategy.STATIC).plan) == ()


def test_a_table_that_nobody_may_write_is_writable_in_every_variant() -> None:
    s = shape("tables")
    table = s.plan.placement.find("table").start
    for context, variant in zip(s.plan.contexts, variants(s.plan), strict=True):
        assert not allows(s, context, Access(Kind.WRITE, table, 4, False))
        assert allows(s, variant, Access(Kind.WRITE, table, 4, False))
    forged = s.of("W-17")
    assert {p.victim for p in forged} == {0, 1} and {p.address for p in forged} == {table}
    assert {p.legs[Leg.DISARMED].steps[0].context for p in forged} == {3, 4, 5}


def test_an_owner_without_a_free_region_has_no_variant_and_says_so() -> None:
    s = shape("multi")
    full = replace(s.plan.contexts[1], arm=tuple((b, r | 1) for b, r in s.plan.contexts[1].arm))
    contexts = (s.plan.contexts[0], full, *s.plan.contexts[2:])
    tight = replace(s, plan=replace(s.plan, contexts=contexts))
    assert 1 not in {v.owner for v in variants(tight.plan)}
    _, refused = tight.expand()
    assert {r.reason for r in refused if r.family == "W-18" and 1 in (r.actor, r.victim)} == {
        "N/A(no free region for one table for all)"}


def test_the_poisoned_word_is_the_owners_stack_pointer() -> None:
    s = shape("multi")
    for p in s.of("W-18"):
        store, load = p.legs[Leg.ARMED].steps
        assert (store.context, load.context) == (p.actor, p.victim)
        assert load.args[0] - s.plan.context(load.context).r9 == store.args[0] - s.plan.context(store.context).r9
    w = shape("multi", "rv")
    offsets = {p.legs[Leg.ARMED].steps[1].args[0] - w.plan.context(p.victim or 0).instance for p in w.of("W-18")}
    assert offsets <= set(instance(w.image).globals)


def test_a_window_is_judged_by_the_victims_value_from_reset() -> None:
    image = with_lists(SHAPES["page"].image())
    s = sample(replace(image, memories=(replace(image.memories[0], pages=4),)), RV, Lowering.SYNTH_MASK)
    for p in s.of("W-18"):
        slice_ = s.image.owners[p.victim or 0].slice
        assert slice_ is not None and p.values[Leg.ARMED] == 1024 + slice_.span.start and p.fresh and p.fresh_start
        assert {step.args[0] for step in p.legs[Leg.ARMED].steps} == {s.plan.placement.find("window").start}


# -- the rest -----------------------------------------------------------------------------------------------------


def test_all_256_immediates_are_tried_by_one_owner_and_the_ends_by_all() -> None:
    s = shape("multi")
    numbers = {owner.index: {p.armed.value for p in s.of("P-06") if p.actor == owner.index and p.op == "svc"}
               for owner in s.image.owners}
    intruder = next(o.index for o in s.image.owners if o.intruder)
    assert numbers.pop(intruder) == set(range(256)) - {1, 2}
    assert all(tried == {0, 3, 255} for tried in numbers.values())
    gates = [p for p in s.of("P-06") if p.op == "gate"]
    callers = {seam.index: seam.caller for seam in s.image.seams}
    assert gates and all(callers[p.armed.seam or 0] != p.actor and p.armed.gate_codes == {2} for p in gates)
    ecalls = {p.legs[Leg.ARMED].steps[0].args for p in shape("multi", "rv").of("P-06") if p.op != "gate"}
    assert {(0xFFFF_FFFF, 0), (0x7FFF_FFFF, 0), (1, 0xFFFF_FFFF), (1, 0x7FFF_FFFF)} <= ecalls


def test_sweeps_cover_both_sides_of_every_own_edge() -> None:
    s = shape("page")
    for owner in s.image.owners:
        data = s.plan.placement.find(f"slice:{owner.index}")
        sweeps = [p.sweep for p in s.of("G-02") if p.actor == owner.index and p.op == "store8" and p.sweep]
        swept = {first + i * stride for first, count, stride in sweeps for i in range(count)}
        for edge in (data.start, data.end):
            assert set(range(edge - 64, edge + 64)) <= swept


def test_edges_of_what_may_only_be_read_are_edges_too() -> None:
    s = shape("tables")
    table = s.plan.placement.find("table")
    loads = [p for p in s.of("G-01") if p.address == table.end and p.armed.access and p.armed.access.kind is Kind.READ]
    assert {p.actor for p in loads if p.armed.stop is Stop.TRAP} == {1, 2}


def test_a_push_is_only_made_where_no_exception_frame_can_land_on_own_bytes() -> None:
    for name in ("multi", "tables", "domains"):
        s = shape(name)
        for p in (*s.of("G-07"), *s.of("D-07")):
            if p.op in ("push", "pop") and p.armed.stop is Stop.TRAP:
                assert not s.truth.granted(p.actor, Kind.WRITE).overlaps(p.address - 104, p.address), p.id


def test_no_sweep_item_crosses_an_edge() -> None:
    for name, board in (("page", "arm"), ("page", "rv"), ("multi", "arm")):
        s = shape(name, board)
        for p in s.of("G-02"):
            access = p.armed.access
            assert access is not None and p.sweep is not None
            granted = s.truth.granted(p.actor, access.kind)
            first, count, stride = p.sweep
            for at in range(first, first + count * stride, stride):
                assert granted.covers(at, at + access.size) or not granted.overlaps(at, at + access.size), p.id


def test_straddles_name_the_first_byte_that_is_not_granted() -> None:
    s = shape("page")
    for p in s.of("G-06"):
        access = p.armed.access
        assert access is not None
        granted = s.truth.granted(p.actor, access.kind)
        if p.straddle is not None:
            assert p.straddle not in granted and granted.covers(access.address, p.straddle)
            assert p.armed.own_side and p.legs[Leg.ARMED].focus == p.straddle
        elif p.armed.own_side:
            focus = p.legs[Leg.ARMED].focus
            assert not granted.overlaps(focus, focus + 16)


def test_every_byte_of_the_own_memory_is_used_in_all_widths() -> None:
    s = shape("multi")
    for owner in s.image.owners:
        for name, width in (("rw8", 1), ("rw16", 2), ("rw32", 4)):
            done = sum(p.legs[Leg.ARMED].steps[0].args[1] * width for p in s.of("C-02")
                       if p.actor == owner.index and p.op == name)
            assert done == s.truth.granted(owner.index, Kind.WRITE).size


def test_escaped_names_differ_where_names_differ() -> None:
    names = ["a", "a%20", "a ", "%", "ä", "a\n", "x" * 500, "x" * 501, "<b>"]
    assert len({escape(n) for n in names}) == len(names)
    assert escape("demo:iso/provider#get>x-1.y_z+") == "demo:iso/provider#get>x-1.y_z+" and escape("<") == "%3C"
    ids = Ids()
    assert [ids.unique("a"), ids.unique("a"), ids.unique("b"), ids.unique("a")] == ["a", "a~2", "b", "a~3"]


def test_a_part_without_floating_point_has_no_such_programs() -> None:
    image = with_lists(SHAPES["page"].image())
    s = sample(image, replace(ARM, fpu=None), Lowering.SYNTH)
    assert {p.op for p in s.of("D-08")} == {"load64", "store64"}
    bare = sample(image, replace(RV, qemu=None), Lowering.WASM2C)
    assert {r.reason for r in bare.refused if r.family == "D-08"} == {"N/A(no FPU and no doubleword instruction)"}
