# SPDX-License-Identifier: Apache-2.0
"""Each seeded bug changes what some owner can do, in a way that the manifest tells apart from a right plan."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from plan_images import Build, Part, parts, rebacked, registers, symbols

from rig.boards.load import load_board
from rig.boards.model import Board
from rig.image.model import Image, Model
from rig.plan.bind import bind
from rig.plan.manifest import manifest
from rig.plan.model import ContextPlan, Lowering, Plan, Strategy
from rig.plan.mutants import BY_ID, MUTANTS, Mutant
from rig.plan.place import place
from rig.plan.structure import compare

ARM, ARM16, RV = load_board("mps2-an386"), load_board("mps2-an386-16r"), load_board("virt-rv32")
PLAN = [m for m in MUTANTS if m.kind == "plan"]
MULTI = Build(Model.MULTI, parts(1, 1, 1), adapters=[(0, 1, True), (2, 0, False)]).image()
BACKED = rebacked(MULTI, dict.fromkeys(range(3), 40 << 10))
PACKED = Build(Model.PACKED, parts(1056, 1056, 1056)).image()
PAGE = Build(Model.PAGE, parts(1, 2, 1)).image()
CASES = [(ARM, MULTI), (ARM, BACKED), (ARM16, MULTI), (ARM, PAGE), (RV, MULTI), (RV, PACKED), (RV, PAGE)]


def planned(image: Image, board: Board) -> Plan:
    lowering = Lowering.WASM2C if board is RV else Lowering.SYNTH
    placement = place(image, board, lowering)
    return bind(image, board, placement, Strategy.SWITCH, symbols(image, placement, board))


def differences(plan: Plan, image: Image, board: Board) -> set[int]:
    """Owners whose registers differ from the manifest, each context entered after all others."""
    truth = manifest(image, plan.placement, board)
    found = set()
    for context in plan.contexts:
        for before in plan.contexts:
            if compare(registers(after(before, context), board), truth, context.owner):
                found.add(context.owner)
    return found


def after(before: ContextPlan, context: ContextPlan) -> ContextPlan:
    """The context as the registers hold it when `before` was in: slots that it does not write keep what was there."""
    return replace(context, arm=context.arm + before.arm[len(context.arm) :])


def test_the_list_has_every_mutant_that_must_be_there() -> None:
    required = (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 16, 17, 20, 21, 23, 33, 34)
    assert {f"M{number:02}" for number in required} <= set(BY_ID)
    assert [m.id for m in MUTANTS] == sorted(BY_ID)
    assert {m.kind for m in MUTANTS} == {"plan", "agent", "judge"}
    assert all(m.killers and m.title for m in MUTANTS)


@pytest.mark.parametrize("mutant", PLAN, ids=lambda m: m.id)
def test_each_mutant_shows_in_the_registers(mutant: Mutant) -> None:
    shown = 0
    for board, image in CASES:
        plan = planned(image, board)
        assert differences(plan, image, board) == set()
        if mutant.applies(plan, board) is not None:
            continue
        for seed in range(12):
            broken = mutant.mutate(plan, Random(seed))
            assert broken.placement == plan.placement and broken.seams == plan.seams
            assert [c.regions for c in broken.contexts] == [c.regions for c in plan.contexts]
            if mutant.id == "M11":
                levels = [(c.control, good.control) for c, good in zip(broken.contexts, plan.contexts, strict=True)]
                assert sum(a != b for a, b in levels) == 1
            else:
                assert differences(broken, image, board), f"{mutant.id}, seed {seed}: no difference"
            shown += 1
    assert shown, "no case can show it"


@pytest.mark.parametrize("mutant", PLAN, ids=lambda m: m.id)
def test_a_mutant_is_the_same_for_the_same_seed(mutant: Mutant) -> None:
    plan = next(p for b, i in CASES if mutant.applies(p := planned(i, b), b) is None)
    assert mutant.mutate(plan, Random(3)) == mutant.mutate(plan, Random(3))


def test_what_a_mutant_brings_is_what_it_needs() -> None:
    for mutant in PLAN:
        board = load_board(mutant.board) if mutant.board else ARM
        image = rebacked(MULTI, dict.fromkeys(range(3), mutant.backed)) if mutant.backed else MULTI
        assert mutant.applies(planned(image, board), board) is None, mutant.id


@pytest.mark.parametrize(
    ("identity", "board", "image", "reason"),
    [
        ("M01", RV, MULTI, "a PMSAv7 mutant"),
        ("M04", ARM, MULTI, "no region uses subregions"),
        ("M07", ARM, MULTI, "more than 8 regions"),
        ("M12", RV, MULTI, "denies U-mode everything"),
        ("M16", ARM, MULTI, "a PMP mutant"),
        ("M06", ARM, Build(Model.MULTI, parts(1)).image(), "no context with a free region"),
        ("M02", ARM, Build(Model.MULTI, [Part("a", memory=False)]).image(), "no context has a memory"),
    ],
)
def test_where_a_mutant_cannot_be_shown_it_says_why(identity: str, board: Board, image: Image, reason: str) -> None:
    said = BY_ID[identity].applies(planned(image, board), board)
    assert said is not None and reason in said


def test_agent_and_judge_mutants_are_none_of_the_plan() -> None:
    plan = planned(MULTI, ARM)
    for mutant in MUTANTS:
        if mutant.kind != "plan":
            assert mutant.applies(plan, ARM) is None
            with pytest.raises(ValueError, match="none of the plan"):
                mutant.mutate(plan, Random(0))


def test_the_stale_region_of_m07_shows_only_after_its_owner_ran() -> None:
    plan = planned(MULTI, ARM16)
    broken = BY_ID["M07"].mutate(plan, Random(1))
    keeper = next(c for c in broken.contexts if len(c.arm) == 16)
    other = next(c for c in broken.contexts if c.id != keeper.id and c.owner < 3)
    truth = manifest(MULTI, plan.placement, ARM16)
    assert compare(registers(keeper, ARM16), truth, keeper.owner) == ()
    assert compare(registers(other, ARM16), truth, other.owner) == ()
    stale = compare(registers(after(keeper, other), ARM16), truth, other.owner)
    assert any(f"memory:{keeper.owner}" in line for line in stale)


def test_an_adapters_rights_never_grow_into_its_callers() -> None:
    broken = BY_ID["M08"].mutate(planned(MULTI, ARM), Random(0))
    truth = manifest(MULTI, broken.placement, ARM)
    lines = [line for c in broken.contexts for line in compare(registers(c, ARM), truth, c.owner)]
    assert len(lines) == 1 and lines[0].startswith("write: granted by the registers, not by the manifest: [0x")
