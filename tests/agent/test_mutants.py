# SPDX-License-Identifier: Apache-2.0
"""Seeded bugs of the agent: each changes what is observed, and the production agent has none of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from bringup import A, B, Rig

from rig.boards.model import Board
from rig.build.agent import MUTANTS, compile_agent, inputs
from rig.errors import UsageError
from rig.inject.model import Observation, Outcome, Step

pytestmark = pytest.mark.emulator

Fresh = Callable[..., Rig]


def stale_region(rig: Rig) -> Observation:
    """T-01: B traps once; then A runs, and B attacks A's memory."""
    load, nop, target = rig.stub("load32"), rig.stub("nop"), rig.where.mem[A]
    rig.run(Step(B, load, (target,)))
    return rig.run(Step(A, nop), Step(B, load, (target,)))


def test_m21_leaves_a_stale_map(fresh: Fresh) -> None:
    sound, broken = fresh(), fresh("RIG_MUTANT_M21")
    right, wrong = stale_region(sound), stale_region(broken)
    assert right.outcome is Outcome.TRAPPED and right.fault[2 if sound.arm else 1] == sound.where.mem[A]
    if sound.arm:  # B's own stack is not in A's map: even its first frame cannot be taken from there
        assert (wrong.outcome, wrong.fault[0]) == (Outcome.TRAPPED, 0x08)
    else:
        assert wrong.outcome is Outcome.RETURNED
    # The live checksum tells it too: B ran under A's map.
    alone = sound.attack("nop").live
    assert wrong.live == alone != right.live


def test_m21_breaks_the_way_back_through_the_gate(fresh: Fresh) -> None:
    broken = fresh("RIG_MUTANT_M21")
    broken.attack("load32", broken.where.mem[B])  # A trapped: "A's map is in"
    seen = broken.run(Step(B, broken.stub("nop")), Step(A, broken.stub("load32"), (broken.where.mem[A],)))
    assert seen.outcome is Outcome.TRAPPED  # a legal access


def test_m23_leaves_the_callees_base_registers(fresh: Fresh) -> None:
    sound, broken = fresh(), fresh("RIG_MUTANT_M23")
    first = 0xA900 if sound.arm else sound.where.mem[A]
    assert sound.call("a_bases").regs[:2] == (first, sound.where.mem[A])
    assert broken.call("a_bases").regs[:2] == (0, 0)  # what B left in them


def test_m23_hands_the_callers_instance_on(fresh: Fresh) -> None:
    for rig, expected in ((fresh(), 0x5000), (fresh("RIG_MUTANT_M23"), 0x4000)):
        contexts = tuple(replace(c, instance=0x4000 + 0x1000 * c.id) for c in rig.plan.contexts)
        seams = tuple(replace(s, instance_first=True) if s.index == 0 else s for s in rig.plan.seams)
        rig.session.load_plan(replace(rig.plan, contexts=contexts, seams=seams))
        assert rig.call("a_ten", 0x4000, *([0] * 9)).regs[0] == expected + 1


def test_m34_loses_the_cause(fresh: Fresh) -> None:
    sound, broken = fresh(), fresh("RIG_MUTANT_M34")
    seen = [rig.attack("load32", rig.where.mem[B]) for rig in (sound, broken)]
    assert {o.outcome for o in seen} == {Outcome.TRAPPED}
    assert seen[0].fault[0] != 0
    assert seen[1].fault[0] == 0 and seen[1].fault[2 if sound.arm else 1] == 0
    pc = 4 if sound.arm else 2
    assert seen[0].fault[pc] == seen[1].fault[pc]


def test_every_seeded_bug_is_compiled_in_only_on_request(board: Board, tmp_path: Path) -> None:
    def objects(*defines: str) -> dict[str, bytes]:
        folder = tmp_path / "-".join(("of", *defines))
        folder.mkdir()
        return {o.name: o.read_bytes() for o in compile_agent(board, folder, defines=defines)}

    sound = objects()
    assert sound == {name: data for name, data in sound.items() if b"RIG_MUTANT" not in data}
    for mutant in sorted(MUTANTS):
        assert objects(mutant) != sound, mutant
    named = {m for path in inputs(board.arch) for m in MUTANTS if m in path.read_text()}
    assert named == MUTANTS


def test_an_unknown_seeded_bug_is_refused(board: Board, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="knows no seeded bug RIG_MUTANT_M99: one of RIG_MUTANT_M21"):
        compile_agent(board, tmp_path, defines=("RIG_MUTANT_M99",))
