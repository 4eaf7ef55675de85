# SPDX-License-Identifier: Apache-2.0
"""The gate: right values across owners, and nothing gets through that the plan does not name."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from bringup import MEMORY, STACK, A, B, Rig

from rig.inject.model import Disarm, Observation, Outcome, Program, Step, Verb
from rig.plan.model import ContextPlan, Kind, ListCheck, Placed, Plan

pytestmark = pytest.mark.emulator

NO_SEAM, WRONG_CALLER, POINTER, EXTENT, STACK_REFUSED, TOO_DEEP = range(1, 7)


def bits(*values: float) -> tuple[int, ...]:
    return struct.unpack(f"<{len(values)}I", struct.pack(f"<{len(values)}f", *values))


def refused(seen: Observation, code: int, seam: int) -> bool:
    return (seen.outcome, seen.detail) == (Outcome.GATE_REFUSED, code | seam << 8)


def with_seam(plan: Plan, index: int, **changes: object) -> Plan:
    seams = tuple(replace(s, **changes) if s.index == index else s for s in plan.seams)
    return replace(plan, seams=seams)


def test_ten_arguments(rig: Rig) -> None:
    args = (0xFFFF_FFFF, 2, 3, 4, 5, 6, 7, 0x8000_0000, 9, 10)
    seen = rig.call("a_ten", *args)
    assert seen.outcome is Outcome.RETURNED
    assert seen.regs[0] == (sum((i + 1) * a for i, a in enumerate(args)) + 1) & 0xFFFF_FFFF


def test_arguments_on_the_stack_behind_a_padded_frame(arm: Rig) -> None:
    assert arm.call("a_ten_odd").regs[0] == sum((i + 1) ** 2 for i in range(10))


def test_64_bit_values(rig: Rig) -> None:
    a, b = 0x1234_5678_9ABC_DEF0, 0xFEDC_BA98_7654_3211
    seen = rig.call("a_mul", a & 0xFFFF_FFFF, a >> 32, b & 0xFFFF_FFFF, b >> 32)
    product = (a * b + 1) % (1 << 64)
    assert seen.regs[:2] == (product & 0xFFFF_FFFF, product >> 32)


def test_floating_point_registers(arm: Rig) -> None:
    a, b = 1.5, -0.25
    seen = arm.run(Step(A, arm.symbol["a_fp"], (), (*bits(a, b), 0, 0)))
    assert seen.regs[0] == bits((a + b) * (a - b))[0]
    direct = arm.run(Step(B, arm.symbol["b_fp"], (), (*bits(a, b), 0, 0)))
    assert direct.regs[2:] == bits(a + b, a - b)


def test_reentry_continues_below_the_live_stack(rig: Rig) -> None:
    def down(n: int) -> int:
        return 100 if n == 0 else 3 + up(n - 1)

    def up(n: int) -> int:
        return 1 if n == 0 else 2 + down(n - 1)

    for n in range(8):
        seen = rig.call("a_down", n)
        assert (seen.outcome, seen.regs[0]) == (Outcome.RETURNED, down(n)), n
        assert (seen.context, seen.caller) == (A, 0xFF)


def test_too_deep_is_refused_and_forgotten(rig: Rig) -> None:
    seen = rig.call("a_down", 100)
    assert seen.outcome is Outcome.GATE_REFUSED and seen.detail & 0xFF == TOO_DEEP
    assert seen.context in (A, B) and seen.caller in (A, B)
    again = rig.call("a_down", 6)  # stacks start from the top again
    assert again.outcome is Outcome.RETURNED
    assert again.regs[0] == 115


def test_a_callee_without_room_is_refused(rig: Rig) -> None:
    b = rig.plan.contexts[B]
    tight = replace(b, stack_low=b.sp - 16)
    rig.session.load_plan(replace(rig.plan, contexts=(rig.plan.contexts[A], tight)))
    seen = rig.call("a_ten", *range(10))
    if rig.arm:  # no room for the first frame
        assert refused(seen, TOO_DEEP, 0)
    else:
        assert seen.outcome is Outcome.RETURNED
    tight = replace(b, stack_low=b.sp)
    rig.session.load_plan(replace(rig.plan, contexts=(rig.plan.contexts[A], tight)))
    assert refused(rig.call("a_ten", *range(10)), TOO_DEEP, 0)


def test_a_void_function_leaves_the_callers_registers(rig: Rig) -> None:
    seen = rig.call("a_void", 0x5555, 0x7777)
    assert seen.regs[0] == 0x7777
    assert rig.word(rig.where.mem[B]) == 0x5555
    rig.session.load_plan(with_seam(rig.plan, 7, target=rig.symbol["b_list"]))  # leaves 1000 * r0 + r1 in r0
    assert rig.call("a_keeps", 0x5555, 0x7777).regs[:2] == (0x5555, 0x7777)


def test_base_registers_belong_to_the_context(rig: Rig) -> None:
    """B spoils its own and A's come back; B saw its own."""
    mine = rig.call("a_bases")
    expected = (0xA900 + A, rig.where.mem[A]) if rig.arm else (rig.where.mem[A],) * 2
    assert mine.regs[:2] == expected
    own = rig.run(Step(B, rig.symbol["b_bases"]))
    assert own.regs[:2] == ((0xA900 + B, rig.where.mem[B]) if rig.arm else (rig.where.mem[B],) * 2)


