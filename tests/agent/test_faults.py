# SPDX-License-Identifier: Apache-2.0
"""What stops a program for good, what stops the agent, and what stops the board: each names the program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from bringup import A, B, Rig

from rig.arch import pmsav7
from rig.inject.model import Disarm, Leg, Observation, Outcome, Program, Step, Verb
from rig.inject.session import AgentHang, AgentPanic
from rig.targets.protocol import TargetDied

pytestmark = pytest.mark.emulator

MSTKERR, LOST = 0x10, 0xFFFF_FFFF


def works(rig: Rig) -> bool:
    """A legal access, a denied one and a gate call come out as ever."""
    legal = rig.attack("load32", rig.where.mem[A])
    armed = rig.attack("load32", rig.where.mem[B])
    call = rig.call("a_down", 6)
    return (legal.outcome, armed.outcome, call.regs[0]) == (Outcome.RETURNED, Outcome.TRAPPED, 115)


def test_time_limits_are_kept_and_attributed(rig: Rig) -> None:
    for limit in (1, 100, 20_000):
        seen = rig.call("a_spin", 1, limit_us=limit)
        assert seen.outcome is Outcome.TIMEOUT
        assert (seen.context, seen.step) == (A, 0)
        pc = seen.fault[4 if rig.arm else 2]
        assert 0 <= pc - (rig.symbol["a_spin"] & ~1) < 0x400
        passed_us = seen.ticks * rig.target.time.per_tick / 1000
        assert limit <= passed_us < limit + 10
    assert works(rig)


def test_a_privileged_actor_is_limited_as_well(rig: Rig) -> None:
    seen = rig.call("a_spin", 1, limit_us=100, disarm=Disarm.PRIVILEGE)
    assert seen.outcome is Outcome.TIMEOUT
    assert works(rig)


def test_a_sweep_is_limited_in_every_entry(rig: Rig) -> None:
    """Many short entries may take longer together; one that spins ends the sweep."""
    rw = Program(1, Verb.SWEEP, Leg.ARMED, (Step(A, rig.stub("rw8"), (0, 100)),), first=rig.where.mem[A], count=500,
                 limit_us=20)  # fmt: skip
    assert rig.do(rw).outcome is Outcome.RETURNED
    seen = rig.do(replace(rw, steps=(Step(A, rig.symbol["a_spin"], (0,)),), limit_us=300))
    passed_us = seen.ticks * rig.target.time.per_tick / 1000
    assert seen.outcome is Outcome.TIMEOUT and 300 <= passed_us < 610


def test_a_limit_longer_than_the_timer_counts_on(arm: Rig) -> None:
    """SysTick has 24 bits: 0.67 s at 25 MHz."""
    seen = arm.call("a_spin", 1, limit_us=1_000_000)
    assert seen.outcome is Outcome.TIMEOUT
    assert 1_000_000 <= seen.ticks * 0.04 < 1_000_100


def test_time_spent_does_not_count_for_the_next_program(rig: Rig) -> None:
    programs = [Program(i, Verb.RUN, Leg.ARMED, (Step(A, rig.stub("rw32"), (rig.where.mem[A], 2000)),), limit_us=60)
                for i in range(50)]  # fmt: skip
    assert {o.outcome for o in rig.session.run(programs)} == {Outcome.RETURNED}


def test_a_callee_that_spins_is_named_with_its_caller(rig: Rig) -> None:
    seams = tuple(replace(s, target=rig.symbol["a_spin"]) if s.index == 3 else s for s in rig.plan.seams)
    rig.session.load_plan(replace(rig.plan, seams=seams))
    seen = rig.call("a_down", 5, limit_us=100)
    assert (seen.outcome, seen.context, seen.caller) == (Outcome.TIMEOUT, B, A)
    rig.session.load_plan(rig.plan)
    assert works(rig)


def test_observations_repeat_exactly(fresh: Callable[..., Rig]) -> None:
    """Same programs, another process: the same observations, ticks included."""

    def programs(r: Rig) -> list[Program]:
        steps = [Step(A, r.stub("load32"), (r.where.mem[i % 2],)) for i in range(40)]
        steps += [Step(A, r.symbol["a_down"], (i,)) for i in range(9)] + [Step(A, r.stub("recurse"), (4000, 1))]
        return [Program(i, Verb.RUN, Leg.ARMED, (s,), focus=r.where.mem[1]) for i, s in enumerate(steps)]

    def observe(r: Rig) -> list[Observation]:
        for mem in r.where.mem:
            r.poke(mem, *[0] * 4)
        return r.session.run(programs(r))

    one, other = fresh(), fresh()
    works(one)
    assert observe(one) == observe(other) == observe(other)


# Stacks


def test_a_call_at_the_end_of_the_stack(rig: Rig) -> None:
    """SP is set so low that the frame of the next exception does not fit."""
    low = rig.where.stack[A]
    for sp in (low, low + 8, low + 64):
        seen = rig.call("a_deep", sp)
        if rig.arm:
            assert (seen.outcome, seen.fault[0], seen.fault[4]) == (Outcome.TRAPPED, MSTKERR, LOST)
            assert seen.regs == (LOST,) * 4
        else:
            assert seen.outcome is Outcome.RETURNED  # the trap handler does not use the actor's stack
        assert works(rig)
    assert rig.call("a_deep", low + 104).outcome is Outcome.RETURNED


def test_a_stack_in_a_hole(rig: Rig) -> None:
    hole = rig.board.holes[-1].start + 0x1000
    for disarm, arm_cfsr in ((Disarm.NOTHING, MSTKERR), (Disarm.MAP, 0x1000)):  # MSTKERR; STKERR of the bus
        seen = rig.call("a_deep", hole, disarm=disarm)
        if rig.arm:
            assert (seen.outcome, seen.fault[0], seen.fault[4]) == (Outcome.TRAPPED, arm_cfsr, LOST)
        assert works(rig)


def test_a_time_out_that_finds_no_stack(arm: Rig) -> None:
    """The frame of SysTick itself does not fit: SP in B's memory, then an endless loop."""
    seen = arm.call("a_deep_spin", arm.where.mem[B] + 512, limit_us=100)
    assert (seen.outcome, seen.fault[0], seen.fault[4]) == (Outcome.TRAPPED, MSTKERR, LOST)
    assert works(arm)


