# SPDX-License-Identifier: Apache-2.0
"""Which lowering an image gets on a board, and the closed component object it yields. Kept by content."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rig.boards.model import Arch, Board, Protection
from rig.build import hosts, synth, wasm2c
from rig.build.cache import cached, digest
from rig.build.cc import runtime_library, target_flags
from rig.build.components import read_bounded
from rig.build.elfobj import LIMIT
from rig.build.gated import Gated
from rig.build.subject import HostImport
from rig.build.words import printable
from rig.errors import Refusal, ToolMissing, UsageError
from rig.host import tools
from rig.image.model import Finding, Image, Model
from rig.plan import tables
from rig.plan.model import Lowering
from rig.resources import data_dir

NO_IMPORTS: Mapping[str, HostImport] = {}
_RECORD = "lowered.json"
_BULK = ("memory.copy", "memory.fill", "memory.init")


@dataclass(frozen=True, slots=True)
class Lowered:
    """An image's code for one board. `object` is closed: it needs only gates, memories and host functions."""

    lowering: Lowering
    why_not: tuple[str, ...]  # why not the lowerings that come before this one, in their own words
    object: Path
    sha256: str
    gated: Gated
    code_size: int  # bytes of `.unpriv.*` in the object, an upper bound for the link
    given: bool  # the object is the user's, not ours
    tools: Mapping[str, str]  # name → version

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self.gated.findings


def choose_lowering(
    image: Image, board: Board, wanted: str | None, have_synth: bool
) -> tuple[Lowering, tuple[str, ...]]:
    """The lowering to try first, and why not the ones before it (from the module alone; `lower` tries for real).

    `wanted`: a Lowering's value, "synth" for whichever of synth's fits, or None. Raises UsageError for another word,
    Refusal where what is wanted cannot be.
    """
    why_not: list[str] = []
    for lowering, reason in candidates(image, board, wanted, have_synth):
        if reason is None:
            return lowering, tuple(why_not)
        why_not.append(f"{lowering.value}: {reason}")
    raise Refusal(f"{wanted} cannot lower this image for {board.name}", "; ".join(why_not))


def candidates(
    image: Image, board: Board, wanted: str | None, have_synth: bool
) -> tuple[tuple[Lowering, str | None], ...]:
    """The lowerings in order of preference, each with the reason why it need not be tried, or None."""
    known = [lowering.value for lowering in Lowering]
    if wanted is not None and wanted not in known:
        raise UsageError(f"there is no lowering {printable(wanted)!r}: there are {', '.join(known)}")
    if wanted == Lowering.WASM2C:
        return ((Lowering.SYNTH, "wasm2c was asked for"), (Lowering.WASM2C, None))
    if wanted not in (None, Lowering.SYNTH):
        order: tuple[Lowering, ...] = (Lowering(str(wanted)),)
    elif board.arch is Arch.V7M:
        order = (Lowering.SYNTH,)
    else:  # without bounds only offsets below 2048 pass, which is a small share-stack image
        order = (Lowering.SYNTH_MASK, Lowering.SYNTH)
        if image.model is Model.STACK:
            order = (Lowering.SYNTH, Lowering.SYNTH_MASK)
    missing = None if have_synth else "synth is not installed"
    found = [(lowering, missing or _obstacle(image, board, lowering)) for lowering in order]
    return (*found, (Lowering.WASM2C, None)) if wanted is None else tuple(found)


def _obstacle(image: Image, board: Board, lowering: Lowering) -> str | None:
    """Why synth need not be asked. The limits of synth 0.89 (toolchain reference 5)."""
    if synth.target(board) is None:
        return f"no code generator for {board.core}"
    if board.arch is Arch.RV32:
        return _obstacle_rv32(image, lowering)
    if lowering is not Lowering.SYNTH and len(image.memories) > 1:
        return f"--safety-bounds cannot check memory 1 of {len(image.memories)}"
    for access in image.accesses:
        if access.memory > 0 and not access.op.startswith(("i32.", "memory.")):
            where = image.functions[access.function].name
            return f"{access.op} on memory {access.memory} in {printable(where, 60)}: only i32 is lowered there"
    return _obstacle_table(image, board)


def _obstacle_table(image: Image, board: Board) -> str | None:
    """synth reads function pointers from the first bytes of memory 0: they must be free, and readable for all."""
    if not tables.in_memory0(image):
        return None
    size = tables.table_bytes_bound(image)
    if tables.read_only(image):  # a region of its own over it
        size = 1 << max(5, (size - 1).bit_length()) if board.protection is Protection.PMSAV7 else size
    data = min((s.offset for s in image.segments if s.memory == 0 and s.data), default=size)
    return f"the function table takes {size} bytes of memory 0, where data lies from {data} on" if data < size else None


