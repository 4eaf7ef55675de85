# SPDX-License-Identifier: Apache-2.0
"""The linked image: everything where the contracts say, judged in the ELF, with a record of how it came to be."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import pytest
from lower_samples import TWO, TWO_OWNERS, image_of

from rig.boards.load import load_board
from rig.boards.model import Board
from rig.build import embedder
from rig.build import link as module
from rig.build.agent import compile_agent
from rig.build.cc import compile_c
from rig.build.imagec import gates_s, image_c
from rig.build.link import Linked, link
from rig.build.linkage import inspect
from rig.build.lower import Lowered, lower
from rig.build.script import linker_script
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.image.model import Image, Segment
from rig.plan.globals import instance
from rig.plan.model import Lowering
from rig.plan.place import place

CASES = [("mps2-an386", "synth"), ("mps2-an386", "wasm2c"), ("virt-rv32", "wasm2c")]


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    made = {}
    for name in {board for board, _ in CASES}:
        folder = tmp_path_factory.mktemp(name)
        made[name] = compile_agent(load_board(name), folder)
    return made


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def case(
    request: pytest.FixtureRequest, tmp_path: Path, agents: dict[str, list[Path]]
) -> tuple[Image, Board, Lowered, Linked]:
    name, wanted = request.param
    image, board = image_of(tmp_path, TWO, TWO_OWNERS), load_board(name)
    lowered = lower(image, board, wanted=wanted)
    return image, board, lowered, link(image, board, place(image, board, lowered.lowering), lowered, agents[name])


def test_the_contracts_of_the_elf(case: tuple[Image, Board, Lowered, Linked]) -> None:
    image, board, lowered, linked = case
    assert board.roles is not None
    symbols, placement = linked.symbols, place(image, board, lowered.lowering)
    assert (symbols["__unpriv_start"], symbols["__unpriv_end"]) == placement.code
    assert symbols["__agent_text_start"] == board.roles.agent_text[0]
    assert symbols["__agent_ram_start"] == board.roles.agent_ram[0] and symbols["__agent_ram_end"] % 16 == 0
    for name, value in placement.symbols:
        assert symbols[name] == value
    low, high = placement.code
    thumb = board.arch.value == "v7m"
    for n in range(8):
        assert low <= symbols[f"rig_fn_{n}"] < high and symbols[f"rig_fn_{n}"] % 2 == thumb
    for seam in image.seams:
        assert low <= symbols[f"rig_gate_{seam.index}"] < high
    assert {"rig_return", "rig_image_reset", "rig_build_id", "rig_stub_load32"} <= symbols.keys()
    assert ("rig_image_instances" in symbols) == (lowered.lowering is Lowering.WASM2C)
    if lowered.lowering is Lowering.WASM2C:
        offsets = [symbols[f"rig_global_offset_{i}"] for i in range(len(image.globals))]
        assert offsets == list(instance(image).globals)


def test_no_byte_of_component_code_lies_outside_the_unprivileged_range(
    case: tuple[Image, Board, Lowered, Linked],
) -> None:
    linked = case[3]
    low, high = linked.symbols["__unpriv_start"], linked.symbols["__unpriv_end"]
    row = r"^\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s+component\.o:\((\S+)\)"
    rows = re.findall(row, linked.map.read_text(), re.M)
    placed = [(int(at, 16), int(size, 16), name) for at, size, name in rows if not name.endswith(".attributes")]
    assert len(placed) >= 1 and all(low <= at and at + size <= high for at, size, _ in placed)
    assert all(name.startswith(".unpriv.") for _, _, name in placed)


def test_the_record_names_every_input_and_seam(case: tuple[Image, Board, Lowered, Linked]) -> None:
    image, board, lowered, linked = case
    record = json.loads(linked.record.read_text())
    assert record["elf"] == linked.sha256 == hashlib.sha256(linked.path.read_bytes()).hexdigest()
    assert record["inputs"]["fused.wasm"] == image.sha256
    assert record["inputs"]["component.o"] == lowered.sha256
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in record["inputs"].values())
    assert len(record["seams"]) == len(image.seams) and all(seam["sites"] for seam in record["seams"])
    assert (record["board"], record["lowering"]) == (board.name, lowered.lowering.value)
    assert {"zig", "wasm2c", "synth"} <= record["tools"].keys()
    data = linked.path.read_bytes()
    where = linked.symbols["rig_build_id"]
    section = next(s for s in inspect(data).sections if s.start <= where < s.end)
    assert section.data[where - section.start :][:20].hex() == linked.build_id == record["build_id"]


def test_a_warm_build_takes_no_time_and_another_input_another_id(
    tmp_path: Path, agents: dict[str, list[Path]], case: tuple[Image, Board, Lowered, Linked]
) -> None:
    image, board, lowered, linked = case
    began = time.perf_counter()
    again = lower(image, board, wanted=lowered.lowering.value)
    placement = place(image, board, again.lowering)
    assert link(image, board, placement, again, agents[board.name]) == linked
    assert time.perf_counter() - began < 0.3
    other = replace(image, segments=(Segment(0, 1024, b"XXXX"), *image.segments[1:]))
    assert link(other, board, placement, lowered, agents[board.name]).build_id != linked.build_id


def test_verify_embedder_decodes_what_is_there(case: tuple[Image, Board, Lowered, Linked]) -> None:
    lowered, linked = case[2], case[3]
    said = json.loads(linked.record.read_text())["verify_embedder"]
    if lowered.lowering is Lowering.SYNTH:
        assert said["verdict"] == "ok" and said["instructions"] == said["expected"] > 500
    else:
        assert said["verdict"] == "n/a"
    assert linked.findings == ()


def test_verify_embedder_that_decoded_nothing_is_not_believed(
    tmp_path: Path, agents: dict[str, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without mapping symbols the code would be taken for data, and the answer would be OK all the same."""
    board = load_board("mps2-an386")
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    lowered = lower(image, board, wanted="synth")
    data = link(image, board, place(image, board, lowered.lowering), lowered, agents[board.name]).path.read_bytes()
    assert embedder.verify_embedder(data).verdict == "ok"
    listing = embedder.listing
    monkeypatch.setattr(embedder, "listing", lambda linkage: listing(replace(linkage, marks={})))
    check = embedder.verify_embedder(data)
    assert (check.verdict == "refused" and "0 instructions" in check.words) or "REFUSED" in check.words
    assert embedder.findings(check)[0].id == "embedder"


