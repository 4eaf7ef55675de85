# SPDX-License-Identifier: Apache-2.0
"""`synth verify-embedder` over a linked Arm image: does any code write R9, R10 or R11, the bases of component data?

It needs a disassembler and believes whatever that prints: with code taken for data it says OK having decoded nothing
(toolchain reference 4.1). So it gets our own listing (capstone, data only where mapping symbols say so), and its number
of instructions is compared with a count of function bytes that uses no mapping symbol.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rig.boards.model import Arch
from rig.build import disasm
from rig.build.closure import TEXT
from rig.build.linkage import Linkage, Placed, inspect
from rig.build.words import printable, said
from rig.errors import ToolMissing
from rig.host import tools
from rig.image.model import Finding
from rig.plan.model import Lowering

_SECONDS = 60.0
SACRIFICE = 64  # bytes at `rig_sacrifice_code`: a target for attacks, no code (docs/internals.md)
_COUNTED = re.compile(r"0 reserved-register writes in (\d+) instructions")
_WRITE = re.compile(r"^\s*<(?P<where>.*)> (?P<at>[0-9a-f]+): `(?P<what>.*)` — (?P<why>.*)$", re.M)


@dataclass(frozen=True, slots=True)
class EmbedderCheck:
    """What it said. `verdict`: "ok" | "violated" | "refused" (could not be judged) | "n/a"; `words` says why."""

    verdict: str
    words: str
    instructions: int  # as synth counts
    expected: int  # as we count
    writes: tuple[str, ...] = ()  # "rig_fn_3 at 0x100044: eor.w r9, r1, r3"


def verify_embedder(elf: bytes, lowering: Lowering = Lowering.SYNTH) -> EmbedderCheck:
    """Run the check over a linked Arm image that synth lowered.

    Examined is the code that runs in a component's context: components, gates and stubs. The agent is privileged and
    saves what it uses; a host function has a context of its own. Other images have no such bases: n/a.
    """
    if not lowering.is_synth or elf[18:20] != b"\x28\0":
        return EmbedderCheck("n/a", "not an Arm image lowered by synth: no register holds a base", 0, 0)
    try:
        synth = tools.find("synth")
    except ToolMissing as missing:
        return EmbedderCheck("refused", str(missing), 0, 0)
    linkage = inspect(elf)
    text, expected = listing(linkage), count(linkage)
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        place = Path(folder)
        (place / "image.elf").write_bytes(elf)
        (place / "listing").write_text(text, encoding="utf-8")
        shim = place / "objdump"
        # It is called as `objdump -d image.elf` and answers with the listing: no user's word gets into this file.
        shim.write_text('#!/bin/sh\nexec cat "$RIG_LISTING"\n')
        shim.chmod(0o700)
        env = {"SYNTH_OBJDUMP": str(shim), "RIG_LISTING": str(place / "listing"), "RUST_BACKTRACE": "0"}
        done = tools.run(synth, ["verify-embedder", "image.elf"], cwd=place, timeout=_SECONDS, env=env)
    return judge(done.returncode, done.out, done.err, expected)


def findings(check: EmbedderCheck) -> tuple[Finding, ...]:
    """What a user should know of the answer."""
    if check.verdict == "violated":
        return tuple(
            Finding("embedder", f"synth verify-embedder: {write} (a base register of component data)", write)
            for write in check.writes
        )
    if check.verdict == "refused":
        return (Finding("embedder", f"synth verify-embedder could not judge: {check.words}", "the linked ELF"),)
    return ()


def judge(code: int, out: str, err: str, expected: int) -> EmbedderCheck:
    """The tool's answer, believed only as far as its count goes."""
    writes = tuple(f"{m['where']} at 0x{m['at']}: {m['what']}" for m in _WRITE.finditer(err + "\n" + out))
    if code == 1 and writes:
        return EmbedderCheck("violated", printable(said(err, 4), 400), 0, expected, writes)
    counted = _COUNTED.search(out)
    if code != 0 or counted is None:
        return EmbedderCheck("refused", printable(said(err or out, 4), 400), 0, expected)
    number = int(counted[1])
    if number != expected or not number:
        words = f"it decoded {number} instructions, the image has {expected}: its OK means nothing"
        return EmbedderCheck("refused", words, number, expected)
    return EmbedderCheck("ok", printable(out.strip().partition(" (via ")[0], 300), number, expected)


def listing(linkage: Linkage) -> str:
    """Disassembly of the components' code in objdump's format, by mapping symbols; literals as `.word`."""
    lines = ["", "image.elf:\tfile format elf32-littlearm", ""]
    for section in _sections(linkage):
        lines += [f"Disassembly of section {section.name}:", ""]
        for start, end, code in _spans(linkage.marks, section.start, section.end):
            data = section.data[start - section.start : end - section.start]
            for address, raw, mnemonic, operands in _rows(data, start, code):
                if address in linkage.functions:
                    lines += ["", f"{address:08x} <{linkage.functions[address]}>:"]
                lines.append(f"{address:8x}: {raw.hex(' ')}\t{mnemonic}\t{operands}")
    return "\n".join([*lines, ""])


def count(linkage: Linkage) -> int:
    """Instructions in the same code, without mapping symbols: function by function, less the words that loads name."""
    total, spare = 0, linkage.symbols.get("rig_sacrifice_code", -SACRIFICE)
    inner = [*linkage.functions, spare, spare + SACRIFICE]
    for section in _sections(linkage):
        edges = sorted({section.start, section.end, *(a for a in inner if section.start < a < section.end)})
        for start, end in pairwise(edges):
            if start == spare:
                continue
            code = section.data[start - section.start : end - section.start]
            rows = list(disasm.decode(code, start, Arch.V7M))
            words = {word for row in rows if (word := disasm.literal_address(row)) is not None and start <= word < end}
            total += sum(not any(word <= row.address < word + 4 for word in words) for row in rows)
    return total


def _sections(linkage: Linkage) -> Iterator[Placed]:
    return (section for section in linkage.sections if section.executable and section.name == TEXT)


def _rows(data: bytes, start: int, code: bool) -> Iterator[tuple[int, bytes, str, str]]:
    if not code:
        for at in range(0, len(data), 4):
            word = data[at : at + 4]
            yield start + at, word, ".word", f"0x{int.from_bytes(word, 'little'):08x}"
        return
    for item in disasm.decode(data, start, Arch.V7M):
        yield item.address, item.data, item.mnemonic or "<unknown>", item.operands


def _spans(marks: Mapping[int, str], start: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """(start, end, is code) between mapping symbols; before the first one, data."""
    edges = [start, *sorted(a for a in marks if start < a < end), end]
    for low, high in pairwise(edges):
        if low < high:
            yield low, high, marks.get(low, "$d") == "$t"
