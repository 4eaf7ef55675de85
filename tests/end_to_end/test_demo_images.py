# SPDX-License-Identifier: Apache-2.0
"""The three demo images, whole: real components, meld, synth, wasm2c, QEMU. What the README promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_line import Ran

from rig.faults.catalogue import Status, catalogue

pytestmark = [pytest.mark.slow, pytest.mark.emulator, pytest.mark.timeout(600)]
BOARDS = ("mps2-an386", "virt-rv32")


@pytest.fixture(scope="module")
def scalar(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    from command_line import rig

    folder = tmp_path_factory.mktemp("scalar") / "run"
    return Ran(*rig("run", "--json", "--out", folder, timeout=500), folder)


def test_scalar_isolates_in_every_model_that_fits(scalar: Ran) -> None:
    assert scalar.code == 0, scalar.err[-2000:]
    answers = scalar.answers()
    assert set(answers) == {(b, m) for b in BOARDS for m in ("shared-page", "shared-packed", "multi", "domains")}
    for (board, model), answer in answers.items():
        if (board, model) == ("mps2-an386", "shared-packed"):
            assert answer["answer"].startswith("refused: ") and "PMSAv7" in answer["answer"]
            assert answer["PASS"] == 0 and answer["REFUSED"] == len(
                [f for f in catalogue() if f.status is Status.BUILT]
            )
        else:
            assert answer["answer"].startswith("isolated"), answer
            assert answer["FAIL"] == 0 and answer["PASS"] > 500


def test_the_static_control_lands_and_stays_outside_the_totals(scalar: Ran) -> None:
    controls = scalar.answers("static")
    assert all(answer["control"] for answer in controls.values())
    ran = [a for a in controls.values() if not a["answer"].startswith("refused")]
    assert ran and all(a["answer"].startswith("control: ") and a["PASS"] > 0 for a in ran)
    judged = [a for a in scalar.json["answers"] if not a["control"]]
    assert scalar.json["totals"] == {v: sum(a[v] for a in judged) for v in ("PASS", "FAIL", "REFUSED")}


def test_every_family_left_a_record_and_every_program_three_legs_or_a_reason(scalar: Ran) -> None:
    records = scalar.journal()
    for row in {r["row"] for r in records if r["k"] in ("result", "refused") and r["row"].endswith("switch")}:
        seen = {r["case"] for r in records if r["k"] in ("result", "refused") and r["row"] == row}
        assert {f.id for f in catalogue() if f.status is Status.BUILT and f.required} <= seen, row
    for record in records:
        if record["k"] == "result" and record["case"][0] in "DGX" and record["row"].endswith("switch"):
            legs = {leg["leg"] for leg in record["legs"]}
            assert legs == {"legal", "disarmed", "armed"} or record.get("disarmed_none"), record["id"]
        if record["k"] == "refused":
            assert record["reason"] and record["why"]


def test_lowerings_are_named_with_synths_own_words_for_why_not(scalar: Ran) -> None:
    answers = scalar.answers()
    assert answers["mps2-an386", "multi"]["lowering"] == "synth"
    assert answers["virt-rv32", "shared-page"]["lowering"] == "synth-mask"
    assert answers["virt-rv32", "multi"]["lowering"] == "wasm2c"
    rows = {r["row"]: r for r in scalar.journal() if r["k"] == "row"}
    assert any("4 memories" in why for why in rows["virt-rv32/multi/switch"]["why_not"])


def test_sampled_families_ran_from_a_new_process_too(scalar: Ran) -> None:
    fresh = {r["case"] for r in scalar.journal() if r["k"] == "result" and r["id"].endswith("@new-process")}
    assert len(fresh) > 25


def test_lists_shows_f12_f14_and_is_not_isolated_in_model_1(run: Callable[..., Ran]) -> None:
    ran = run("lists", timeout=500)
    assert ran.code == 1, ran.err[-2000:]
    found = {finding["id"] for finding in ran.json["findings"]}
    assert {"F12", "F14"} <= found
    answers = ran.answers()
    for board in BOARDS:
        assert answers[board, "shared-page"]["answer"].startswith("not isolated: ")
        assert "F14" in answers[board, "shared-page"]["answer"]
        assert answers[board, "multi"]["answer"].startswith("isolated")
    results = [r for r in ran.journal() if r["k"] == "result"]
    deputy = [r for r in results if r["case"] == "K-11" and r["row"].endswith("multi/switch")]
    assert deputy and all(r["verdict"] == "PASS" and r["class"] == "GATE_REFUSED" for r in deputy)
    wrong = [r for r in results if r["case"] == "C-03" and r["verdict"] == "FAIL"]
    assert wrong and {r["actor"] for r in wrong} == {"dispatch"}


def test_wide_goes_through_wasm2c_and_isolates(run: Callable[..., Ran]) -> None:
    ran = run("wide", timeout=500)
    assert ran.code == 0, ran.err[-2000:]
    assert {a["lowering"] for a in ran.answers().values()} == {"wasm2c"}
    assert all(a["answer"].startswith("isolated") for a in ran.answers().values())
