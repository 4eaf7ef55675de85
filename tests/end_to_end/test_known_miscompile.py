# SPDX-License-Identifier: Apache-2.0
"""A real defect of synth 0.89.0 that no fault shows: only the comparison with the un-fused components sees it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import ROOT, Ran

from rig.build.components import compile_component

pytestmark = [pytest.mark.emulator, pytest.mark.timeout(200)]
SOURCES = ROOT / "tests" / "fixtures" / "miscompile"


@pytest.fixture(scope="module")
def components(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("miscompile")
    made = []
    for name in ("logger", "other"):
        out = folder / f"{name}.wasm"
        compile_component(SOURCES / f"{name}.c", SOURCES / "log.wit", f"{name}-world", out)
        made.append(out)
    return made


def test_the_same_module_is_wrong_through_synth_and_right_through_wasm2c(
    components: list[Path], run: Callable[..., Ran]
) -> None:
    asked = (*components, "--board", "mps2-an386", "--model", "multi", "--strategy", "switch", "--family", "C-03")
    through = {lowering: run(*asked, "--lowering", lowering) for lowering in ("synth", "wasm2c")}
    assert through["wasm2c"].code == 0, through["wasm2c"].err
    assert through["synth"].code == 1, through["synth"].err
    wrong = [r for r in through["synth"].journal() if r["k"] == "result" and r["verdict"] == "FAIL"]
    assert [(r["actor"], r["class"]) for r in wrong] == [("logger", "WRONG_RESULT")]
    assert all(leg["outcome"] == "RETURNED" for r in wrong for leg in r.get("legs", ()))  # nothing trapped
