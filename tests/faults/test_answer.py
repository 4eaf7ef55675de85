# SPDX-License-Identifier: Apache-2.0
"""The answer in words and the exit code, from entries alone."""

from __future__ import annotations

import pytest
from faults_samples import shape

from rig.answer import Entry, Row, answer, exit_code, unrecorded
from rig.faults.catalogue import catalogue
from rig.faults.model import Judgement, RefusedProgram, Verdict, Why
from rig.inject.model import Leg

REQUIRED = [f.id for f in catalogue() if f.required]


def passed(family: str) -> Entry:
    return Entry(f"{family}/x", family, Verdict.PASS)


def refused(family: str, why: Why, reason: str = "because") -> Entry:
    return Entry(f"{family}/x", family, Verdict.REFUSED, reason=reason, why=why)


def failed(family: str = "D-02") -> Entry:
    return Entry(f"{family}/x", family, Verdict.FAIL, "ESCAPE_WRITE", "it landed")


def broken(family: str = "D-01", leg: Leg = Leg.DISARMED, control: bool = False) -> Entry:
    return Entry(f"{family}/x", family, Verdict.REFUSED, "CONTROL_FAILED", "it trapped", Why.CONTROL, leg, control)


WHOLE = [passed(f) for f in REQUIRED]
CALLS = [e for e in WHOLE if e.family != "C-03"]


def code(*entries: Entry, strict: bool = False) -> int:
    return exit_code([Row(entries)], strict=strict)


def test_all_passed_is_isolated() -> None:
    assert answer(WHOLE) == "isolated" and code(*WHOLE) == 0


def test_what_the_platform_cannot_show_is_counted_by_family() -> None:
    entries = [*WHOLE, *[refused("G-06", Why.PLATFORM)] * 12, refused("G-07", Why.PLATFORM)]
    counts = "12 programs of G-06, 1 program of G-07 refused"
    assert answer(entries) == f"isolated as far as this platform can show: {counts}"
    assert code(*entries) == 0 and code(*entries, strict=True) == 4


def test_calls_that_could_not_be_compared_are_said_so() -> None:
    entries = [*CALLS, refused("C-03", Why.INPUT, "no components")]
    assert answer(entries) == "isolated; calls not compared" and code(*entries) == 0
    both = [*entries, refused("G-06", Why.PLATFORM), refused("K-11", Why.INPUT, "no types")]
    assert answer(both) == ("isolated as far as this platform can show: 1 program of G-06 refused; "
                            "calls not compared; not attacked for want of input: K-11")


def test_a_fail_is_not_isolated_and_exit_1() -> None:
    entries = [*WHOLE, failed()]
    assert answer(entries) == "not isolated: 1 program failed, the first D-02/x: ESCAPE_WRITE" and code(*entries) == 1


def test_pairs_of_one_context_are_not_isolated_once_per_pair() -> None:
    entries = [*WHOLE, *[refused("D-01", Why.SHARED, "not isolated: F14 (app, logger)")] * 3]
    assert answer(entries) == "not isolated: F14 (app, logger)" and code(*entries) == 1


def test_a_plan_that_does_not_fit_is_an_answer_and_exit_0() -> None:
    entries = [refused(f, Why.FIT, "3 × 65536 B memories = 196608 B, but the part has 98304 B") for f in REQUIRED]
    assert answer(entries).startswith("refused: 3 × 65536 B") and code(*entries) == 0


@pytest.mark.parametrize("entry", [broken(), broken("C-07", Leg.ARMED, True), broken("C-08", Leg.LEGAL, True),
                                   broken("C-04", Leg.DISARMED, True)])
def test_a_failed_control_voids_the_run_even_beside_a_fail(entry: Entry) -> None:
    assert code(*WHOLE, entry) == 3 and code(*WHOLE, failed(), entry) == 3
    assert answer([*WHOLE, entry]).startswith("refused: run void")


def test_a_static_row_where_data_does_not_land_voids_the_run() -> None:
    static = Row((broken("D-01", Leg.ARMED, True),), control=True)
    assert exit_code([Row(tuple(WHOLE)), static]) == 3
    assert exit_code([Row(tuple(WHOLE)), Row((passed("D-01"),), control=True)]) == 0


def test_an_ordinary_legal_leg_that_broke_is_no_pass_but_a_fail_says_more() -> None:
    legal = broken(leg=Leg.LEGAL)
    assert code(*WHOLE, legal) == 3 and answer([*WHOLE, legal]).startswith("refused: D-01/x")
    explained = [*WHOLE, legal, failed("C-02")]
    assert code(*explained) == 1 and answer(explained).startswith("not isolated")


def test_infrastructure_is_never_green() -> None:
    entries = [*WHOLE, refused("D-01", Why.INFRA)]
    assert code(*entries) == 3 and answer(entries).startswith("refused")
    assert exit_code([]) == 3


def test_a_required_family_without_a_record_is_incomplete() -> None:
    for missing in REQUIRED:
        entries = [e for e in WHOLE if e.family != missing]
        assert code(*entries) == 4 and unrecorded(entries) == (missing,)
        assert exit_code([Row(tuple(WHOLE)), Row(tuple(entries))]) == 4  # in each row
    assert code(*CALLS, refused("C-03", Why.NA)) == 0
    assert exit_code([Row(tuple(CALLS))], complete=False) == 0  # the user chose some programs


def test_strict_asks_for_every_p0_program_that_can_be_expressed() -> None:
    assert code(*WHOLE, refused("W-05", Why.NA), strict=True) == 0
    assert code(*CALLS, refused("C-03", Why.INPUT), strict=True) == 4
    assert code(*WHOLE, refused("D-09", Why.PLATFORM), strict=True) == 0  # P1


def test_entries_are_made_from_judgements_and_refusals() -> None:
    program = shape("page").of("C-04")[0]
    entry = Entry.judged(program, Judgement(Verdict.REFUSED, "CONTROL_FAILED", "no", Why.CONTROL, leg=Leg.LEGAL))
    assert entry.control and entry.voids and entry.id == program.id
    shared = RefusedProgram("X-04/pair", "X-04", 0, 1, Why.NA, "N/A(shared .text)")
    assert Entry.refused(shared).reason == "N/A(shared .text)"