def test_callee_saved_registers_do_not_leak_to_the_callee(rig: Rig) -> None:
    rig.session.load_plan(with_seam(rig.plan, 3, target=rig.symbol["b_leak"]))
    seen = rig.call("a_leak")
    assert (seen.outcome, seen.regs[0]) == (Outcome.RETURNED, 0)


def test_the_instance_replaces_the_first_word(rig: Rig) -> None:
    b = replace(rig.plan.contexts[B], instance=0x1357_9BDF)
    seams = with_seam(rig.plan, 0, instance_first=True)
    rig.session.load_plan(replace(seams, contexts=(rig.plan.contexts[A], b)))
    seen = rig.call("a_ten", 5, *([0] * 9))
    assert seen.regs[0] == 0x1357_9BDF + 1


def test_unknown_seams_are_refused(rig: Rig) -> None:
    for seam in (9, 255, 256, 0xFFFF, 0xFFFF_FFFF, 0x8000_0000):
        seen = rig.call("a_gate", seam)
        assert (seen.outcome, seen.detail & 0xFF, seen.context) == (Outcome.GATE_REFUSED, NO_SEAM, A)


def test_only_the_seams_caller_may_use_it(rig: Rig) -> None:
    assert refused(rig.call("a_gate", 4, 1), WRONG_CALLER, 4)  # B's way to A
    assert refused(rig.run(Step(B, rig.symbol["a_gate"], (3, 1))), WRONG_CALLER, 3)
    assert rig.call("a_gate", 3, 0).regs[0] == 1


def test_forged_returns_end_the_program_and_nothing_else(rig: Rig) -> None:
    """Returning with a stack pointer of the actor's choice does not hurt the agent."""
    for sp in (rig.where.stack[A] + 512, rig.where.mem[A] + 512):
        assert rig.call("a_deep", sp).outcome is Outcome.RETURNED
    seen = rig.call("a_deep", rig.where.mem[B] + 512)
    if rig.arm:  # the exception frame cannot be stacked there
        assert seen.outcome is Outcome.TRAPPED and seen.fault[0] == 0x10 and seen.fault[4] == 0xFFFF_FFFF
    else:
        assert seen.outcome is Outcome.RETURNED
    assert rig.call("a_down", 2).outcome is Outcome.RETURNED


def test_a_call_with_a_foreign_stack_is_refused(rig: Rig) -> None:
    own = rig.where.stack[A]
    assert rig.call("a_gate_at", 3, own + 1024).outcome is Outcome.RETURNED
    for sp in (rig.where.mem[A] + 1024, own + STACK + 2048, own + 8 if rig.arm else own - 16):
        seen = rig.call("a_gate_at", 3, sp, disarm=Disarm.MAP)
        assert refused(seen, STACK_REFUSED, 3), hex(sp)


def test_arguments_must_lie_on_the_callers_stack(rig: Rig) -> None:
    """Two stack words, of which the last is past the end of the stack."""
    seen = rig.call("a_gate_at", 0, rig.where.stack[A] + STACK - 4, disarm=Disarm.MAP)
    assert seen.outcome is Outcome.GATE_REFUSED and seen.detail & 0xFF == STACK_REFUSED


