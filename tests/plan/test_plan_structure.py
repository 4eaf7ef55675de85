# SPDX-License-Identifier: Apache-2.0
"""Differences between registers and manifest are found to the byte and told with whose bytes they are."""

from __future__ import annotations

import pytest
from plan_images import Build, parts, registers, symbols

from rig.arch import pmp, pmsav7
from rig.boards.load import load_board
from rig.boards.model import Board
from rig.image.model import Model
from rig.plan.bind import bind
from rig.plan.manifest import Manifest, Row, manifest
from rig.plan.model import ContextPlan, Lowering, Plan, Strategy
from rig.plan.place import place
from rig.plan.structure import compare

ARM, RV = load_board("mps2-an386"), load_board("virt-rv32")


def planned(board: Board) -> tuple[Plan, Manifest]:
    image = Build(Model.MULTI, parts(1, 1)).image()
    placement = place(image, board, Lowering.WASM2C)
    plan = bind(image, board, placement, Strategy.SWITCH, symbols(image, placement, board))
    return plan, manifest(image, plan.placement, board)


def test_one_byte_too_many_or_too_few_is_a_difference() -> None:
    plan, truth = planned(RV)
    memory = plan.placement.find("memory:0")
    for end in (memory.end - 4, memory.end + 4):
        context = plan.context(0)
        cfg, addr = list(context.pmpcfg), list(context.pmpaddr)
        slot = next(r.slot for r in context.regions if r.what == "memory:0")
        cfg[slot : slot + 2] = [0, 0b0000_1011]  # OFF, TOR rw
        addr[slot : slot + 2] = [memory.start >> 2, end >> 2]
        found = compare(pmp.Context(32, 0, tuple(cfg), tuple(addr)), truth, 0)
        low, high = min(end, memory.end), max(end, memory.end)
        whom = "memory:1" if end > memory.end else "memory:0"
        assert len(found) == 2 and all(f"[{low:#x}, {high:#x}) {whom}" in line for line in found)
        assert ("not by the manifest" in found[0]) == (end > memory.end)


def test_a_disabled_unit_grants_everything_and_the_ranges_are_cut_short() -> None:
    plan, truth = planned(ARM)
    context = plan.context(0)
    off = pmsav7.Context(ARM.regions << 8, 0, context.arm)
    found = compare(off, truth, 0)
    assert [line.split(":")[0] for line in found] == ["read", "write", "execute"]
    many = Manifest(tuple(Row(f"r{i}", 64 * i, 64 * i + 32, 0, {0: "r"}) for i in range(9)))
    assert "and 6 more" in compare(off, many, 0)[0]


def test_settings_without_meaning_are_a_difference_of_their_own() -> None:
    plan, truth = planned(ARM)
    context = plan.context(0)
    slot = next(r.slot for r in context.regions if r.what == "memory:0")
    words = list(context.arm)
    words[slot] = (words[slot][0], words[slot][1] & ~(7 << 24) | 4 << 24)  # AP = 100
    found = compare(pmsav7.Context(ARM.regions << 8, 5, tuple(words)), truth, 0)
    assert any("no defined meaning for" in line and "memory:0" in line for line in found)


@pytest.mark.parametrize("board", [ARM, RV], ids=["arm", "rv32"])
def test_owners_are_not_interchangeable(board: Board) -> None:
    plan, truth = planned(board)

    def look(context: ContextPlan, owner: int) -> bool:
        return compare(registers(context, board), truth, owner) == ()

    assert [[look(c, o) for o in (0, 1)] for c in plan.contexts] == [[True, False], [False, True]]


def test_rows_answer_whose_byte_it_is() -> None:
    plan, truth = planned(ARM)
    zero, stack = plan.placement.find("memory:0"), plan.placement.find("stack:1")
    assert truth.owner_of(zero.start) == 0 and truth.name_of(zero.end - 1) == "memory:0"
    assert truth.owner_of(stack.end - 1) == 1
    assert truth.owner_of(plan.placement.code[0]) is None and truth.name_of(plan.placement.code[0]) == "code"
    assert truth.name_of(0x2000_0000) == "agent:ram" and truth.name_of(0x9000_0000) is None
    nested = Manifest((Row("outer", 0, 100, None, {}), Row("inner", 10, 20, 3, {})))
    assert [nested.owner_of(a) for a in (9, 10, 19, 20)] == [None, 3, 3, None]
