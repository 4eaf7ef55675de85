# SPDX-License-Identifier: Apache-2.0
"""What a program can ask for beside one access, and what is no program."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

import pytest
from bringup import MEMORY, A, B, Rig

from rig.arch import pmp, pmsav7
from rig.inject.model import Disarm, Flag, Leg, Observation, Outcome, Payload, Program, Step, Verb
from rig.plan.spans import stream

pytestmark = pytest.mark.emulator

BAD_COUNT, BAD_PAYLOAD = 7, 8


@dataclass(frozen=True, slots=True)
class Fill:
    kind: int
    address: int
    length: int
    seed: int = 0


def rotl5(h: int) -> int:
    return (h << 5 | h >> 27) & 0xFFFF_FFFF


def checksum(words: tuple[int, ...], arm: bool) -> int:
    """The live checksum over registers as read back (docs/internals.md)."""
    if arm:
        h = words[1]
        for i, word in enumerate(words[2:]):
            h = rotl5(h) ^ (word & ~0x1F if i % 2 == 0 else word)
        return h
    h = words[0]
    for word in words[2:]:
        h = rotl5(h) ^ word
    return h


# Watching


def test_the_watched_window_counts_changed_bytes_and_restores(rig: Rig) -> None:
    at = rig.where.mem[A] + 0x40
    rig.poke(at, *range(0x1000, 0x1010))
    watched = {"watch": at - 5, "watch_len": 64, "focus": at}
    seen = rig.attack("store32", at, 0xFFFF_FFFF, **watched)
    assert (seen.changed, seen.changed_at) == (4, 5)
    assert seen.before[:4] == (0x1000).to_bytes(4, "little") and seen.after[:4] == b"\xff" * 4
    assert rig.word(at) == 0xFFFF_FFFF
    rig.poke(at, 0x1000)
    seen = rig.attack("store32", at, 0xFFFF_FFFF, flags=Flag.RESTORE, **watched)
    assert seen.changed == 4 and rig.word(at) == 0x1000
    assert rig.attack("nop", **watched).changed == 0


def test_a_window_of_every_length_is_watched_byte_by_byte(rig: Rig) -> None:
    at = rig.where.mem[A] + 0x80
    for length in range(1, 65):
        last = at + length - 1
        rig.target.write(at, bytes(80))
        inside = rig.attack("store8", last, 1, watch=at, watch_len=length)
        outside = rig.attack("store8", last + 1, 1, watch=at, watch_len=length)
        assert (inside.changed, inside.changed_at, outside.changed) == (1, length - 1, 0)


def test_focus_that_cannot_be_read_is_reported_as_zeroes(rig: Rig) -> None:
    seen = rig.attack("nop", focus=rig.board.holes[-1].start)
    assert seen.outcome is Outcome.RETURNED and seen.before == seen.after == bytes(16)


# Steps


def test_steps_run_until_one_does_not_return(rig: Rig) -> None:
    own, other = rig.where.mem
    store = rig.stub("store32")
    rig.poke(own, 0, 0)
    seen = rig.run(Step(A, store, (own, 1)), Step(A, store, (other, 2)), Step(A, store, (own + 4, 3)))
    assert (seen.outcome, seen.step, seen.context) == (Outcome.TRAPPED, 1, A)
    assert (rig.word(own), rig.word(own + 4)) == (1, 0)
    seen = rig.run(Step(A, store, (own, 1)), Step(B, store, (other, 2)))
    assert (seen.outcome, seen.step, seen.context) == (Outcome.RETURNED, 1, B)


def test_sixteen_arguments(rig: Rig) -> None:
    args = tuple(range(1, 17))
    seen = rig.run(Step(A, rig.symbol["b_ten"], args))
    assert seen.regs[0] == sum((i + 1) ** 2 for i in range(10))


def test_privilege_is_disarmed_for_one_program_only(rig: Rig) -> None:
    ram = rig.symbol["rig_sacrifice_ram"]
    load = rig.stub("load32")
    if rig.arm:  # privileged code reaches the agent's RAM; PMP never binds M-mode
        assert rig.run(Step(A, load, (ram,)), disarm=Disarm.PRIVILEGE).outcome is Outcome.RETURNED
    assert rig.run(Step(A, load, (ram,)), disarm=Disarm.PRIVILEGE).outcome is Outcome.RETURNED
    assert rig.run(Step(A, load, (ram,))).outcome is Outcome.TRAPPED


def test_a_privileged_context_is_the_plans_own_mistake(rig: Rig) -> None:
    """M11 is data: the actor then really is privileged, and the agent survives it."""
    level = 0 if rig.arm else 3
    wrong = replace(rig.plan.contexts[A], control=level)
    rig.session.load_plan(replace(rig.plan, contexts=(wrong, rig.plan.contexts[B])))
    if rig.arm:
        assert rig.attack("getcontrol").regs[0] & 1 == 0
    else:
        assert rig.attack("csrr_mhartid").outcome is Outcome.RETURNED
    assert rig.attack("load32", rig.where.mem[A], context=B).outcome is Outcome.TRAPPED


# Read-back and live checksum


def test_read_back_is_what_the_plan_says(rig: Rig) -> None:
    seen = rig.attack("nop", flags=Flag.READBACK)
    (back,) = rig.session.read_backs
    plan = rig.plan.contexts[A]
    assert (back.context, back.leg) == (A, Leg.ARMED)
    assert seen.live == checksum(back.words, rig.arm)
    if rig.arm:
        assert back.words[:2] == (0x800, 5)
        pairs = list(zip(back.words[2::2], back.words[3::2], strict=True))
        assert pairs == [pmsav7.read_back(i, *words) for i, words in enumerate(plan.arm)]
    else:
        assert back.words[:2] == (0, 16)
        assert pmp.unpack_cfg(back.words[2:6], 16) == plan.pmpcfg
        assert back.words[6:] == plan.pmpaddr


def test_read_back_shows_the_disarmed_map_and_the_context_of_the_last_step(rig: Rig) -> None:
    nop = rig.stub("nop")
    seen = rig.run(Step(A, nop), Step(B, nop), leg=Leg.DISARMED, disarm=Disarm.MAP, flags=Flag.READBACK)
    (back,) = rig.session.read_backs
    assert (back.context, back.leg) == (B, Leg.DISARMED)
    assert seen.live == checksum(back.words, rig.arm)
    if rig.arm:
        assert back.words[1] == 0
    else:
        assert back.words[2] & 0xFF == 0x1F and back.words[6] == 0x1FFF_FFFF


def test_the_live_checksum_follows_every_change_of_the_map(rig: Rig) -> None:
    """Contexts in all orders, maps off and on: the checksum always is the one of the context alone."""
    nop = rig.stub("nop")
    alone = {}
    for context in (A, B):
        for disarm in (Disarm.NOTHING, Disarm.MAP):
            alone[context, disarm] = rig.run(Step(context, nop), disarm=disarm).live
    assert len(set(alone.values())) == 4
    order = [(context, disarm) for context in (A, B) for disarm in (Disarm.NOTHING, Disarm.MAP)]
    sequence = [(first, second) for first in order for second in order]
    for first, second in sequence:
        assert rig.run(Step(first[0], nop), disarm=first[1]).live == alone[first]
        assert rig.run(Step(second[0], nop), disarm=second[1]).live == alone[second]
    assert rig.call("a_down", 3).live == alone[A, Disarm.NOTHING]
    assert rig.call("a_touch", rig.where.mem[A]).live == alone[B, Disarm.NOTHING]


def test_a_change_of_rights_alone_takes_effect(rig: Rig) -> None:
    """Same addresses in all registers, other rights: nothing may be taken for known."""
    own = rig.where.mem[A]
    a, b = rig.plan.contexts
    if rig.arm:
        read_only = replace(a, arm=(*a.arm[:2], pmsav7.encode(pmsav7.Region(2, own, MEMORY, ap=0b110)), *a.arm[3:]))
    else:
        read_only = replace(a, pmpcfg=(*a.pmpcfg[:2], 0x19, *a.pmpcfg[3:]))
    for _ in range(2):
        assert rig.attack("store32", own, 1).outcome is Outcome.RETURNED
        rig.session.load_plan(replace(rig.plan, contexts=(read_only, b)))
        assert rig.attack("store32", own, 1).outcome is Outcome.TRAPPED
        rig.session.load_plan(rig.plan)


def test_a_map_that_an_actor_changed_is_written_again(arm: Rig) -> None:
    """A context that is privileged by mistake widens the code region, which the next context has as well."""
    a, b = arm.plan.contexts
    arm.session.load_plan(replace(arm.plan, contexts=(replace(a, control=0), b)))
    alone = arm.attack("nop", context=B).live
    store, wide = arm.stub("store32"), b.arm[0][1] + (1 << 1)
    steps = [Step(A, store, (0xE000_ED98, 0)), Step(A, store, (0xE000_EDA0, wide)), Step(B, arm.stub("nop"))]
    assert arm.run(*steps).live == alone
    assert arm.run(*steps[1:]).live == alone


def test_a_plan_without_protection_is_obeyed(rig: Rig) -> None:
    """M12 is data."""
    a = rig.plan.contexts[A]
    off = replace(a, ctrl=0) if rig.arm else replace(a, pmpcfg=(0x1F, *[0] * 15), pmpaddr=(0x1FFF_FFFF, *[0] * 15))
    rig.session.load_plan(replace(rig.plan, contexts=(off, rig.plan.contexts[B])))
    assert rig.attack("load32", rig.where.mem[B]).outcome is Outcome.RETURNED
    assert rig.attack("load32", rig.where.mem[A], context=B).outcome is Outcome.TRAPPED


def test_slots_that_the_plan_leaves_out_stay_as_they_were(rig: Rig) -> None:
    """M07 is data: a plan of fewer slots does not clear the others."""
    a, b = rig.plan.contexts
    count = 2
    short = replace(a, arm=a.arm[:count], pmpcfg=a.pmpcfg[:count], pmpaddr=a.pmpaddr[:count])
    rig.session.load_plan(replace(rig.plan, contexts=(short, b)))
    rig.attack("nop", context=B)
    assert rig.attack("load32", rig.where.mem[B]).outcome is Outcome.RETURNED  # B's slot 2 is still in force
    rig.session.load_plan(rig.plan)
    assert rig.attack("load32", rig.where.mem[B]).outcome is Outcome.TRAPPED


def test_no_entry_at_all_stops_the_first_fetch(riscv: Rig) -> None:
    a = replace(riscv.plan.contexts[A], pmpcfg=(0,) * 16)
    riscv.session.load_plan(replace(riscv.plan, contexts=(a, riscv.plan.contexts[B])))
    seen = riscv.attack("nop")
    assert (seen.outcome, seen.fault[0]) == (Outcome.TRAPPED, 1)
    riscv.session.load_plan(riscv.plan)
    assert riscv.attack("nop").outcome is Outcome.RETURNED


# Sweeps and scans


def sweep(rig: Rig, op: str, first: int, count: int, stride: int = 1, *rest: int, **options: object) -> Observation:
    step = Step(A, rig.stub(op), (first, *rest))
    return rig.do(Program(9, Verb.SWEEP, Leg.ARMED, (step,), first=first, count=count, stride=stride, **options))


def bitmap(data: bytes, count: int) -> list[int]:
    return [data[i // 8] >> i % 8 & 1 for i in range(count)]


def halves(seen: Observation, count: int) -> tuple[list[int], list[int]]:
    half = len(seen.blob) // 2
    assert half == (count + 7) // 8
    return bitmap(seen.blob[:half], count), bitmap(seen.blob[half:], count)


def test_a_sweep_over_an_edge(rig: Rig) -> None:
    edge = rig.where.mem[B]  # A's memory ends here
    seen = sweep(rig, "load8u", edge - 64, 128)
    traps, changes = halves(seen, 128)
    assert (seen.outcome, seen.detail) == (Outcome.RETURNED, 64)
    assert traps == [0] * 64 + [1] * 64 and not any(changes)
    assert seen.regs[:2] == (64, 64)  # all with the right address, all with the cause of the first


def test_a_sweep_of_stores_shows_what_landed_and_puts_it_back(rig: Rig) -> None:
    edge = rig.where.mem[B]
    before = rig.target.read(edge - 64, 128)
    seen = sweep(rig, "store8", edge - 64, 128, 1, 0xEE, flags=Flag.RESTORE)
    traps, changes = halves(seen, 128)
    assert traps == [0] * 64 + [1] * 64 and changes == [1] * 64 + [0] * 64
    assert rig.target.read(edge - 64, 128) == before
    disarmed = sweep(rig, "store8", edge - 64, 128, 1, 0xEE, flags=Flag.RESTORE, disarm=Disarm.MAP)
    assert not any(halves(disarmed, 128)[0]) and all(halves(disarmed, 128)[1])


def test_a_sweep_downwards_in_steps(rig: Rig) -> None:
    edge = rig.where.mem[B]
    seen = sweep(rig, "load32", edge + 16, 9, -4)
    assert halves(seen, 9)[0] == [1] * 5 + [0] * 4


def test_a_sweep_through_the_gate_starts_every_entry_in_its_own_map(rig: Rig) -> None:
    """A hands the address to B: below B's memory B traps, and the next entry is A's again."""
    first = rig.where.mem[B] - 16
    step = Step(A, rig.symbol["a_touch"], (first,))
    seen = rig.do(Program(9, Verb.SWEEP, Leg.ARMED, (step,), first=first, count=8, stride=4))
    assert halves(seen, 8)[0] == [1] * 4 + [0] * 4
    assert (seen.outcome, seen.detail, seen.regs[0]) == (Outcome.RETURNED, 4, 4)


def test_a_long_sweep_and_one_too_long(rig: Rig) -> None:
    seen = sweep(rig, "load8u", rig.where.mem[B], 16384)
    assert (seen.outcome, seen.detail, len(seen.blob)) == (Outcome.RETURNED, 16384, 4096)
    for count in (0, 16385):
        assert (s := sweep(rig, "load8u", 0, count)).outcome is Outcome.BAD_PROGRAM and s.detail == BAD_COUNT


def test_a_sweep_ends_at_the_first_time_out(rig: Rig) -> None:
    step = Step(A, rig.symbol["a_spin"], (0,))
    seen = rig.do(Program(9, Verb.SWEEP, Leg.ARMED, (step,), first=0, count=64, limit_us=50))
    assert seen.outcome is Outcome.TIMEOUT


def scan(rig: Rig, needle: bytes, first: int, count: int) -> Observation:
    return rig.do(Program(9, Verb.SCAN, Leg.ARMED, first=first, count=count, payloads=(Payload(0, 1, needle),)))


def test_scans_count_occurrences_wherever_they_lie(rig: Rig) -> None:
    base, needle = rig.where.mem[A], bytes(range(0x30, 0x3C))
    rig.target.write(base, bytes(2048))
    for at in (0, 250, 1000, 2048 - 12):  # 250: over the border of two chunks
        rig.target.write(base + at, needle)
    assert scan(rig, needle, base, 2048).detail == 4
    assert scan(rig, needle, base + 1, 2047).detail == 3
    assert scan(rig, needle, base, 2047).detail == 3
    assert scan(rig, needle, base, 11).detail == 0
    assert scan(rig, b"\x30", base, 2048).detail == 4


def test_scans_of_what_is_not_there(rig: Rig) -> None:
    hole = rig.board.holes[-1].start
    seen = scan(rig, b"x", hole, 64)
    assert (seen.outcome, seen.detail) == (Outcome.BAD_PROGRAM, BAD_COUNT)
    for needle in (b"", bytes(65)):
        assert scan(rig, needle, rig.where.mem[A], 64).detail == BAD_PAYLOAD


# Calls with lists


def call(rig: Rig, entry: str, *args: int, data: bytes = b"", **options: object) -> Observation:
    options = {"realloc": rig.symbol["b_realloc"], "data_base": rig.where.mem[B], **options}
    step = Step(B, rig.symbol[entry], args)
    return rig.do(Program(9, Verb.CALL, Leg.LEGAL, (step,), payloads=(Payload(0, 8, data),), **options))


def test_a_list_goes_in_and_comes_back(rig: Rig) -> None:
    rig.poke(rig.where.mem[B] + 4, 0x401)  # the allocator's top, not aligned
    data = bytes(range(1, 200))
    seen = call(rig, "b_reverse", 0xDEAD, len(data), data=data, ret_bytes=8, ret_list=0)
    assert (seen.outcome, seen.step) == (Outcome.RETURNED, 1)
    assert seen.blob[8:] == data[::-1]
    assert rig.target.read(rig.where.mem[B] + 0x408, len(data)) == data  # aligned to 8


def test_a_list_of_lists_goes_in(rig: Rig) -> None:
    """Inner lists are placed first; their addresses go into the bytes of the list that is placed behind them."""
    memory = rig.where.mem[B]
    rig.poke(memory + 4, 0x400)  # the allocator's top
    step = Step(B, rig.symbol["b_reverse"], (0xDEAD, 16))
    payloads = (
        Payload(0, 1, b"first", into=2), Payload(8, 1, b"second", into=1),
        Payload(0, 4, struct.pack("<IIII", 0, 5, 0, 6)),
    )  # fmt: skip
    seen = rig.do(
        Program(9, Verb.CALL, Leg.LEGAL, (step,), payloads=payloads, realloc=rig.symbol["b_realloc"],
                data_base=memory, ret_bytes=8, ret_list=0)
    )  # fmt: skip
    assert (seen.outcome, seen.step) == (Outcome.RETURNED, 1)
    one, five, two, six = struct.unpack("<IIII", seen.blob[8:24][::-1])
    assert (five, six) == (5, 6)
    assert rig.target.read(memory + one, 5) == b"first" and rig.target.read(memory + two, 6) == b"second"


def test_a_step_carries_as_many_words_as_sixteen_parameters_take(rig: Rig) -> None:
    args = tuple(range(100, 140))
    seen = rig.do(Program(9, Verb.RUN, Leg.LEGAL, (Step(B, rig.symbol["b_ten"], args),)))
    assert seen.outcome is Outcome.RETURNED
    assert seen.regs[0] == sum((i + 1) * args[i] for i in range(10))


def test_long_results_are_cut(rig: Rig) -> None:
    rig.poke(rig.where.mem[B] + 4, 0x2000)
    data = bytes(i % 251 for i in range(2000))
    seen = call(rig, "b_reverse", 0, len(data), data=data, ret_bytes=8, ret_list=0)
    assert seen.blob[8:] == data[::-1][:1024]


def test_the_agent_is_no_deputy_for_a_lying_allocator(rig: Rig) -> None:
    """It writes with the callee's rights: a pointer into A's memory traps, and A is unchanged."""
    rig.poke(rig.where.mem[A], 0x7777)
    seen = call(rig, "b_reverse", 0, 4, data=b"evil", realloc=rig.symbol["b_bad_realloc"])
    assert (seen.outcome, seen.step, seen.context) == (Outcome.TRAPPED, 0, B)
    assert seen.fault[2 if rig.arm else 1] == rig.where.mem[A]
    assert rig.word(rig.where.mem[A]) == 0x7777


def test_results_are_read_with_the_callees_rights(rig: Rig) -> None:
    rig.poke(rig.where.mem[B] + 4, 0x400)
    seen = call(rig, "b_list", 0, 0, data=b"", ret_bytes=8, data_base=rig.where.mem[A])
    assert seen.outcome is Outcome.TRAPPED and seen.context == B


# Fresh


def test_fresh_zeroes_resets_seeds_and_fills_in_this_order(rig: Rig) -> None:
    where = rig.where
    spans = (Fill(0, where.mem[A], MEMORY), Fill(0, where.mem[B], MEMORY), Fill(1, where.pad, 256, 0x1234_5678),
             Fill(1, where.mem[B] + 0x100, 64, 77))  # fmt: skip
    seeds = ((where.mem[A] + 4, b"seed!"), (where.mem[B] + 0x104, b"gone"))
    rig.session.load_plan(rig.plan, spans=spans, seeds=seeds)
    for at in (where.mem[A], where.mem[B] + 0x8000, where.pad):
        rig.poke(at, *[0xFFFF_FFFF] * 16)
    seen = rig.do(Program(1, Verb.FRESH, Leg.LEGAL))
    assert seen.outcome is Outcome.RETURNED
    assert rig.target.read(where.mem[A], 12) == (0xA0A0_A0A0).to_bytes(4, "little") + b"seed!" + bytes(3)
    assert rig.word(where.mem[B] + 0x8000) == 0 and rig.word(where.pad) == 0xFFFF_FFFF
    assert rig.target.read(where.mem[B] + 0x104, 4) == b"gone"
    rig.do(Program(1, Verb.FRESH, Leg.LEGAL, flags=Flag.PLANT))  # bit 0: canaries
    assert rig.target.read(where.pad, 256) == stream(0x1234_5678, 64)
    assert rig.target.read(where.mem[B] + 0x100, 64) == stream(77, 16)


def test_long_seeds_travel_in_pieces(rig: Rig) -> None:
    data = bytes(i * 7 % 256 for i in range(20000))
    rig.session.load_plan(rig.plan, seeds=((rig.where.mem[A] + 0x100, data),))
    rig.do(Program(1, Verb.FRESH, Leg.LEGAL))
    assert rig.target.read(rig.where.mem[A] + 0x100, len(data)) == data
    with pytest.raises(Exception, match="no room left"):
        rig.session.load_plan(rig.plan, seeds=((rig.where.mem[A], bytes(50000)),))


def test_the_agent_fills_only_shared_ram_outside_the_mailbox(rig: Rig) -> None:
    assert rig.board.roles is not None
    end = rig.board.roles.shared_ram[1]
    for at in (rig.where.shared, rig.where.shared + 0xFFFC, end, end - 4, rig.board.roles.agent_ram[0], 0xFFFF_FFFC):
        for spans, seeds in (((Fill(0, at, 8),), ()), ((), ((at, bytes(8)),))):
            with pytest.raises(Exception, match="refused value"):
                rig.session.load_plan(rig.plan, spans=spans, seeds=seeds)
    pad = rig.where.pad
    for wrong in (Fill(2, pad, 4), Fill(0, pad + 1, 4), Fill(0, pad, 6), Fill(1, pad, 4)):
        with pytest.raises(Exception, match="refused value"):
            rig.session.load_plan(rig.plan, spans=(wrong,))