def _obstacle_rv32(image: Image, lowering: Lowering) -> str | None:
    if len(image.memories) > 1:
        return f"{len(image.memories)} memories: one is lowered on RISC-V"
    indirect = next((f.name for f in image.functions if f.indirect), None)
    if indirect is not None:
        return f"call_indirect in {printable(indirect, 60)} is not lowered on RISC-V"
    for access in image.accesses:
        if access.op in _BULK or access.op.startswith("f"):
            where = printable(image.functions[access.function].name, 60)
            return f"{access.op} in {where} is not lowered on RISC-V"
    if lowering is Lowering.SYNTH_MASK and image.memories:
        size = image.memories[0].size
        if size == 0 or size & (size - 1):
            return f"mask needs a power of two, and the memory has {size} bytes ({image.memories[0].pages} pages)"
    far = max((a.offset for a in image.accesses), default=0)
    if lowering is Lowering.SYNTH and far >= 2048:
        return f"a load or store with offset {far}: below 2048 is lowered without mask"
    return None


def lower(
    image: Image,
    board: Board,
    *,
    wanted: str | None = None,
    given: Path | None = None,
    imports: Mapping[str, HostImport] = NO_IMPORTS,
) -> Lowered:
    """Lower `image` for `board`, from the cache where it is there. `given`: the user's own synth object, used as it is.

    Raises Refusal when no lowering takes the module, UsageError for a wrong object or host file,
    InfrastructureError where a tool fails.
    """
    have_synth, versions = _tools()
    handed = read_bounded(given, LIMIT) if given is not None else None
    checks = synth.bounds(given) if given is not None else Lowering.SYNTH
    files = hosts.sources(image, imports)
    key = digest(
        own_code(), image_key(image), *target_flags(board), board.core, board.fpu or "", board.protection.value,
        wanted or "", handed or b"", checks.value, *(part for item in files for part in item.key), json.dumps(versions),
    )  # fmt: skip

    def make(folder: Path) -> None:
        runtime_library(board)
        if handed is not None and given is not None:
            _, gated = synth.finish(handed, image, board, folder, printable(given))
            hosts.add(image, board, files, checks, folder)
            _write(folder, checks, (), gated)
        else:
            _write(folder, *_attempt(image, board, wanted, have_synth, files, folder))

    return _load(cached("lowered", key, make), given is not None, versions)


def image_key(image: Image) -> str:
    """Digest of everything of an image that its code depends on."""
    return digest(
        image.wasm, image.model.value, repr([f.owner for f in image.functions]), repr(sorted(image.exports.items())),
        repr([(s.caller, s.callee, s.target, s.label) for s in image.seams]), repr(image.shared_context),
        repr([o.name for o in image.owners]),
    )  # fmt: skip


def _attempt(
    image: Image,
    board: Board,
    wanted: str | None,
    have_synth: bool,
    files: Sequence[hosts.Source],
    folder: Path,
) -> tuple[Lowering, tuple[str, ...], Gated]:
    """Try the candidates in order: the one that took the module, why the ones before it did not, how it is gated."""
    why_not: list[str] = []
    for lowering, reason in candidates(image, board, wanted, have_synth):
        if reason is not None:
            why_not.append(f"{lowering.value}: {reason}")
            continue
        try:
            if lowering is Lowering.WASM2C:
                _, gated = wasm2c.lower(image, board, folder)
            else:
                _, gated = synth.lower(image, board, lowering, folder)
        except Refusal as refusal:
            why_not.append(f"{lowering.value}: {refusal.detail or refusal.reason}")
            continue
        hosts.add(image, board, files, lowering, folder)
        return lowering, tuple(why_not), gated
    raise Refusal(f"no lowering takes this image for {board.name}", "; ".join(why_not))


def _tools() -> tuple[bool, dict[str, str]]:
    versions = {name: tools.find(name).version for name in ("zig", "wasm2c")}
    try:
        versions["synth"] = tools.find("synth").version
    except ToolMissing:
        return False, versions
    return True, versions


@lru_cache(maxsize=1)
def own_code() -> str:
    """Digest of the rig's own part in every object: another rig builds anew."""
    folder = data_dir("firmware") / "wasm2c"
    files = [*sorted(Path(__file__).parent.glob("*.py")), *sorted(folder.rglob("*.h"))]
    return digest(*(part for file in files for part in (file.name, file.read_bytes())))


def _write(folder: Path, lowering: Lowering, why_not: Sequence[str], gated: Gated) -> None:
    record = {
        "lowering": lowering.value,
        "why_not": list(why_not),
        "functions": gated.functions,
        "sites": {str(seam): sites for seam, sites in gated.sites.items()},
        "findings": [asdict(finding) for finding in gated.findings],
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=1))


def finding(item: Mapping[str, Any]) -> Finding:
    """A finding read back from JSON."""
    pair = item["pair"]
    return Finding(**{**item, "owners": tuple(item["owners"]), "pair": tuple(pair) if pair else None})


def _load(folder: Path, given: bool, versions: Mapping[str, str]) -> Lowered:
    record = json.loads((folder / _RECORD).read_text())
    stamp = json.loads((folder / "stamp.json").read_text())
    findings = tuple(finding(item) for item in record["findings"])
    sites = {int(seam): tuple((f, at) for f, at in found) for seam, found in record["sites"].items()}
    made = folder / "component.o"
    return Lowered(
        lowering=Lowering(record["lowering"]),
        why_not=tuple(record["why_not"]),
        object=made,
        sha256=stamp["component.o"],
        gated=Gated(tuple(record["functions"]), sites, findings),
        code_size=made.stat().st_size,
        given=given,
        tools=dict(versions),
    )