@pytest.mark.parametrize(
    ("pointer", "length", "code"),
    [
        (0x100, 0, 0),
        (0x100, 1, 0),
        (0xFF, 1, POINTER),
        (0, 0, 0),  # an empty list may dangle
        (0xFF, 0, 0),
        (MEMORY - 4, 1, 0),  # ends exactly at the end
        (MEMORY - 3, 1, EXTENT),
        (MEMORY, 0, 0),
        (MEMORY, 1, EXTENT),
        (MEMORY + 1, 0, POINTER),
        (0xFFFF_FFFC, 1, POINTER),
        (0xFFFF_FFFF, 0xFFFF_FFFF, POINTER),
        (0x100, 0x4000_0000, EXTENT),  # 4 * length wraps to 0 in 32 bits
        (0x100, 0x3FFF_FFFF, EXTENT),
        (0x100, 0xFFFF_FFFF, EXTENT),
        (0x100, (MEMORY - 0x100) // 4, 0),
        (0x100, (MEMORY - 0x100) // 4 + 1, EXTENT),
    ],
)
def test_list_checks(rig: Rig, pointer: int, length: int, code: int) -> None:
    seen = rig.call("a_list", pointer, length)
    if code:
        assert refused(seen, code, 5)
        assert seen.regs[:2] == (pointer, length)
    else:
        assert (seen.outcome, seen.regs[0]) == (Outcome.RETURNED, (pointer * 1000 + length) & 0xFFFF_FFFF)
    disarmed = rig.call("a_list", pointer, length, disarm=Disarm.GATE)
    assert disarmed.outcome is Outcome.RETURNED


def test_a_pointer_to_one_element(rig: Rig) -> None:
    """Length 0xFF: a return area, no length is passed."""
    one = ListCheck(0, 0xFF, 16, 0, MEMORY)
    rig.session.load_plan(with_seam(rig.plan, 5, checks=(one,)))
    assert rig.call("a_list", MEMORY - 16, 0).outcome is Outcome.RETURNED
    assert refused(rig.call("a_list", MEMORY - 15, 0), EXTENT, 5)


def test_checks_of_words_on_the_stack(rig: Rig) -> None:
    words = (8, 9)
    rig.session.load_plan(with_seam(rig.plan, 0, checks=(ListCheck(*words, 1, 0, 100),)))
    assert rig.call("a_ten", *range(8), 90, 10).outcome is Outcome.RETURNED
    assert refused(rig.call("a_ten", *range(8), 90, 11), EXTENT, 0)
    assert refused(rig.call("a_ten", *range(8), 101, 0), POINTER, 0)


def test_a_fault_inside_the_callee_names_both_and_unwinds(rig: Rig) -> None:
    target = rig.where.mem[A]
    seen = rig.call("a_touch", target)
    assert (seen.outcome, seen.context, seen.caller) == (Outcome.TRAPPED, B, A)
    assert seen.fault[2 if rig.arm else 1] == target
    assert rig.call("a_touch", rig.where.mem[B]).outcome is Outcome.RETURNED
    assert rig.call("a_down", 6).regs[0] == 115


def test_the_map_follows_the_call_there_and_back(rig: Rig) -> None:
    """After B returned, A reaches its own memory and not B's."""
    steps = (Step(A, rig.symbol["a_down"], (3,)), Step(A, rig.stub("load32"), (rig.where.mem[A],)))
    assert rig.run(*steps).outcome is Outcome.RETURNED
    seen = rig.run(steps[0], Step(A, rig.stub("load32"), (rig.where.mem[B],)))
    assert (seen.outcome, seen.step) == (Outcome.TRAPPED, 1)
    assert rig.call("a_void", 1, 2).outcome is Outcome.RETURNED


def test_the_map_off_stays_off_across_the_gate(rig: Rig) -> None:
    target = rig.where.mem[A]
    assert rig.call("a_touch", target, disarm=Disarm.MAP).outcome is Outcome.RETURNED


def window_plan(rig: Rig) -> Plan:
    """A window of 16 bytes in a region of its own, granted to both contexts."""
    where = rig.where
    window = Placed(Kind.WINDOW, "window", where.window, where.window + 16, where.window + 32)

    def grant(c: ContextPlan) -> ContextPlan:
        cfg, addr = list(c.pmpcfg), list(c.pmpaddr)
        cfg[3], addr[3] = 0x1B, where.window >> 2 | 3
        return replace(c, pmpcfg=tuple(cfg), pmpaddr=tuple(addr), window_save=where.save[c.owner])

    placement = replace(rig.plan.placement, objects=(*rig.plan.placement.objects, window))
    return replace(rig.plan, placement=placement, contexts=tuple(map(grant, rig.plan.contexts)))


def test_each_owner_sees_its_own_globals_in_the_window(riscv: Rig) -> None:
    rig, where = riscv, riscv.where
    rig.session.load_plan(window_plan(rig))
    rig.poke(where.save[A], 0xAAAA)
    rig.poke(where.save[B], 0xBBBB)
    assert rig.attack("load32", where.window).regs[0] == 0xAAAA
    assert rig.attack("load32", where.window, context=B).regs[0] == 0xBBBB
    assert rig.call("a_touch", where.window).regs[0] == 0xBBBB  # through the gate
    rig.attack("store32", where.window, 0xA1)
    rig.attack("store32", where.window, 0xB1, context=B)
    assert (rig.word(where.save[A]), rig.word(where.save[B])) == (0xA1, 0xB1)
    rig.run(Step(A, rig.stub("store32"), (where.window, 0xA2)), Step(A, rig.stub("load32"), (where.mem[B],)))
    assert (rig.word(where.save[A]), rig.word(where.save[B])) == (0xA2, 0xB1)  # kept through a trap
    for save in where.save:
        assert rig.attack("load32", save).outcome is Outcome.TRAPPED


def test_many_owners(rig: Rig) -> None:
    """48 contexts and 256 seams, the most there may be; one more of either is refused."""
    base = rig.plan.contexts[B]
    contexts = rig.plan.contexts + tuple(replace(base, id=i) for i in range(2, 48))
    seam = rig.plan.seams[3]
    seams = rig.plan.seams + tuple(replace(seam, index=i, callee=2 + i % 46) for i in range(9, 256))
    full = replace(rig.plan, contexts=contexts, seams=seams)
    rig.session.load_plan(full)
    for i in (3, 9, 100, 255):
        seen = rig.call("a_gate", i, 0)
        assert (seen.outcome, seen.regs[0]) == (Outcome.RETURNED, 1)
    with pytest.raises(Exception, match="refused context 48: no such index"):
        rig.session.load_plan(replace(full, contexts=(*contexts, replace(base, id=48))))
    rig.session.load_plan(full)
    with pytest.raises(Exception, match="refused seam 256: no such index"):
        rig.session.load_plan(replace(full, seams=(*seams, replace(seam, index=256))))


def test_gate_calls_fit_between_any_programs(rig: Rig) -> None:
    """Mixed traps, refusals and calls: every result is the one it would be alone."""
    kinds = {
        "call": (Step(A, rig.symbol["a_down"], (4,)), Outcome.RETURNED),
        "trap": (Step(A, rig.symbol["a_touch"], (rig.where.mem[A],)), Outcome.TRAPPED),
        "deep": (Step(A, rig.symbol["a_down"], (40,)), Outcome.GATE_REFUSED),
        "wrong": (Step(B, rig.symbol["a_gate"], (3, 1)), Outcome.GATE_REFUSED),
    }
    chosen = [list(kinds.values())[i * 7919 % 4] for i in range(400)]
    programs = [Program(i, Verb.RUN, 2, (step,)) for i, (step, _) in enumerate(chosen)]
    seen = rig.session.run(programs)
    assert [o.outcome for o in seen] == [outcome for _, outcome in chosen]


def test_a_seam_that_makes_no_sense_is_not_accepted(rig: Rig) -> None:
    good = rig.plan.seams[5]
    for bad in (
        replace(good, caller=7),
        replace(good, callee=47),
        replace(good, reg_words=9),
        replace(good, stack_words=250),
        replace(good, result_words=3),
        replace(good, checks=(ListCheck(2, 0, 1, 0, 1),)),
        replace(good, checks=(ListCheck(0, 9, 1, 0, 1),)),
        replace(good, reg_words=0, stack_words=0, checks=(), instance_first=True),
    ):
        with pytest.raises(Exception, match="refused seam 5"):
            rig.session.load_plan(replace(rig.plan, seams=(bad,)))


