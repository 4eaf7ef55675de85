# SPDX-License-Identifier: Apache-2.0
"""Bugs seeded into the campaign's own glue: what was not done, not read or not looked at never comes out green."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rig import answer
from rig.boards.load import load_board
from rig.build.load_subject import load_subject
from rig.campaign import row as rows
from rig.campaign import strategy
from rig.campaign.bench import QemuBench
from rig.campaign.job import Job, run_job
from rig.campaign.prediction import Predictor
from rig.campaign.request import Request
from rig.errors import InfrastructureError
from rig.faults.model import FaultProgram
from rig.image.model import Model
from rig.inject.model import Leg, Observation, Outcome, Program, Verb
from rig.plan.model import Strategy

pytestmark = pytest.mark.emulator
FAMILIES = frozenset({"C-05", "D-01", "D-02"})
GREEN = 0


def outcome(folder: Path, families: frozenset[str] = FAMILIES, chosen: Sequence[Strategy] = (Strategy.SWITCH,)) -> int:
    """Exit code of one job, the image `scalar` in domains on the Cortex-M4."""
    subject = load_subject(["scalar"])
    request = Request(
        subject, ("scalar",), (load_board("mps2-an386"),), (Model.DOMAINS,), tuple(chosen), families=families
    )
    job = Job(request, subject.read_components(), None, request.boards[0], Model.DOMAINS, folder / "part.jsonl", False)
    try:
        done = run_job(job, lambda event, **facts: None)
    except InfrastructureError:
        return 3
    return answer.exit_code([answer.Row(row.entries, row.control) for row in done], complete=not families)


def altered_run(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """`change(programs, observations)` stands between the agent and the campaign."""
    honest = QemuBench.run

    def run(self: QemuBench, programs: Sequence[Program]) -> list[Observation]:
        return list(change(programs, honest(self, programs)))

    monkeypatch.setattr(QemuBench, "run", run)


def test_without_a_seeded_bug_it_is_green(tmp_path: Path) -> None:
    assert outcome(tmp_path) == GREEN


def test_results_that_never_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered_run(monkeypatch, lambda programs, seen: [o for o in seen if o.leg is not Leg.LEGAL or o.index < 40])
    assert outcome(tmp_path) != GREEN


def test_results_of_the_program_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered_run(monkeypatch, lambda p, seen: [replace(seen[i - 1], index=o.index) for i, o in enumerate(seen)])
    assert outcome(tmp_path) != GREEN


def test_a_trap_that_is_reported_without_having_happened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lie(programs: Sequence[Program], seen: Sequence[Observation]) -> list[Observation]:
        attacks = {p.index for p in programs if p.verb is Verb.RUN and p.leg is Leg.ARMED and p.watch}
        return [replace(o, outcome=Outcome.TRAPPED, fault=(0x82, *o.fault[1:-1], 0)) if o.index in attacks else o
                for o in seen]  # fmt: skip

    altered_run(monkeypatch, lie)
    assert outcome(tmp_path) != GREEN


def test_registers_that_are_not_the_ones_at_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    altered_run(monkeypatch, lambda p, seen: [replace(o, live=o.live ^ 1) for o in seen])
    assert outcome(tmp_path) != GREEN


def test_canaries_that_nobody_fills_or_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strategy, "_windows", lambda fills: {})
    assert outcome(tmp_path) != GREEN


def test_a_host_that_reads_other_ram(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = QemuBench.read
    monkeypatch.setattr(QemuBench, "read", lambda self, at, size: honest(self, at + 4, size))
    assert outcome(tmp_path) != GREEN


def test_a_victims_reader_that_reads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rows.reader_programs

    def empty(*given: Any) -> Any:
        return [(window, replace(p, steps=(replace(p.steps[0], args=(0, 0)),))) for window, p in honest(*given)]

    monkeypatch.setattr(rows, "reader_programs", empty)
    assert outcome(tmp_path) != GREEN


def test_registers_read_back_from_another_context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Predictor.context_registers
    monkeypatch.setattr(Predictor, "context_registers", lambda self, context, leg=Leg.ARMED: honest(self, 0, leg))
    assert outcome(tmp_path) != GREEN


def test_no_prediction_of_the_architecture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Predictor, "decision", lambda self, program: None)
    assert outcome(tmp_path) != GREEN


def test_a_family_that_the_expansion_forgot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = strategy.expand

    def forgetful(*given: Any, **options: Any) -> Any:
        programs, refused = honest(*given, **options)
        return [p for p in programs if p.family != "D-02"], [r for r in refused if r.family != "D-02"]

    monkeypatch.setattr(strategy, "expand", forgetful)
    assert outcome(tmp_path, families=frozenset()) == answer.INCOMPLETE


def test_legs_that_the_glue_leaves_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = rows.wire_programs

    def without_disarmed(group: Sequence[FaultProgram], first: int) -> Any:
        programs, sent = honest(group, first)
        return programs, [item for item in sent if item.leg is not Leg.DISARMED]

    monkeypatch.setattr(rows, "wire_programs", without_disarmed)
    assert outcome(tmp_path) != GREEN


def test_a_control_row_where_nothing_lands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = strategy.prepare.bind_strategies

    def switched(built: Any, wanted: Any) -> Any:
        plans = honest(built, wanted)
        return {Strategy.STATIC: replace(plans[Strategy.STATIC], contexts=plans[Strategy.SWITCH].contexts),
                Strategy.SWITCH: plans[Strategy.SWITCH]}  # fmt: skip

    monkeypatch.setattr(strategy.prepare, "bind_strategies", switched)
    assert outcome(tmp_path, chosen=(Strategy.STATIC, Strategy.SWITCH)) == answer.VOID
