# SPDX-License-Identifier: Apache-2.0
"""Bad input: one clear message that names file, key and cure, the right exit code, no traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ran, rig

from rig.build.components import demo_folder

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="session")
def demo() -> Path:
    return demo_folder("scalar")


def _fails(words: tuple[str | Path, ...], code: int, *parts: str, cwd: Path | None = None) -> None:
    got, out, err = rig("run", *words, cwd=cwd)
    assert got == code, (got, err[-1500:])
    assert "Traceback" not in err and "internal error" not in err + out
    for part in parts:
        assert part in err + out, (part, err[-1500:])


def test_not_wasm(tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_text("hello")
    _fails((tmp_path / "a.wasm",), 2, "a.wasm")


def test_a_file_that_is_not_there() -> None:
    _fails(("nowhere.wasm",), 2, "nowhere.wasm does not exist")


def test_a_core_module_beside_components(tmp_path: Path, demo: Path) -> None:
    core = tmp_path / "core.wasm"
    core.write_bytes(b"\0asm\1\0\0\0")
    _fails((core, demo / "sensor.wasm"), 2, "core.wasm")


def test_an_import_nobody_provides_is_named_with_the_line_to_add(demo: Path) -> None:
    _fails((demo / "controller.wasm",), 2, "rig:scalar/", "imports")


def test_unknown_board_names_the_near_ones() -> None:
    _fails(("scalar", "--board", "mps2-an368"), 2, "mps2-an386")


def test_unknown_model_strategy_family_target() -> None:
    _fails(("scalar", "--model", "mutli"), 2, "mutli", "multi")
    _fails(("scalar", "--strategy", "swich"), 2, "swich", "switch")
    _fails(("scalar", "--family", "Z-99"), 2, "Z-99")
    _fails(("scalar", "--board", "renode:m4"), 2, "renode")
    _fails(("scalar", "-j", "0"), 2, "-j 0")


def test_all_errors_of_a_subject_file_at_once(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(
        'schema = 1\nname = 7\nmodles = ["multi"]\n[[components]]\nfile = "x.wasm"\nintrude = 1\n'
    )
    _fails((tmp_path / "s.toml",), 2, "name", "modles", "intrude")


def test_truncated_and_bit_flipped_components(tmp_path: Path, demo: Path) -> None:
    data = (demo / "sensor.wasm").read_bytes()
    cut = tmp_path / "cut.wasm"
    cut.write_bytes(data[: len(data) // 2])
    _fails((cut,), 2, "cut.wasm")


@pytest.mark.parametrize("name", ["<script>alert(1)<", "..", "a\nb"])
def test_hostile_file_names_stay_text_and_out_of_paths(
    tmp_path: Path, demo: Path, name: str, run: Callable[..., Ran]
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for part in ("sensor", "actuator", "intruder"):
        (folder / f"{name}{part}.wasm").write_bytes((demo / f"{part}.wasm").read_bytes())
    files = sorted(folder.iterdir())
    done = run(*files, "--quick", "--model", "multi", "--board", "mps2-an386", "--family", "D-02")
    assert done.code == 0, done.err[-1500:]
    assert "\x1b" not in done.err


def test_one_component_has_nothing_to_attack_but_controls(demo: Path, run: Callable[..., Ran]) -> None:
    done = run(demo / "sensor.wasm", "--board", "mps2-an386", "--model", "multi", "--strategy", "switch")
    assert done.code == 0, done.err[-1500:]
    assert done.json["totals"]["FAIL"] == 0 and done.json["totals"]["PASS"] > 0


def test_forty_components_are_run_or_refused_with_arithmetic(
    tmp_path: Path, demo: Path, run: Callable[..., Ran]
) -> None:
    files = []
    for i in range(40):
        files.append(tmp_path / f"c{i:02}.wasm")
        files[-1].write_bytes((demo / "sensor.wasm").read_bytes())
    done = run(*files, "--board", "mps2-an386", "--model", "multi", "--quick", "--family", "D-02")
    answer = done.answers()["mps2-an386", "multi"]
    assert done.code == 0, done.err[-1500:]
    assert answer["PASS"] > 0 or any(char.isdigit() for char in answer["answer"])


def test_duplicate_component_names(tmp_path: Path, demo: Path) -> None:
    twin = tmp_path / "sensor.wasm"
    twin.write_bytes((demo / "sensor.wasm").read_bytes())
    _fails((demo / "sensor.wasm", twin), 2, "would both be called")


def test_an_attestation_that_lies_is_refused(tmp_path: Path, demo: Path) -> None:
    from rig.build.fuse import fuse
    from rig.build.load_subject import load_subject
    from rig.image.model import Model

    subject = load_subject(["scalar"])
    fused = fuse(subject.read_components(), Model.MULTI, tmp_path)
    honest = tmp_path / "honest.wasm"
    honest.write_bytes(fused.data)
    lying = tmp_path / "lying.wasm"
    lying.write_bytes(fused.data.replace(b'"memory_strategy":"multi"', b'"memory_strategy":"munti"'))
    _fails((lying,), 2, "lying")
    flipped = bytearray(fused.data)
    flipped[len(flipped) // 3] ^= 4
    broken = tmp_path / "broken.wasm"
    broken.write_bytes(bytes(flipped))
    _fails((broken,), 2, "broken")


def test_a_fused_module_alone_says_what_cannot_be_compared(tmp_path: Path, run: Callable[..., Ran]) -> None:
    from rig.build.fuse import fuse
    from rig.build.load_subject import load_subject
    from rig.image.model import Model

    fused = fuse(load_subject(["scalar"]).read_components(), Model.MULTI, tmp_path)
    path = tmp_path / "only.wasm"
    path.write_bytes(fused.data)
    done = run(path, "--board", "mps2-an386", "--quick")
    assert done.code == 0, done.err[-1500:]
    answer = done.answers()["mps2-an386", "multi"]["answer"]
    assert answer.startswith("isolated") and "calls not compared" in answer


def test_a_memory_that_does_not_fit_the_part_is_refused_with_arithmetic(run: Callable[..., Ran]) -> None:
    done = run("scalar", "--board", "stm32g474", "--model", "multi")
    assert done.code == 0
    assert "98304" in done.answers()["stm32g474", "multi"]["answer"]


def test_json_is_one_object_even_when_a_job_fails(tmp_path: Path, demo: Path) -> None:
    code, out, _ = rig("catalogue", "--json")
    assert code == 0 and len(json.loads(out)["families"]) == 149


def test_a_program_that_does_not_exist_is_not_green() -> None:
    asked = ("scalar", "--board", "mps2-an386", "--model", "domains", "--strategy", "switch")
    _fails((*asked, "--only", "D-02/store32/nobody>nowhere/x"), 2, "no such program")


def test_a_family_that_is_not_built_is_not_green() -> None:
    _fails(("scalar", "--family", "S-02"), 2, "S-02", "not built yet")
