# SPDX-License-Identifier: Apache-2.0
"""What is no program, and no plan: named, refused, and not run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from bringup import STACK, A, B, Rig

from rig.inject.model import Flag, Leg, Outcome, Payload, Program, Step, Verb
from rig.plan.model import Plan

pytestmark = pytest.mark.emulator

BAD_VERB, BAD_ENUM, BAD_CONTEXT, BAD_ARGS, BAD_STEPS, BAD_WATCH, BAD_COUNT, BAD_PAYLOAD, BAD_LIMIT = range(1, 10)


def bad(rig: Rig, program: Program) -> int:
    seen = rig.do(program)
    assert seen.outcome is Outcome.BAD_PROGRAM and seen.index == program.index
    return seen.detail


def test_bad_programs_are_named_and_not_run(rig: Rig) -> None:
    nop = Step(A, rig.stub("nop"))
    good = Program(3, Verb.RUN, Leg.ARMED, (nop,))
    one = Program(3, Verb.CALL, Leg.ARMED, (replace(nop, args=(1,)),))
    hole = rig.board.holes[-1].start
    text = rig.symbol["rig_sacrifice_text"]
    for program, detail in (
        (replace(good, verb=9), BAD_VERB),
        (replace(good, disarm=9), BAD_ENUM),
        (replace(good, flags=16), BAD_ENUM),
        (replace(good, limit_us=0), BAD_LIMIT),
        (replace(good, limit_us=10_000_001), BAD_LIMIT),
        (replace(good, watch_len=65), BAD_WATCH),
        (replace(good, watch=hole, watch_len=4), BAD_WATCH),
        (replace(good, watch=0xFFFF_FFFF, watch_len=4), BAD_WATCH),
        (replace(good, flags=Flag.PLANT, watch=text, watch_len=1), BAD_WATCH),
        (replace(good, flags=Flag.PLANT, watch=hole, watch_len=4), BAD_WATCH),
        (replace(good, steps=()), BAD_STEPS),
        (replace(good, verb=Verb.FRESH), BAD_STEPS),
        (replace(good, verb=Verb.CALL, steps=(nop, nop)), BAD_STEPS),
        (replace(good, steps=(replace(nop, context=2),)), BAD_CONTEXT),
        (replace(good, steps=(nop, replace(nop, context=255))), BAD_CONTEXT),
        (replace(good, steps=(replace(nop, args=(0,) * 41),)), BAD_ARGS),
        (replace(good, steps=(replace(nop, fargs=(0,) * 17),)), BAD_ARGS),
        (replace(good, verb=Verb.SCAN, steps=()), BAD_PAYLOAD),
        (replace(good, payloads=(Payload(0, 1, b""),)), BAD_PAYLOAD),
        (replace(good, verb=Verb.CALL, payloads=(Payload(0, 1, b""),)), BAD_PAYLOAD),
        (replace(one, payloads=(Payload(1, 1, b""),)), BAD_PAYLOAD),
        (replace(one, payloads=(Payload(0, 1, b"", into=1),)), BAD_PAYLOAD),
        (replace(one, payloads=(Payload(2, 1, b"x", into=1), Payload(0, 1, bytes(5)))), BAD_PAYLOAD),
        (replace(good, verb=Verb.CALL, ret_bytes=1025), BAD_PAYLOAD),
        (replace(good, verb=Verb.CALL, ret_bytes=8, ret_list=1), BAD_PAYLOAD),
        (replace(good, verb=Verb.CALL, ret_bytes=8, ret_list=-2), BAD_PAYLOAD),
        (replace(good, verb=Verb.CALL, ret_bytes=8, ret_list=0, ret_elem=0), BAD_PAYLOAD),
        (replace(good, verb=Verb.SWEEP, first=0, count=0), BAD_COUNT),
    ):
        assert bad(rig, program) == detail, program
    assert rig.do(good).outcome is Outcome.RETURNED


def test_arguments_without_room_on_the_stack(rig: Rig) -> None:
    tight = replace(rig.plan.contexts[A], stack_low=rig.plan.contexts[A].sp)
    rig.session.load_plan(replace(rig.plan, contexts=(tight, rig.plan.contexts[B])))
    step = Step(A, rig.stub("nop"), (0,) * 16)
    assert bad(rig, Program(4, Verb.RUN, Leg.ARMED, (step,))) == BAD_ARGS


def test_a_context_that_makes_no_sense_is_not_accepted(rig: Rig) -> None:
    good = rig.plan.contexts[A]
    bads = [
        replace(good, stack_low=good.sp + 8),
        replace(good, sp=good.sp + 4),
        replace(good, sp=good.stack_low + STACK + 64),
        replace(good, stack_low=rig.where.shared),
        replace(good, window_save=1),
        replace(good, control=7),
    ]
    if rig.arm:
        bads += [replace(good, ctrl=ctrl) for ctrl in (1, 2, 3, 7, 8)]
        bads += [replace(good, arm=((good.arm[0][0] | 1, good.arm[0][1]), *good.arm[1:]))]
        bads += [replace(good, arm=good.arm + good.arm[:1])]
    else:
        bads += [replace(good, ctrl=1), replace(good, pmpcfg=(0x9D, *good.pmpcfg[1:]))]
        bads += [replace(good, pmpcfg=(*good.pmpcfg, 0), pmpaddr=(*good.pmpaddr, 0))]
    for wrong in bads:
        plan: Plan = replace(rig.plan, contexts=(wrong,), seams=())
        with pytest.raises(Exception, match="refused context 0"):
            rig.session.load_plan(plan)