def test_a_context_whose_stack_is_not_granted(arm: Rig) -> None:
    """Unstacking the first frame fails: MUNSTKERR."""
    a = arm.plan.contexts[A]
    without = replace(a, arm=(a.arm[0], pmsav7.disabled(1), *a.arm[2:]))
    arm.session.load_plan(replace(arm.plan, contexts=(without, arm.plan.contexts[B])))
    seen = arm.attack("nop")
    assert (seen.outcome, seen.fault[0], seen.fault[4]) == (Outcome.TRAPPED, 0x08, LOST)
    arm.session.load_plan(arm.plan)
    assert works(arm)


# Other faults


@pytest.mark.parametrize(
    ("code", "cfsr", "hfsr"),
    [
        (b"\x00\xde", 0x0001_0000, 0),  # udf
        (b"\x00\xbe", 0, 0x4000_0000),  # bkpt without a debugger: HardFault (QEMU: FORCED, not DEBUGEVT)
        (b"\xb0\x47", 0x0000_0001, 0),  # blx r6: r6 is 0
        (b"\x00\xee\x10\x07", 0x0008_0000, 0),  # cdp p7, a coprocessor that is not there: NOCP
    ],
)
def test_undefined_and_friends(arm: Rig, code: bytes, cfsr: int, hfsr: int) -> None:
    at = arm.symbol["rig_sacrifice_code"]
    plant(arm, at, code)
    seen = arm.run(Step(A, at | 1))
    assert (seen.outcome, seen.fault[0], seen.fault[1]) == (Outcome.TRAPPED, cfsr, hfsr)
    assert works(arm)


