# SPDX-License-Identifier: Apache-2.0
"""Agent, component code and generated parts → one ELF, judged after the link. Kept by content.

Beside the ELF lies `image.json`: the hash of every input, every seam and how it was gated, tools, lowering and why.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rig.boards.model import Board, Roles
from rig.build import hosts
from rig.build.cache import cached, digest
from rig.build.cc import compile_c, runtime_library, zig
from rig.build.embedder import findings, verify_embedder
from rig.build.imagec import gates_s, image_c
from rig.build.linkage import Linkage, inspect
from rig.build.lower import Lowered, finding, image_key, own_code
from rig.build.script import linker_script
from rig.build.words import printable
from rig.errors import InfrastructureError, Refusal
from rig.host import tools
from rig.image.model import Finding, Image
from rig.plan.globals import instance
from rig.plan.model import Lowering, Placement

ELF, MAP, RECORD, _FACTS = "image.elf", "image.map", "image.json", "linkage.json"
_UNPRIVILEGED = re.compile(r"rig_(fn|gate|host|stub|pc|type)_|rig_return$|rig_instance_init$")
_CFLAGS = (
    "-std=gnu11", "-O2", "-ffreestanding", "-fno-builtin", "-fno-sanitize=all", "-fno-pic", "-g0", "-Wall", "-Werror",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fno-stack-protector",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Linked:
    """A linked image. `symbols`: name → address (Thumb bit set on functions), all defined global symbols."""

    path: Path
    sha256: str
    build_id: str  # 20 bytes, hex; the agent says the same in HELLO
    symbols: Mapping[str, int]
    map: Path
    record: Path
    type_ids: bytes = field(default=b"", repr=False)  # synth's ids of the table entries; b"" without
    findings: tuple[Finding, ...] = ()  # what `synth verify-embedder` said against it


def link(image: Image, board: Board, placement: Placement, lowered: Lowered, agent: Sequence[Path]) -> Linked:
    """Link `image` for `board`. `agent`: the runtime's objects (`rig.build.agent`).

    Raises Refusal where the code or its instances do not fit the placement, InfrastructureError where the linker fails
    or its result is not what the contracts say.
    """
    if board.roles is None:
        raise Refusal("no runtime map", f"board {board.name} is described for planning only")
    _fits(image, placement, lowered)
    inputs = _inputs(lowered, agent)
    versions = {name: tools.find(name).version for name in ("zig",)} | dict(lowered.tools)
    blank, gates = image_c(image, lowered.lowering, bytes(20)), gates_s(image, board)
    key = digest(
        own_code(), image_key(image), image.name, blank, gates, repr(board), repr(placement),
        json.dumps(versions, sort_keys=True), *(part for name, data in inputs.items() for part in (name, data)),
        repr(lowered.gated), repr(lowered.why_not),
    )  # fmt: skip

    def make(folder: Path) -> None:
        _make(image, board, placement, lowered, inputs, versions, folder)

    return _load(cached("elf", key, make))


def _fits(image: Image, placement: Placement, lowered: Lowered) -> None:
    if placement.lowering is not lowered.lowering:
        raise InfrastructureError(f"placed for {placement.lowering}, lowered by {lowered.lowering}: place it again")
    if lowered.lowering is Lowering.WASM2C and instance(image).total > placement.reserve:
        needs = f"an instance and its tables take {instance(image).total} bytes, {placement.reserve} are kept for them"
        raise Refusal("does not fit", needs)


def _inputs(lowered: Lowered, agent: Sequence[Path]) -> dict[str, bytes]:
    """Objects by a name of ours, in link order."""
    found = {f"agent_{k:02}_{re.sub(r'[^A-Za-z0-9]', '_', p.stem)}.o": p.read_bytes() for k, p in enumerate(agent)}
    found["component.o"] = lowered.object.read_bytes()
    host = lowered.object.with_name(hosts.OBJECT)
    if host.is_file():
        found[hosts.OBJECT] = host.read_bytes()
    return found


def _make(
    image: Image,
    board: Board,
    placement: Placement,
    lowered: Lowered,
    inputs: Mapping[str, bytes],
    versions: Mapping[str, str],
    folder: Path,
) -> None:
    roles = board.roles
    assert roles is not None
    for name, data in inputs.items():
        (folder / name).write_bytes(data)
    offsets = instance(image).globals if lowered.lowering is Lowering.WASM2C else ()
    script = linker_script(roles, placement, ((f"rig_global_offset_{i}", at) for i, at in enumerate(offsets)))
    gates = gates_s(image, board)
    blank = image_c(image, lowered.lowering, bytes(20))
    build_id = bytes.fromhex(digest(script, gates, blank, *(p for item in inputs.items() for p in item)))[:20]
    (folder / "image.ld").write_text(script)
    (folder / "gates.S").write_text(gates)
    (folder / "image.c").write_text(image_c(image, lowered.lowering, build_id))
    compile_c(board, folder / "image.c", folder / "image.o", _CFLAGS)
    compile_c(board, folder / "gates.S", folder / "gates.o", ())
    _check_agent(inputs)
    args: list[str | Path] = [
        "ld.lld", "-n", "-e", hex(roles.agent_text[0]), "-T", "image.ld", "--gc-sections", "--no-rosegment",
        "--orphan-handling=error", "--fatal-warnings", "--no-relax",
        "--strip-debug", f"--build-id=0x{build_id.hex()}", "-Map", MAP,
        *inputs, "image.o", "gates.o", runtime_library(board), "-o", ELF,
    ]  # fmt: skip
    try:
        zig(args, folder)
    except InfrastructureError as error:
        if "does not fit" in str(error):
            raise Refusal("does not fit", str(error)) from error
        raise
    linkage = inspect((folder / ELF).read_bytes())
    _judge(linkage, image, roles, placement, lowered)
    embedder = verify_embedder((folder / ELF).read_bytes(), lowered.lowering)
    found = [asdict(finding) for finding in findings(embedder)]
    facts = {"symbols": linkage.symbols, "type_ids": linkage.type_ids.hex(), "findings": found}
    (folder / _FACTS).write_text(json.dumps(facts))
    record = _record(image, board, lowered, inputs, versions, folder, build_id)
    record["verify_embedder"] = asdict(embedder)
    (folder / RECORD).write_text(json.dumps(record, indent=1))


def _check_agent(inputs: Mapping[str, bytes]) -> None:
    if not any(name.startswith("agent_") for name in inputs):
        raise InfrastructureError("there is no object of the agent to link: this installation is incomplete")


def _judge(linkage: Linkage, image: Image, roles: Roles, placement: Placement, lowered: Lowered) -> None:
    """What the contracts promise of an ELF, seen in it. Raises InfrastructureError with all that is wrong."""
    symbols, wrong = linkage.symbols, []
    if linkage.writable_code:
        wrong.append(f"segments {linkage.writable_code} are writable and executable")
    code, text, ram = placement.code, roles.agent_text, roles.agent_ram
    for section in linkage.sections:
        low, high = code if section.name.startswith(".unpriv.") else ram if section.writable else text
        if not low <= section.start <= section.end <= high:
            wrong.append(f"{section.name} lies at {section.start:#x}, outside [{low:#x}, {high:#x})")
    needed = [f"rig_gate_{seam.index}" for seam in image.seams]
    needed += [f"rig_fn_{n}" for n in {*lowered.gated.functions, *(seam.target for seam in image.seams)}]
    for name in needed:
        if name not in symbols:
            wrong.append(f"{name} is missing")
    for name, address in symbols.items():
        if _UNPRIVILEGED.match(name) and not code[0] <= address < code[1]:
            wrong.append(f"{name} lies at {address:#x}, outside the unprivileged code")
    for name, value in placement.symbols:
        if symbols.get(name) != value:
            wrong.append(f"{name} is {symbols.get(name)} instead of {value:#x}")
    if wrong:
        raise InfrastructureError("the linked image breaks its contract: " + "; ".join(sorted(wrong)[:12]))


def _record(
    image: Image,
    board: Board,
    lowered: Lowered,
    inputs: Mapping[str, bytes],
    versions: Mapping[str, str],
    folder: Path,
    build_id: bytes,
) -> dict[str, object]:
    how = "prototype rewritten" if lowered.lowering is Lowering.WASM2C else "relocation retargeted"

    def seam(index: int) -> dict[str, object]:
        it = image.seams[index]
        sites = lowered.gated.sites.get(index, ())
        return {
            "index": index,
            "label": printable(it.label),
            "caller": image.owners[it.caller].name,
            "callee": image.owners[it.callee].name,
            "target": it.target,
            "gate": f"rig_gate_{index}",
            "how": how if sites else "no call of it in the object",
            "sites": [{"function": n, "offset": at} for n, at in sites],
        }

    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in inputs.items()}
    for name in ("image.c", "gates.S", "image.ld"):
        hashes[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    return {
        "schema": 1,
        "image": image.name,
        "model": image.model.value,
        "board": board.name,
        "elf": hashlib.sha256((folder / ELF).read_bytes()).hexdigest(),
        "build_id": build_id.hex(),
        "lowering": lowered.lowering.value,
        "why_not": list(lowered.why_not),
        "object": "the user's" if lowered.given else "ours",
        "inputs": {"fused.wasm": image.sha256, **hashes},
        "tools": dict(versions),
        "seams": [seam(index) for index in range(len(image.seams))],
        "findings": [asdict(finding) for finding in lowered.findings],
    }


def _load(folder: Path) -> Linked:
    facts = json.loads((folder / _FACTS).read_text())
    record = json.loads((folder / RECORD).read_text())
    return Linked(
        path=folder / ELF,
        sha256=record["elf"],
        build_id=record["build_id"],
        symbols=facts["symbols"],
        map=folder / MAP,
        record=folder / RECORD,
        type_ids=bytes.fromhex(facts["type_ids"]),
        findings=tuple(finding(item) for item in facts["findings"]),
    )
