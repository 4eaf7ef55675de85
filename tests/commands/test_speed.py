# SPDX-License-Identifier: Apache-2.0
"""`rig speed`, measured on real emulators, small; and what makes a measurement worthless turns it red."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from rig import cli
from rig.boards.load import load_board
from rig.build.load_subject import load_subject
from rig.campaign import speed
from rig.campaign.bench import QemuBench
from rig.campaign.speed import LEAST_ROUNDS, Amount, Measurement, plain
from rig.errors import InfrastructureError
from rig.inject.model import Leg, Observation, Outcome, Program

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(240)]
SMALL = Amount(rounds=3, groups=2, exchanges=20, processes=1)
FIELDS = {"board", "lowering", "rounds", "legs", "legs_per_second", "debugger_legs_per_second",
          "new_process_legs_per_second", "ratio_gdb", "ratio_new_process", "emulator_us_per_leg",
          "host_us_per_leg"}  # fmt: skip


def silent(_: str) -> None: ...


@pytest.fixture(scope="module")
def arm() -> Measurement:
    return Measurement(load_subject(["scalar"]), load_board("mps2-an386"), silent)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rig.commands.speed.Amount", lambda: SMALL)


@pytest.mark.usefixtures("small")
def test_both_boards_are_measured_and_batches_are_faster(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["speed", "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert [row["board"] for row in found["boards"]] == ["mps2-an386", "virt-rv32"]
    for row in found["boards"]:
        assert set(row) == FIELDS
        assert row["legs"] >= 2 * 3 * SMALL.rounds
        assert row["ratio_gdb"] > 1
        assert row["ratio_new_process"] > row["ratio_gdb"]
        assert row["legs_per_second"] > row["debugger_legs_per_second"] > row["new_process_legs_per_second"] > 0
        assert row["emulator_us_per_leg"] > 1
        assert row["host_us_per_leg"] > 1


@pytest.mark.usefixtures("small")
def test_a_person_gets_a_table_on_standard_output_and_progress_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["speed", "--board", "mps2-an386"]) == 0
    said = capsys.readouterr()
    assert "mps2-an386" in said.out
    assert "virt-rv32" not in said.out
    assert "×" in said.out
    assert "round 1 of 3" in said.err
    assert "round" not in said.out


@pytest.mark.parametrize("board", ["nothing-like-it", "stm32g474"])
def test_a_board_that_cannot_be_emulated_is_a_usage_error(board: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["speed", "--board", board]) == 2
    assert board in capsys.readouterr().err


def test_what_is_measured_is_what_most_programs_are(arm: Measurement) -> None:
    programs = [program for group in arm.groups for program in group]
    assert len(programs) > 1000
    assert all(plain(program) and set(program.legs) == set(Leg) for program in programs)
    assert sum(program.readers != () for program in programs) > len(programs) / 2
    assert not plain(replace(programs[0], fresh=True))
    assert not plain(replace(programs[0], legs={Leg.ARMED: programs[0].legs[Leg.ARMED]}))


def test_ratios_are_measured_not_assumed(arm: Measurement, monkeypatch: pytest.MonkeyPatch) -> None:
    real = QemuBench.run

    def slow(self: QemuBench, programs: Sequence[Program]) -> list[Observation]:
        began = time.monotonic()
        found = real(self, programs)
        if len(programs) > 2:  # batches, not the leg of a new process
            time.sleep(0.05 * len(programs))
            self.seconds += time.monotonic() - began
        return found

    monkeypatch.setattr(arm, "groups", [[arm.groups[i][0]] for i in range(3)])
    monkeypatch.setattr(QemuBench, "run", slow)
    measured = arm.measure(replace(SMALL, groups=1), silent)
    assert measured.legs_per_second < 20
    assert measured.ratio_gdb < 1


def test_time_that_is_up_ends_it_after_the_least_number_of_rounds(arm: Measurement) -> None:
    amount = replace(SMALL, rounds=50, groups=1, exchanges=3, seconds=0.0)
    assert arm.measure(amount, silent).rounds == LEAST_ROUNDS


def otherwise(run: Callable[[list[Program]], list[Observation]]) -> Callable[[list[Program]], list[Observation]]:
    def changed(programs: list[Program]) -> list[Observation]:
        return [*run(programs)[:-1], replace(run(programs)[-1], outcome=Outcome.TIMEOUT)]

    return changed


def test_a_way_that_does_something_else_is_an_error(arm: Measurement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm, "_in_new_process", otherwise(arm._in_new_process))
    with pytest.raises(InfrastructureError, match=r"TIMEOUT.* in a process of its own, .*do not do the same"):
        arm.measure(SMALL, silent)


def test_a_changed_canary_is_an_error(arm: Measurement, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {owner: [replace(w, seed=w.seed ^ 2) for w in windows] for owner, windows in arm.windows.items()}
    monkeypatch.setattr(arm, "windows", wrong)
    with pytest.raises(InfrastructureError, match="leaks: the victim's canaries"):
        arm.measure(SMALL, silent)
    monkeypatch.setattr(speed, "victim_says", lambda *_: "")
    with pytest.raises(InfrastructureError, match=r"leaks: canary byte .*read by the host"):
        arm.measure(SMALL, silent)