def test_traps_of_riscv(riscv: Rig) -> None:
    at = riscv.symbol["rig_sacrifice_code"]
    for code, cause in ((0x0010_0073, 3), (0, 2), (0x3020_0073, 2), (0x1020_0073, 2)):  # ebreak, 0, mret, sret
        plant(riscv, at, code.to_bytes(4, "little"))
        seen = riscv.run(Step(A, at))
        assert (seen.outcome, seen.fault[0], seen.fault[2]) == (Outcome.TRAPPED, cause, at)
    assert works(riscv)


def test_a_jump_without_the_thumb_bit(arm: Rig) -> None:
    seen = arm.run(Step(A, arm.stub("nop") & ~1))
    assert (seen.outcome, seen.fault[0]) == (Outcome.TRAPPED, 0x0002_0000)
    assert works(arm)


def test_forged_exception_returns(arm: Rig) -> None:
    for value in (0xFFFF_FFF1, 0xFFFF_FFF9, 0xFFFF_FFFD, 0xFFFF_FFE9):
        seen = arm.attack("call", value)
        assert seen.outcome is Outcome.TRAPPED and seen.fault[4] == value & ~1, hex(value)
    assert works(arm)


# The agent and the board


def plant(rig: Rig, address: int, code: bytes) -> None:
    """Overwrite code through a privileged actor."""
    for i in range(0, len(code), 2):
        value = int.from_bytes(code[i : i + 2], "little")
        seen = rig.attack("store16", address + i, value, leg=Leg.DISARMED, disarm=Disarm.PRIVILEGE)
        if seen.outcome is Outcome.TRAPPED:  # a read-only region binds privileged code as well
            seen = rig.attack("store16", address + i, value, leg=Leg.DISARMED, disarm=Disarm.MAP)
        assert seen.outcome is Outcome.RETURNED


def test_an_agent_that_faults_says_so(fresh: Callable[..., Rig]) -> None:
    mine = fresh()
    at = mine.symbol["rig_image_reset"] & ~1
    plant(mine, at, b"\x00\xde" if mine.arm else b"\x00\x00")
    with pytest.raises(AgentPanic, match=f"a fault of its own at {at:#x}.*program 41 was running") as caught:
        mine.session.run([Program(41, Verb.FRESH, Leg.LEGAL)])
    assert caught.value.program == 41


def test_an_agent_that_hangs_is_found_out(fresh: Callable[..., Rig]) -> None:
    mine = fresh(patience=0.5)
    plant(mine, mine.symbol["rig_image_reset"] & ~1, b"\xfe\xe7" if mine.arm else b"\x01\xa0")  # jump to itself
    nop = Program(1, Verb.RUN, Leg.LEGAL, (Step(A, mine.stub("nop")),))
    with pytest.raises(AgentHang, match="program 42 was running") as caught:
        mine.session.run([nop, Program(42, Verb.FRESH, Leg.LEGAL, limit_us=1000), nop])
    assert caught.value.program == 42


def test_an_agent_without_its_own_ram_panics(fresh_arm: Callable[..., Rig]) -> None:
    """A map that forbids privileged access to the agent's RAM: the handlers fault until the MPU is off."""
    mine = fresh_arm()
    assert mine.board.roles is not None
    a = mine.plan.contexts[A]
    region = pmsav7.Region(7, mine.board.roles.agent_ram[0], 0x40000, ap=0)
    wrong = replace(a, arm=(*a.arm[:7], pmsav7.encode(region)))
    mine.session.load_plan(replace(mine.plan, contexts=(wrong, mine.plan.contexts[B])))
    with pytest.raises(AgentPanic, match="program 7 was running"):
        mine.attack("nop")


def test_a_lockup_is_told_from_other_deaths(fresh_arm: Callable[..., Rig]) -> None:
    mine = fresh_arm()
    hole = mine.board.holes[-1].start
    with pytest.raises(TargetDied, match="locked up") as caught:
        mine.attack("store32", 0xE000_ED08, hole, disarm=Disarm.PRIVILEGE)  # VTOR: no handler is left
    assert caught.value.lockup and caught.value.program == 7 and "program 7 was running" in caught.value.__notes__
    assert caught.value.returncode == -6

