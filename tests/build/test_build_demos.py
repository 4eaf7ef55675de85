# SPDX-License-Identifier: Apache-2.0
"""The demo images: built from source, fused by meld in their models, lowered by synth where they promise it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from rig.build import components
from rig.build.fuse import FusedFile, fuse
from rig.build.load_subject import load_subject
from rig.host import tools
from rig.image.component import Component
from rig.image.model import Model

WIDE = re.compile(r"\b(?:i64|f32|f64)\.(?:load|store)\S*")
BULK = re.compile(r"\b(?:memory\.(?:copy|fill|init)|call_indirect)\b")
PLAIN = re.compile(r"local\.get 0 (?:local\.get 1 )?(?:i32|i64|f32|f64)\.(?:load|store)\w*(?: \d+)?(?: offset=\d+)?")


@cache
def demo(name: str) -> tuple[Component, ...]:
    subject = load_subject([name])
    return tuple(
        components.read_component(file.path, name=file.name, intruder=file.intruder) for file in subject.components
    )


@pytest.fixture(scope="session")
def fused(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, Model], FusedFile]:
    made = {}
    for name in components.demos():
        subject = load_subject([name])
        for model in (*subject.models, Model.STACK):
            folder = tmp_path_factory.mktemp(f"{name}-{model}")
            made[name, model] = fuse(demo(name), model, folder, domains=subject.domains)
    return made


def text(file: FusedFile) -> str:
    done = tools.run(tools.find("wasm-tools"), ["print", file.path], timeout=60)
    assert done.ok, done.err
    return done.out


def test_there_are_three_and_each_has_one_intruder() -> None:
    assert components.demos() == ("lists", "scalar", "wide")
    for name in components.demos():
        assert [component.name for component in demo(name) if component.intruder] in (["intruder"], ["intruder64"])


def test_building_into_a_folder_gives_its_components_and_its_subject(tmp_path: Path) -> None:
    made = components.build_demo("scalar", tmp_path / "out")
    assert [path.name for path in made] == ["actuator.wasm", "controller.wasm", "intruder.wasm", "sensor.wasm"]
    assert load_subject([tmp_path / "out" / "subject.toml"]).name == "scalar"


def test_the_same_sources_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = {path.name: path.read_bytes() for path in components.build_demo("lists", tmp_path / "a")}
    monkeypatch.setenv("RIG_CACHE", str(tmp_path / "another"))
    there = {path.name: path.read_bytes() for path in components.build_demo("lists", tmp_path / "b")}
    assert here == there


@pytest.mark.parametrize("name", components.demos())
def test_every_demo_fuses_in_all_its_models(name: str, fused: dict[tuple[str, Model], FusedFile]) -> None:
    assert {model for demo, model in fused if demo == name} >= {Model.PAGE, Model.MULTI, Model.DOMAINS}


@pytest.mark.parametrize("name", components.demos())
def test_the_intruders_tools_keep_their_plain_shape_after_fusion(
    name: str, fused: dict[tuple[str, Model], FusedFile]
) -> None:
    wanted = [f for c in demo(name) if c.intruder for f in c.exports if f.name.startswith(("load", "store"))]
    assert len(wanted) >= 10
    for (image, _), file in fused.items():
        if image == name:
            functions = re.findall(r"\(func \(;\d+;\)[^\n]*\n(.*?)\n  \)", text(file), re.S)
            bodies = [" ".join(body.split()) for body in functions]
            assert len([body for body in bodies if PLAIN.fullmatch(body)]) == len(wanted)


def test_scalar_has_only_32_bit_data_and_neither_bulk_nor_indirect_calls(
    fused: dict[tuple[str, Model], FusedFile],
) -> None:
    for (name, model), file in fused.items():
        if name == "scalar":
            assert WIDE.findall(text(file)) == [] and BULK.findall(text(file)) == [], model


def test_the_check_above_can_fail(fused: dict[tuple[str, Model], FusedFile]) -> None:
    assert WIDE.findall(text(fused["wide", Model.MULTI]))
    assert {"memory.copy", "call_indirect"} <= set(BULK.findall(text(fused["lists", Model.MULTI])))


def synth(file: FusedFile, out: Path, *flags: str) -> str | None:
    """None where synth made an object, else what it said."""
    out.unlink(missing_ok=True)
    done = tools.run(tools.find("synth"), ["compile", file.path, "-o", out, *flags], timeout=60)
    return None if done.ok and out.is_file() else done.out + done.err


ARM = ("-t", "cortex-m4", "--relocatable", "--embedder-data-init", "--embedder-global-init")
RV32 = ("-b", "riscv", "-t", "rv32imac", "--relocatable", "--safety-bounds", "mask")


@pytest.mark.parametrize("name", ["scalar", "lists"])
def test_synth_lowers_the_image_for_arm_in_every_model(
    name: str, tmp_path: Path, fused: dict[tuple[str, Model], FusedFile]
) -> None:
    for (image, model), file in fused.items():
        if image == name:
            assert synth(file, tmp_path / "out.o", *ARM) is None, model


@pytest.mark.parametrize("model", [Model.PAGE, Model.PACKED, Model.STACK])
def test_synth_lowers_scalar_for_rv32_in_model_1_with_mask(
    model: Model, tmp_path: Path, fused: dict[tuple[str, Model], FusedFile]
) -> None:
    assert synth(fused["scalar", model], tmp_path / "out.o", *RV32) is None


def test_synth_refuses_wide_so_that_it_goes_through_wasm2c(
    tmp_path: Path, fused: dict[tuple[str, Model], FusedFile]
) -> None:
    for model in load_subject(["wide"]).models:
        assert synth(fused["wide", model], tmp_path / "out.o", *ARM) is not None


def test_lists_shows_f12_an_unrebased_load_behind_the_indirect_call(
    fused: dict[tuple[str, Model], FusedFile],
) -> None:
    for model, rebased in ((Model.PAGE, False), (Model.MULTI, True)):
        module = text(fused["lists", model])
        behind = re.search(r"call_indirect \(type 0\)\s+i32\.add\s+i32\.const 0\s+i32\.load offset=(\d+)", module)
        assert behind is not None
        # dispatch is the third component: in one shared memory its data lie from 2 · 64 KiB on.
        assert int(behind[1]) < 0x10000
        assert ("offset=132096" in module) is not rebased