def test_verify_embedder_sees_a_write_to_a_base_register(tmp_path: Path, agents: dict[str, list[Path]]) -> None:
    """synth's own 64-bit division uses R9 to R11 (saved and restored): it is named, not hidden."""
    body = "(param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1))"
    text = f'(module (memory 1) (func (export "f") {body}))'
    board, image = load_board("mps2-an386"), image_of(tmp_path, text, "a")
    lowered = lower(image, board, wanted="synth")
    linked = link(image, board, place(image, board, lowered.lowering), lowered, agents[board.name])
    assert [finding.id for finding in linked.findings] == ["embedder"] * 2
    assert "rig_fn_0 at 0x" in linked.findings[0].what and "r9" in linked.findings[0].what


@pytest.mark.parametrize(
    ("out", "err", "code", "verdict"),
    [
        ("OK — 0 reserved-register writes in 12 instructions", "", 0, "ok"),
        ("OK — 0 reserved-register writes in 3 instructions", "", 0, "refused"),
        ("", "Error: no ARM-capable objdump found", 1, "refused"),
        ("", "  <rig_fn_1> 44: `mov r9, r1` — writes a reserved register [r9]", 1, "violated"),
        ("fine", "", 0, "refused"),
    ],
)
def test_words_of_verify_embedder(out: str, err: str, code: int, verdict: str) -> None:
    assert embedder.judge(code, out, err, 12).verdict == verdict
    assert embedder.judge(0, "OK — 0 reserved-register writes in 0 instructions", "", 0).verdict == "refused"


