# SPDX-License-Identifier: Apache-2.0
"""The judge, rule by rule: an observation that is right in everything passes; one wrong fact and it does not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from faults_samples import SHAPES, Sample, shape
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_ideal import LIVE, Scene, scene

from rig.arch.types import Decision
from rig.boards.model import Arch
from rig.faults.model import Effect, FaultProgram, Stop, Verdict, Why
from rig.inject.model import Disarm, Leg, Outcome
from rig.judge import CanaryResult, judge_structure
from rig.plan.model import Strategy

ALL = [(name, board) for name in SHAPES for board in ("arm", "rv")]
STATIC = [("multi", "arm"), ("tables", "arm"), ("multi", "rv")]


def pick(s: Sample, family: str, **how: object) -> FaultProgram:
    return next(p for p in s.of(family) if all(getattr(p, k) == v for k, v in how.items()))


def arm(family: str = "D-02", **how: object) -> Scene:
    s = shape("multi")
    return scene(s, pick(s, family, **how))


def rv(family: str = "D-02", **how: object) -> Scene:
    s = shape("multi", "rv")
    return scene(s, pick(s, family, **how))


def says(found: Scene, verdict: Verdict, klass: str, why: Why | None = None) -> None:
    judgement = found.verdict()
    assert (judgement.verdict, judgement.klass, judgement.why) == (verdict, klass, why), judgement
    assert judgement.reason or verdict is Verdict.PASS


def fails(found: Scene, klass: str) -> None:
    says(found, Verdict.FAIL, klass)


def void(found: Scene, klass: str = "CONTROL_FAILED", why: Why = Why.CONTROL) -> None:
    says(found, Verdict.REFUSED, klass, why)


# -- what is right passes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "board"), ALL)
def test_every_program_that_ends_as_it_must_passes(name: str, board: str) -> None:
    s = shape(name, board)
    for program in s.programs:
        if program.family != "C-05":
            judgement = scene(s, program).verdict()
            assert judgement.verdict is Verdict.PASS, (program.id, judgement)


@pytest.mark.parametrize(("name", "board"), STATIC)
def test_the_static_row_passes_when_everything_lands(name: str, board: str) -> None:
    s = shape(name, board, None, Strategy.STATIC)
    assert all(scene(s, p).verdict().klass == "LANDED" for p in s.programs)


def test_a_granted_access_that_wasm_would_trap_on_is_a_finding() -> None:
    s = shape("multi")
    judgement = scene(s, next(p for p in s.of("W-03") if p.semantic_escape)).verdict()
    assert (judgement.verdict, judgement.findings) == (Verdict.PASS, ("semantic-escape",))


# -- the record must be whole -------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", list(Leg))
def test_a_missing_leg_is_no_verdict(leg: Leg) -> None:
    found = arm()
    void(replace(found, seen={k: v for k, v in found.seen.items() if k is not leg}), "NO_RECORD", Why.INFRA)


@pytest.mark.parametrize("leg", list(Leg))
def test_a_result_of_another_program_or_leg_is_no_verdict(leg: Leg) -> None:
    void(arm().spoil(leg, index=7), "NO_RECORD", Why.INFRA)
    void(arm().spoil(leg, leg=Leg((leg + 1) % 3)), "NO_RECORD", Why.INFRA)
    void(arm().spoil(leg, outcome=Outcome.BAD_PROGRAM, detail=6), "NO_RECORD", Why.INFRA)


def test_without_read_back_registers_there_is_no_prediction() -> None:
    void(replace(arm(), decision=None), "NO_PREDICTION", Why.INFRA)
    void(replace(arm("G-02"), sweep=None), "NO_PREDICTION", Why.INFRA)


def test_a_program_made_for_another_manifest_is_no_verdict() -> None:
    void(replace(arm(), must_stop=False), "NO_PREDICTION", Why.INFRA)


def test_canaries_that_nobody_read_are_no_verdict() -> None:
    for unread in (CanaryResult(None, ""), CanaryResult("", None)):
        void(replace(arm(), canaries=unread), "NO_RECORD", Why.INFRA)


# -- controls -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leg", [Leg.LEGAL, Leg.DISARMED])
@pytest.mark.parametrize("outcome", [Outcome.TRAPPED, Outcome.TIMEOUT, Outcome.GATE_REFUSED, Outcome.SVC_REJECTED])
def test_a_control_leg_that_did_not_come_out_voids(leg: Leg, outcome: Outcome) -> None:
    found = arm().spoil(leg, outcome=outcome)
    void(found)
    assert found.verdict().leg is leg


@pytest.mark.parametrize("leg", [Leg.LEGAL, Leg.DISARMED])
def test_returning_is_not_the_effect_of_a_store(leg: Leg) -> None:
    found = arm()
    void(found.spoil(leg, after=found.seen[leg].before))


@pytest.mark.parametrize("leg", [Leg.LEGAL, Leg.DISARMED])
def test_returning_is_not_the_effect_of_a_load(leg: Leg) -> None:
    for op in ("load8u", "load8s", "load16s", "load32", "load64"):
        found = arm("D-01", op=op)
        low, high = found.seen[leg].regs[:2]
        void(found.spoil(leg, regs=(low ^ 1, high, 0, 0)))
    found = arm("D-01", op="load64")
    low, high = found.seen[leg].regs[:2]
    void(found.spoil(leg, regs=(low, high ^ 1, 0, 0)))


def test_a_sign_is_part_of_what_was_loaded() -> None:
    found = arm("D-01", op="load8s")
    void(found.spoil(Leg.LEGAL, regs=(found.seen[Leg.LEGAL].regs[0] & 0xFF, 0, 0, 0)))


def test_an_atomic_add_shows_old_and_new_value() -> None:
    found = rv("D-09", op="amoadd")
    void(found.spoil(Leg.DISARMED, regs=(0, 0, 0, 0)))
    void(found.spoil(Leg.DISARMED, after=found.seen[Leg.DISARMED].before))


def test_a_disarmed_hole_must_end_in_the_very_bus_fault() -> None:
    found = arm("D-06")
    cfsr, hfsr, mmfar, bfar, *rest = found.seen[Leg.DISARMED].fault
    void(found.spoil(Leg.DISARMED, outcome=Outcome.RETURNED))
    void(found.spoil(Leg.DISARMED, fault=(cfsr, hfsr, mmfar, bfar ^ 4, *rest)))
    void(found.spoil(Leg.DISARMED, fault=(0x82, hfsr, bfar, 0, *rest)))


def test_a_disarmed_sweep_must_land_everywhere() -> None:
    found = next(scene(shape("multi"), p) for p in shape("multi").of("G-02") if p.op == "store32")
    blob = found.seen[Leg.DISARMED].blob
    void(found.spoil(Leg.DISARMED, blob=b"\1" + blob[1:]))
    void(found.spoil(Leg.DISARMED, blob=bytes(len(blob))))
    void(found.spoil(Leg.DISARMED, blob=blob[:-1]))


def test_a_privileged_register_that_does_not_change_for_the_privileged_proves_nothing() -> None:
    found = arm("P-02", op="primask")
    void(found.spoil(Leg.DISARMED, regs=(0, 0, 0, 0)))
    void(arm("C-01").spoil(Leg.DISARMED, regs=(1, 0, 0, 0)))


def test_a_leg_that_stops_early_did_not_come_out() -> None:
    found = arm("T-01")
    assert found.seen[Leg.LEGAL].step == 1
    void(found.spoil(Leg.LEGAL, step=0))


def test_a_static_row_where_something_is_stopped_is_void() -> None:
    s = shape("multi", "arm", None, Strategy.STATIC)
    void(scene(s, s.of("D-02")[0]).spoil(Leg.ARMED, outcome=Outcome.TRAPPED, fault=arm().armed.fault))
    found = scene(s, s.of("D-02")[0])
    void(found.spoil(Leg.ARMED, after=found.armed.before))


@pytest.mark.parametrize("family", ["C-07", "C-08"])
def test_a_failed_control_program_voids_instead_of_failing(family: str) -> None:
    found = scene(shape("multi"), next(p for p in shape("multi").of(family) if p.armed.access and p.width == 4))
    void(found.spoil(Leg.ARMED, fault=(0, *found.armed.fault[1:])))


def test_the_disarmed_attack_on_its_own_is_a_control() -> None:
    says(arm("C-04"), Verdict.PASS, "CONTROL")
    void(arm("C-04").spoil(Leg.DISARMED, outcome=Outcome.TRAPPED))


# -- the two halves of the prediction -----------------------------------------------------------------------------


def test_registers_that_allow_what_the_manifest_forbids_fail_whatever_happens() -> None:
    fails(replace(arm(), decision=Decision(True, ())), "STRUCTURE")
    s = shape("page")
    granted = scene(s, next(p for p in s.programs if p.armed.stop is Stop.ALLOWED and p.armed.access))
    fails(replace(granted, decision=arm().decision), "STRUCTURE")


def test_registers_without_a_meaning_fail() -> None:
    fails(replace(arm(), decision=Decision(None, (), ("region 3: AP = 100",))), "STRUCTURE")
    found = arm("G-02")
    assert found.sweep is not None
    fails(replace(found, sweep=replace(found.sweep, unknown=1)), "STRUCTURE")


def test_one_item_of_a_sweep_that_the_halves_see_differently_fails() -> None:
    found = arm("G-02")
    assert found.sweep is not None
    for bit in (0, found.sweep.count - 1):
        fails(replace(found, sweep=replace(found.sweep, denied=found.sweep.denied ^ 1 << bit)), "STRUCTURE")


def test_a_probe_does_not_ask_the_manifest() -> None:
    s = shape("multi")
    found = scene(s, next(p for p in s.of("C-07") if p.armed.access and p.armed.access.kind.value == "write"
                          and p.id.startswith("C-07/store8.last")))
    says(replace(found, must_stop=not found.must_stop), Verdict.PASS, "ALLOWED")


def test_registers_that_changed_between_read_back_and_entry_fail() -> None:
    fails(arm().spoil(Leg.ARMED, live=LIVE ^ 1), "STRUCTURE")
    says(replace(arm().spoil(Leg.ARMED, live=1), live=None), Verdict.PASS, "TRAP_EXACT")


# -- how the armed leg ends ---------------------------------------------------------------------------------------


def test_another_cause_address_or_pc_fails() -> None:
    found = arm()
    cfsr, hfsr, mmfar, bfar, pc, *rest = found.armed.fault
    fails(found.spoil(Leg.ARMED, fault=(0x8200, hfsr, 0, mmfar, pc, *rest)), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, fault=(cfsr | 1, hfsr, mmfar, bfar, pc, *rest)), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, fault=(0, hfsr, mmfar, bfar, pc, *rest)), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, fault=(cfsr, hfsr, mmfar + 4, bfar, pc, *rest)), "TRAP_WRONG_ADDR")
    fails(found.spoil(Leg.ARMED, fault=(cfsr & ~0x80, hfsr, mmfar, bfar, pc, *rest)), "TRAP_WRONG_ADDR")
    fails(found.spoil(Leg.ARMED, fault=(cfsr, hfsr, mmfar, bfar, pc + 2, *rest)), "TRAP_WRONG_PC")
    fails(found.spoil(Leg.ARMED, fault=(cfsr, 1 << 30, mmfar, bfar, pc, *rest)), "TRAP_ESCALATED")


def test_another_cause_address_or_pc_fails_on_riscv() -> None:
    found = rv()
    cause, value, pc, *rest = found.armed.fault
    fails(found.spoil(Leg.ARMED, fault=(5, value, pc, *rest)), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, fault=(cause, value + 4, pc, *rest)), "TRAP_WRONG_ADDR")
    fails(found.spoil(Leg.ARMED, fault=(cause, value, pc + 4, *rest)), "TRAP_WRONG_PC")


def test_a_trap_of_privileged_code_proves_nothing() -> None:
    fault = arm().armed.fault
    fails(arm().spoil(Leg.ARMED, fault=(*fault[:7], 6)), "TRAP_WRONG_CAUSE")
    fails(arm().spoil(Leg.ARMED, fault=(*fault[:6], 0xFFFF_FFF1, 7)), "TRAP_WRONG_CAUSE")
    cause, value, pc, _, *rest = rv().armed.fault
    fails(rv().spoil(Leg.ARMED, fault=(cause, value, pc, 3 << 11, *rest)), "TRAP_WRONG_CAUSE")


def test_the_self_test_looks_at_every_field_of_the_record() -> None:
    found = arm("C-08", op="load32")
    fault = found.armed.fault
    void(found.spoil(Leg.ARMED, fault=(*fault[:5], 0x0100_0003, *fault[6:])))


def test_landing_is_an_escape_of_its_kind() -> None:
    fails(arm("D-01").spoil(Leg.ARMED, outcome=Outcome.RETURNED), "ESCAPE_READ")
    fails(arm().spoil(Leg.ARMED, outcome=Outcome.RETURNED, changed=4), "ESCAPE_WRITE")
    fails(arm("X-03").spoil(Leg.ARMED, outcome=Outcome.RETURNED), "ESCAPE_EXEC")


def test_nothing_happening_is_no_pass_unless_listed() -> None:
    fails(arm().spoil(Leg.ARMED, outcome=Outcome.RETURNED), "SILENT_NOP")
    exclusive = arm("D-09", op="strex")
    quiet = exclusive.spoil(Leg.ARMED, outcome=Outcome.RETURNED, regs=(1, 0, 0, 0))
    says(quiet, Verdict.PASS, "SILENT_NOP")
    fails(quiet.spoil(Leg.ARMED, regs=(0, 0, 0, 0)), "SILENT_NOP")
    fails(quiet.spoil(Leg.ARMED, changed=4), "ESCAPE_WRITE")
    fails(replace(quiet, canaries=CanaryResult("hash differs", "")), "ESCAPE_WRITE")


def test_a_trap_after_the_damage_is_late() -> None:
    found = arm()
    fails(found.spoil(Leg.ARMED, changed=1, changed_at=16), "TRAP_LATE")
    fails(found.spoil(Leg.ARMED, after=b"\0" + found.armed.after[1:]), "TRAP_LATE")
    fails(replace(found, canaries=CanaryResult("hash differs", "")), "TRAP_LATE")
    fails(replace(found, canaries=CanaryResult("", "canary byte differs")), "TRAP_LATE")


def test_across_an_edge_only_the_far_side_must_stay() -> None:
    s = shape("page")
    found = scene(s, next(p for p in s.of("G-06") if p.armed.own_side and p.op == "store32"))
    says(found.spoil(Leg.ARMED, changed=2), Verdict.PASS, "TRAP_EXACT")
    fails(found.spoil(Leg.ARMED, after=b"\0" + found.armed.after[1:]), "TRAP_LATE")


def test_damage_to_a_third_party_is_collateral() -> None:
    fails(replace(arm(), canaries=CanaryResult("", "", ("pad:0 differs",))), "COLLATERAL")
    fails(replace(arm("P-06"), canaries=CanaryResult("", "", ("pad:0 differs",))), "COLLATERAL")


def test_a_base_register_must_be_restored() -> None:
    s = shape("page")
    found = scene(s, next(p for p in s.of("G-07") if p.op == "stm" and p.armed.base is not None))
    fails(found.spoil(Leg.ARMED, regs=(found.armed.regs[0] + 4, 0, 0, 0)), "TRAP_WRONG_CAUSE")


def test_somebody_else_running_is_no_pass() -> None:
    fails(arm().spoil(Leg.ARMED, context=5), "COLLATERAL")
    fails(arm().spoil(Leg.ARMED, caller=0), "COLLATERAL")
    fails(arm("T-01").spoil(Leg.ARMED, step=0), "FALSE_TRAP")
    expected = replace(arm(), program=replace(arm().program, caller=2))
    says(expected.spoil(Leg.ARMED, caller=2), Verdict.PASS, "TRAP_EXACT")
    fails(expected, "COLLATERAL")


def test_the_wrong_kind_of_stop_is_no_pass() -> None:
    for outcome in (Outcome.GATE_REFUSED, Outcome.SVC_REJECTED):
        fails(arm().spoil(Leg.ARMED, outcome=outcome), "TRAP_WRONG_CAUSE")


def test_a_hang_counts_when_it_was_seen_twice() -> None:
    hung = arm().spoil(Leg.ARMED, outcome=Outcome.TIMEOUT)
    void(hung, "HANG", Why.INFRA)
    assert hung.verdict().needs_confirmation
    fails(replace(hung, hangs=2), "HANG")
    assert not replace(hung, hangs=2).verdict().needs_confirmation


def test_a_granted_access_that_traps_is_a_false_trap() -> None:
    for family in ("C-02", "C-06", "T-02"):
        found = arm(family) if family != "T-02" else arm(family, op="rw32")
        fails(found.spoil(Leg.ARMED, outcome=Outcome.TRAPPED), "FALSE_TRAP")
    found = arm("C-02")
    fails(found.spoil(Leg.ARMED, regs=(found.armed.regs[0] - 1, 0, 0, 0)), "SILENT_NOP")
    fails(replace(found, canaries=CanaryResult("", "", ("pad:0 differs",))), "COLLATERAL")


def test_an_illegal_instruction_is_exactly_that() -> None:
    found = rv("P-03")
    cause, value, pc, *rest = found.armed.fault
    fails(found.spoil(Leg.ARMED, fault=(1, value, pc, *rest)), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, fault=(cause, value, pc + 4, *rest)), "TRAP_WRONG_PC")
    fails(found.spoil(Leg.ARMED, outcome=Outcome.RETURNED), "ESCAPE_EXEC")


def test_an_ignored_write_must_have_been_ignored() -> None:
    found = arm("P-01")
    fails(found.spoil(Leg.ARMED, regs=(2, 0, 0, 0)), "ESCAPE_WRITE")
    fails(found.spoil(Leg.ARMED, fault=(0,) * 8), "ESCAPE_WRITE")
    fails(found.spoil(Leg.ARMED, outcome=Outcome.TRAPPED), "TRAP_WRONG_CAUSE")
    for name, bit in (("primask", 8), ("faultmask", 9), ("basepri", 23)):
        masked = arm("P-02", op=name)
        fails(masked.spoil(Leg.ARMED, fault=(*masked.armed.fault[:7], 1 << bit)), "ESCAPE_WRITE")


def test_the_gate_must_refuse_for_the_right_reason() -> None:
    found = arm("K-02")
    fails(found.spoil(Leg.ARMED, outcome=Outcome.RETURNED), "ESCAPE_READ")
    fails(found.spoil(Leg.ARMED, outcome=Outcome.TRAPPED, context=9), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, detail=2 | found.armed.detail & ~0xFF), "TRAP_WRONG_CAUSE")
    fails(found.spoil(Leg.ARMED, detail=found.armed.detail + 0x100), "TRAP_WRONG_CAUSE")
    void(found.spoil(Leg.DISARMED, outcome=Outcome.GATE_REFUSED))


def test_a_confused_deputy_shows_by_the_victims_bytes() -> None:
    found = arm("K-11")
    assert found.after is not None and found.program.effects[Leg.DISARMED] is Effect.NEEDLE
    scan = found.after[Leg.ARMED]
    leaked = {**found.after, Leg.ARMED: replace(scan, detail=2)}
    fails(replace(found, after=leaked), "TRAP_LATE")
    fails(replace(found.spoil(Leg.ARMED, outcome=Outcome.RETURNED), after=leaked), "ESCAPE_READ")
    void(replace(found, after={Leg.DISARMED: found.after[Leg.DISARMED]}), "NO_RECORD", Why.INFRA)
    void(replace(found, after={**found.after, Leg.DISARMED: replace(scan, detail=1)}))
    void(replace(found, after={Leg.ARMED: scan}))


def test_a_supervisor_call_is_rejected_by_its_number() -> None:
    found = arm("P-06", op="svc")
    fails(found.spoil(Leg.ARMED, outcome=Outcome.RETURNED), "ESCAPE_EXEC")
    fails(found.spoil(Leg.ARMED, detail=found.armed.detail + 1), "TRAP_WRONG_CAUSE")


def test_a_sweep_is_judged_item_by_item() -> None:
    s = shape("multi")
    found = next(f for f in (scene(s, p) for p in s.of("G-02")) if f.sweep and 0 < f.sweep.must_stop.bit_count()
                 < f.sweep.count and f.program.op == "store8")
    assert found.sweep is not None
    size, traps = len(found.armed.blob) // 2, found.sweep.must_stop
    first = traps & -traps
    free = (traps ^ (1 << found.sweep.count) - 1) & -(traps ^ (1 << found.sweep.count) - 1)

    def bitmaps(stopped: int, touched: int) -> Scene:
        n = stopped.bit_count()
        blob = stopped.to_bytes(size, "little") + touched.to_bytes(size, "little")
        return found.spoil(Leg.ARMED, blob=blob, detail=n, regs=(n, n, 0, 0))

    fails(bitmaps(traps & ~first, 0), "ESCAPE_WRITE")
    fails(bitmaps(traps, first), "TRAP_LATE")
    fails(bitmaps(traps & ~first, first), "ESCAPE_WRITE")
    fails(bitmaps(traps | free, 0), "FALSE_TRAP")
    fails(found.spoil(Leg.ARMED, regs=(traps.bit_count() - 1, traps.bit_count(), 0, 0)), "TRAP_WRONG_ADDR")
    fails(found.spoil(Leg.ARMED, regs=(traps.bit_count(), traps.bit_count() - 1, 0, 0)), "TRAP_WRONG_ADDR")
    void(found.spoil(Leg.ARMED, detail=0), "NO_RECORD", Why.INFRA)
    void(found.spoil(Leg.ARMED, blob=b""), "NO_RECORD", Why.INFRA)
    void(found.spoil(Leg.ARMED, outcome=Outcome.SVC_REJECTED), "NO_RECORD", Why.INFRA)


def test_a_victim_that_feels_the_actor_is_not_isolated() -> None:
    for found in (arm("W-18"), rv("W-07"), arm("W-07")):
        fails(found.spoil(Leg.ARMED, regs=(found.armed.regs[0] ^ 1, 0, 0, 0)), "ESCAPE_WRITE")
        fails(found.spoil(Leg.ARMED, outcome=Outcome.TRAPPED), "COLLATERAL")
        fails(found.spoil(Leg.ARMED, after=b"\0" + found.armed.after[1:]), "ESCAPE_WRITE")


def test_one_table_for_all_must_show_the_poison() -> None:
    found = arm("W-18")
    void(found.spoil(Leg.DISARMED, regs=(found.program.values[Leg.DISARMED] ^ 1, 0, 0, 0)))


def test_structure_is_a_verdict_of_its_own() -> None:
    program = shape("multi").of("C-05")[0]
    assert judge_structure(program, ()).verdict is Verdict.PASS
    found = judge_structure(program, ("write: granted by the registers, not by the manifest: …", "read: …"))
    assert (found.verdict, found.klass) == (Verdict.FAIL, "STRUCTURE") and "1 more" in found.reason
    assert judge_structure(program, None).why is Why.INFRA


# -- no single corrupted field passes -----------------------------------------------------------------------------


def flip(scene_: Scene, field: str, bit: int) -> Scene | None:
    """One field of the armed observation changed; None where that field carries nothing for this program."""
    seen, p = scene_.armed, scene_.program
    if field == "outcome":
        other = Outcome((seen.outcome + 1 + bit % 5) % 6)
        return None if p.armed.stop is Stop.ALLOWED and p.effects[Leg.ARMED] is Effect.PASSED_GATE else \
            scene_.spoil(Leg.ARMED, outcome=other)
    if field in ("index", "live", "context", "step"):
        return scene_.spoil(Leg.ARMED, **{field: getattr(seen, field) ^ 1 << bit % 5})
    if field == "caller":
        return scene_.spoil(Leg.ARMED, caller=bit)
    if field == "leg":
        return scene_.spoil(Leg.ARMED, leg=Leg(bit % 2))
    if field == "changed":
        quiet = p.armed.stop in (Stop.TRAP, Stop.GATE, Stop.SVC, Stop.NOP, Stop.ILLEGAL) and not p.armed.own_side
        return scene_.spoil(Leg.ARMED, changed=1 + bit) if quiet else None
    if field == "after":
        if not p.legs[Leg.ARMED].focus or p.armed.stop is Stop.SWEEP:
            return None
        at = bit % min(16, p.width)
        spoiled = bytes(b ^ (i == at) << bit % 8 for i, b in enumerate(seen.after))
        loads = p.armed.stop in (Stop.ALLOWED, Stop.PROBE) and p.effects.get(Leg.ARMED) is Effect.LOADED
        return None if loads else scene_.spoil(Leg.ARMED, after=spoiled)
    return _flip_fault(scene_, field, bit)


def _flip_fault(scene_: Scene, field: str, bit: int) -> Scene | None:
    seen = scene_.armed
    if seen.outcome is not Outcome.TRAPPED:
        return None
    fault, riscv = list(seen.fault), scene_.arch is Arch.RV32
    illegal = scene_.program.armed.stop is Stop.ILLEGAL
    lost = not riscv and bool(fault[0] & (1 << 4 | 1 << 12))
    if field == "cause":
        fault[0] ^= 1 << bit % (4 if riscv else 26)
        if not riscv and fault[0] == seen.fault[0] ^ 0x10 and scene_.program.armed.access is not None \
                and scene_.program.armed.access.stacking:
            return None  # the frame may fail with it: both are admissible
    elif field == "address":
        at = 1 if riscv else 3 if fault[0] & 0x8000 else 2
        reported = illegal is False if riscv else fault[0] & 0x8080
        if not reported or (riscv and fault[1] ^ 1 << bit == 0):
            return None
        fault[at] ^= 1 << bit
        if _admissible(scene_, fault[at]):
            return None
    elif field == "pc":
        if lost:
            return None
        fault[2 if riscv else 4] ^= 1 << bit
        if fault[2 if riscv else 4] in scene_.program.armed.pcs:
            return None
    elif riscv:
        fault[3] ^= 1 << 11
    else:
        fault[7] ^= 1
    return scene_.spoil(Leg.ARMED, fault=tuple(fault))


def _admissible(scene_: Scene, address: int) -> bool:
    found = scene_.decision
    return found is not None and any(s.first is not None and s.last is not None and s.first <= address <= s.last
                                     for s in found.syndromes)


FIELDS = ("outcome", "index", "leg", "step", "context", "caller", "live", "changed", "after", "cause", "address", "pc",
          "level")
SCENES = [(name, board) for name in ("multi", "tables", "domains") for board in ("arm", "rv")]


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(SCENES), st.integers(0, 1 << 20), st.sampled_from(FIELDS), st.integers(0, 31))
def test_no_single_corrupted_field_of_an_armed_observation_passes(
    where: tuple[str, str], number: int, field: str, bit: int
) -> None:
    s = shape(*where)
    able = [p for p in s.programs if Leg.ARMED in p.legs and p.family != "C-05"]
    good = scene(s, able[number % len(able)])
    assert good.verdict().verdict is Verdict.PASS
    spoiled = flip(good, field, bit)
    if spoiled is not None:
        assert spoiled.verdict().verdict is not Verdict.PASS, (good.program.id, field, bit, spoiled.verdict())


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(SCENES), st.integers(0, 1 << 20), st.sampled_from([Leg.LEGAL, Leg.DISARMED]), st.integers(1, 5))
def test_no_control_leg_that_ends_otherwise_passes(where: tuple[str, str], number: int, leg: Leg, other: int) -> None:
    s = shape(*where)
    able = [p for p in s.programs if leg in p.legs and p.effects[leg] not in (Effect.PASSED_GATE, Effect.NEEDLE)]
    good = scene(s, able[number % len(able)])
    outcome = Outcome((good.seen[leg].outcome + other) % 6)
    assert good.spoil(leg, outcome=outcome).verdict().verdict is Verdict.REFUSED


def test_disarmed_means_what_the_family_says() -> None:
    wanted = {"D-01": Disarm.MAP, "X-03": Disarm.MAP, "P-01": Disarm.PRIVILEGE, "P-05": Disarm.PRIVILEGE,
              "K-02": Disarm.GATE, "K-11": Disarm.GATE, "W-18": Disarm.GATE}
    for family, disarm in wanted.items():
        found = shape("multi").of(family)
        assert found and all(p.legs[Leg.DISARMED].disarm is disarm for p in found if Leg.DISARMED in p.legs)
    assert all(p.legs[Leg.DISARMED].disarm is Disarm.GATE for p in shape("tables").of("W-17"))
