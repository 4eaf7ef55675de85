# SPDX-License-Identifier: Apache-2.0
"""Component code as one closed object: everything it calls is inside, everything in it is unprivileged.

The runtime library's soft float, division and rounding are linked in privately, so that no component ever executes a
byte of the agent's copy, and every section gets a name below `.unpriv`, so that the linker script cannot put a part of
it elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rig.boards.model import Board
from rig.build import elfobj
from rig.build.cc import runtime_library, zig
from rig.errors import Refusal

TEXT, HOST_TEXT = ".unpriv.text", ".unpriv.host"  # of components, of host functions
_KEPT = re.compile(r"rig_(fn|host)_\d+|rig_instance_init|rig_type_ids(_end)?")
_FROM_OUTSIDE = re.compile(r"rig_gate_\d+|rig_mem_\d+|rig_window|rig_fn_\d+")
_ATTRIBUTES = (".ARM.attributes", ".riscv.attributes")


def close(board: Board, objects: Sequence[Path], roots: Sequence[str], out: Path, text: str = TEXT) -> None:
    """Link `objects` with the runtime library into the closed object `out`, keeping what `roots` (symbols) reach.

    Raises Refusal where component code needs something nobody has, or keeps writable data outside its instance.
    """
    wanted = [word for root in roots for word in ("-u", root)]
    partial = out.with_suffix(".partial.o")
    zig(["ld.lld", "-r", "--gc-sections", "--strip-debug", *wanted, *objects, runtime_library(board), "-o", partial],
        cwd=out.parent)  # fmt: skip
    obj = elfobj.parse(partial.read_bytes(), "component code")
    partial.unlink()
    out.write_bytes(elfobj.emit(unprivileged(obj, text)))


def unprivileged(obj: elfobj.Object, text: str = TEXT) -> elfobj.Object:
    """`obj` with all sections renamed below `.unpriv` and all symbols but the rig's own made local."""
    for section in list(obj.sections):
        if not section.flags & elfobj.SHF_ALLOC:
            if section.name not in _ATTRIBUTES:
                obj.drop(section)
        elif section.name.startswith((".ARM.exidx", ".ARM.extab", ".eh_frame")):
            obj.drop(section)
        elif section.flags & elfobj.SHF_WRITE:
            if section.size:
                raise Refusal("component code keeps data of its own", f"{section.size} bytes in {section.name}")
            obj.drop(section)
        elif not section.name.startswith(".unpriv."):
            kind = text if section.flags & elfobj.SHF_EXEC else ".unpriv.rodata"
            section.name = kind + re.sub(r"^\.(text|rodata)", "", section.name)
    used = {reloc.symbol for section in obj.sections for reloc in section.relocs}
    obj.symbols = [s for s in obj.symbols if not s.undefined or s in used]
    missing = []
    for symbol in obj.symbols:
        if symbol.undefined:
            if not _FROM_OUTSIDE.fullmatch(symbol.name):
                missing.append(symbol.name)
        elif not _KEPT.fullmatch(symbol.name):
            symbol.bind = elfobj.STB_LOCAL
    if missing:
        raise Refusal("component code needs what nobody provides", ", ".join(sorted(missing)[:8]))
    return obj