HEAD = '#pragma clang section text = ".agent.text" rodata = ".agent.rodata" data = ".agent.data" bss = ".agent.bss"\n'
VECTORS = """void rig_image_reset(void);
__attribute__((section(".agent.vectors"), used)) {const}void *{const2}v[1] = {{ (void *)rig_image_reset }};
"""


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (VECTORS.format(const="", const2=""), InfrastructureError, "outside"),
        (VECTORS.format(const="const ", const2="const ") + "int state = 5;\nint *p(void) { return &state; }\n",
         InfrastructureError, "initialised data"),
        (VECTORS.format(const="const ", const2="const ") + "char big[300 * 1024];\nchar *p(void) { return big; }\n",
         Refusal, "does not fit"),
        (VECTORS.format(const="const ", const2="const ") + "void nobody(void);\nvoid f(void) { nobody(); }\n",
         InfrastructureError, "nobody"),
        (VECTORS.format(const="const ", const2="const ") + "void rig_fn_2(void) {}\n", InfrastructureError, "rig_fn_2"),
        (VECTORS.format(const="const ", const2="const ") + "void rig_stub_x(void) {}\n",
         InfrastructureError, "rig_stub_x lies at"),
    ],
)  # fmt: skip
def test_an_agent_that_breaks_the_contracts_is_refused(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    board = load_board("mps2-an386")
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    lowered = lower(image, board, wanted="synth")
    (tmp_path / "bad.c").write_text(HEAD + text)
    compile_c(board, tmp_path / "bad.c", tmp_path / "bad.o", ["-O1", "-g0"])
    with pytest.raises(error, match=words):
        link(image, board, place(image, board, lowered.lowering), lowered, [tmp_path / "bad.o"])


def test_what_does_not_belong_together_is_refused(tmp_path: Path, agents: dict[str, list[Path]]) -> None:
    board = load_board("mps2-an386")
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    lowered = lower(image, board, wanted="wasm2c")
    with pytest.raises(InfrastructureError, match="placed for synth, lowered by wasm2c"):
        link(image, board, place(image, board, Lowering.SYNTH), lowered, agents[board.name])
    placement = place(image, board, Lowering.WASM2C)
    with pytest.raises(Refusal, match="an instance and its tables take 40 bytes, 8 are kept"):
        link(image, board, replace(placement, reserve=8), lowered, agents[board.name])
    with pytest.raises(InfrastructureError, match="no object of the agent"):
        link(image, board, placement, lowered, [])
    with pytest.raises(Refusal, match="no runtime map"):
        link(image, replace(board, roles=None), placement, lowered, agents[board.name])
    with pytest.raises(Refusal, match="does not fit"):
        tight = replace(placement, code=(placement.code[0], placement.code[0] + 256))
        link(image, board, tight, lowered, agents[board.name])


def test_data_segments_are_bounded_and_inside_their_memory(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    text = image_c(image, Lowering.SYNTH, bytes(20))
    assert "{rig_mem_0 + 0x400u, segment_0, sizeof segment_0}" in text and "rig_instance_init" not in text
    outside = replace(image, segments=(Segment(1, 65534, b"abc"),))
    with pytest.raises(UsageError, match="data segment 0 ends at 65537 of a memory of 65536 bytes"):
        image_c(outside, Lowering.SYNTH, bytes(20))
    big = replace(image, segments=(Segment(0, 0, bytes(65536)),) * 17)
    with pytest.raises(Refusal, match="1114112 bytes of data segments"):
        image_c(big, Lowering.SYNTH, bytes(20))
    empty = replace(image, segments=())
    assert "segments[" not in image_c(empty, Lowering.SYNTH, bytes(20))


def test_gates_follow_the_calling_convention(tmp_path: Path) -> None:
    image = image_of(tmp_path, TWO, TWO_OWNERS)
    arm, rv32 = (gates_s(image, load_board(name)) for name in ("mps2-an386", "virt-rv32"))
    assert "rig_gate_3:\nmovw r12, #3\nsvc #1\nbx lr\n" in arm
    assert "rig_gate_3:\nli t0, 1\nli t1, 3\necall\nret\n" in rv32
    assert arm.count(".globl") == rv32.count(".globl") == len(image.seams)


def test_a_symbol_that_is_none_never_reaches_the_script(tmp_path: Path) -> None:
    board, image = load_board("mps2-an386"), image_of(tmp_path, TWO, TWO_OWNERS)
    placement = place(image, board, Lowering.SYNTH)
    assert board.roles is not None
    with pytest.raises(AssertionError):
        linker_script(board.roles, replace(placement, symbols=(("x; } /*", 1),)))
    assert module.ELF == "image.elf"
