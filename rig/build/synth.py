# SPDX-License-Identifier: Apache-2.0
"""The first lowering: synth. Run for real, believed only after a look at what it left behind.

Traps of synth 0.89 that this file is about (toolchain reference 3.1, 4.1): a refused compile leaves an older object in
place; progress goes to stdout; `--allow-skipped-exports` would leave functions out silently, so it is never given.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rig.boards.model import Arch, Board
from rig.build import elfobj
from rig.build.closure import close, unprivileged
from rig.build.components import read_bounded
from rig.build.gated import Gated
from rig.build.interpose import check, extents, interpose, read, text_section
from rig.build.words import printable, said
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.host import tools
from rig.image.model import Image
from rig.plan.model import Lowering

_SECONDS = 120.0
_ABI = ("--relocatable", "--embedder-data-init", "--embedder-global-init", "--all-exports")
_BOUNDS: Mapping[Lowering, str] = {
    Lowering.SYNTH: "none",
    Lowering.SYNTH_MASK: "mask",
    Lowering.SYNTH_SOFTWARE: "software",
}
# Cores that run the code synth makes for another one (M33: the M4 object, toolchain reference 3.1).
_TARGETS: Mapping[str, tuple[str, str]] = {  # core → without, with a (single-precision) FPU
    "cortex-m3": ("cortex-m3", "cortex-m3"),
    "cortex-m4": ("cortex-m4", "cortex-m4f"),
    "cortex-m7": ("cortex-m4", "cortex-m7"),
    "cortex-m33": ("cortex-m4", "cortex-m4f"),
    "cortex-m55": ("cortex-m4", "cortex-m55"),
}


def target(board: Board) -> tuple[str, ...] | None:
    """Backend and target options for a board; None where synth has no code for its core."""
    if board.arch is Arch.RV32:
        known = board.core in ("rv32imac", "rv32imc", "rv32im", "rv32i", "rv32gc")
        return ("-b", "riscv", "-t", board.core) if known else None
    if board.core not in _TARGETS:
        return None
    if board.core == "cortex-m7" and board.fpu == "fpv5-d16":
        return "-t", "cortex-m7dp"
    return "-t", _TARGETS[board.core][board.fpu is not None]


def lower(image: Image, board: Board, lowering: Lowering, folder: Path) -> tuple[Path, Gated]:
    """Compile `image` with synth in `folder` and interpose its seams: the closed component object, and how it is gated.

    Raises Refusal, in synth's own words, where it cannot lower the module.
    """
    words = target(board)
    if words is None:
        raise Refusal(f"synth has no code for {board.core}")
    module, made = folder / "fused.wasm", folder / "synth.o"
    module.write_bytes(image.wasm)
    made.unlink(missing_ok=True)  # a refusal would leave an old one in place
    args = ["compile", module.name, "-o", made.name, *words, *_ABI, "--safety-bounds", _BOUNDS[lowering]]
    done = tools.run(
        tools.find("synth"), args, cwd=folder, timeout=_SECONDS, env={"RUST_BACKTRACE": "0", "NO_COLOR": "1"}
    )
    if not done.ok:
        raise Refusal("synth refuses the module", refusal(done.err))
    if not made.is_file():
        raise InfrastructureError(f"synth ended well and left no object: {done.command}")
    try:
        return finish(read_bounded(made, elfobj.LIMIT), image, board, folder, "synth's object")
    except UsageError as error:  # not the user's fault: another lowering may do better
        raise Refusal("synth's object is not what the module says", str(error)) from error


def finish(data: bytes, image: Image, board: Board, folder: Path, what: str) -> tuple[Path, Gated]:
    """Check a synth object against the module, gate its seams, judge the result, and close it.

    Raises Refusal, or UsageError where the object (which may be the user's) is not one of this module.
    """
    _covers(data, image, board.arch, what)
    _regions(data, image, board.arch, what)
    changed = interpose(data, image, board.arch, what)
    gated = check(changed, image, board.arch, what)
    out = folder / "component.o"
    obj = elfobj.parse(changed, what)
    needs = {s.name for s in obj.symbols if s.undefined and not s.name.startswith("rig_")}
    if needs:
        raw = folder / "interposed.o"
        raw.write_bytes(changed)
        close(board, [raw], [f"rig_fn_{n}" for n in gated.functions], out)
    else:
        out.write_bytes(elfobj.emit(unprivileged(obj)))
    return out, gated


def bounds(given: Path) -> Lowering:
    """How the user's object checks its accesses: synth writes a safety manifest beside it unless the answer is "none".

    Raises UsageError for a manifest that cannot be read or names bounds nobody knows.
    """
    beside = given.with_name(f"{given.stem}.safety-manifest.json")
    if not beside.is_file():
        return Lowering.SYNTH
    try:
        said_ = json.loads(read_bounded(beside, 1 << 16))["safety_bounds"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{printable(beside)} is no safety manifest of synth: remove it or lower again") from error
    for lowering, word in {**_BOUNDS, Lowering.SYNTH: "mpu"}.items():  # "mpu" is the code of "none"
        if said_ == word:
            return lowering
    raise UsageError(f"{printable(beside)} names bounds {printable(repr(said_))}, which the rig does not know")


def refusal(stderr: str) -> str:
    """Why synth refused, in its own words: each reason once, without the functions it was said of and the advice."""
    text = said(stderr, lines=200)
    reasons: dict[str, list[str]] = {}
    rest: list[str] = []
    for line in text.splitlines():
        skipped = re.fullmatch(r"\s*warning: skipping function '(.*?)': (?:backend '\w+' failed: )?(.*)", line)
        if skipped:
            reasons.setdefault(skipped[2].removeprefix("compilation failed: "), []).append(skipped[1])
        elif line.strip().startswith("Error:") and not reasons:
            rest.append(line.strip().removeprefix("Error: "))
    lines = [f"{reason} (in {_some(names)})" for reason, names in reasons.items()]
    return printable("; ".join([*lines, *rest] or [said(stderr, 4).strip() or "it gave no reason"]), 600)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name, 60) for name in names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def needed(image: Image) -> set[int]:
    """Functions that the image cannot do without: exports, table entries, both ends of every seam."""
    wanted = set(image.exports.values()) | {f for element in image.elements for f in element.functions}
    wanted |= {seam.target for seam in image.seams}
    return {n for n in wanted if not image.functions[n].imported}


def _covers(data: bytes, image: Image, arch: Arch, what: str) -> None:
    obj = read(data, arch, what)
    there = extents(obj, text_section(obj, what), image, arch, what)
    missing = sorted(needed(image) - set(there))
    if missing:
        names = _some([image.functions[n].name for n in missing])
        raise UsageError(f"{what}: lacks {len(missing)} function(s) of the module ({names}): lower it again, whole")


def _regions(data: bytes, image: Image, arch: Arch, what: str) -> None:
    """The region table and the initial globals that synth wrote must be those of the wasm."""
    obj = read(data, arch, what)
    values = {s.name: s.value for s in obj.symbols if s.section == elfobj.SHN_ABS}
    wrong = []
    if "__synth_mem_count" in values:
        if values["__synth_mem_count"] != len(image.memories):
            wrong.append(f"{values['__synth_mem_count']} memories instead of {len(image.memories)}")
        for memory in image.memories:
            size, region = (values.get(f"__synth_mem_{word}_{memory.index}") for word in ("size", "region"))
            least = 1 << max(5, (memory.size - 1).bit_length() if memory.size else 0)
            if (size, region) != (memory.size, least):
                is_, should = f"size {size}, region {region}", f"{memory.size}, {least}"
                wrong.append(f"memory {memory.index} with {is_} instead of {should}")
    elif arch is Arch.V7M and len(image.memories) > 1:
        wrong.append("no region table")
    if arch is Arch.RV32:
        wrong += _initial(obj, image)
    if wrong:
        raise UsageError(f"{what}: does not belong to this module: {'; '.join(wrong)}; lower it again")


def _initial(obj: elfobj.Object, image: Image) -> list[str]:
    expected = b"".join(g.init.to_bytes(8 if g.type in ("i64", "f64") else 4, "little") for g in image.globals)
    for symbol in obj.symbols:
        if symbol.name == "__synth_globals" and isinstance(symbol.section, elfobj.Section):
            found = symbol.section.data[symbol.value : symbol.value + symbol.size]
            return [] if found == expected else [f"globals start as {found.hex()} instead of {expected.hex()}"]
    return []
