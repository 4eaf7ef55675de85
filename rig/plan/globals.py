# SPDX-License-Identifier: Apache-2.0
"""An owner's own copy of the globals: dense for synth (toolchain reference 4.2), a struct for wasm2c."""

from __future__ import annotations

from dataclasses import dataclass

from rig.image.model import Global, Image, Owner
from rig.plan.extents import displacement

ENTRY = 16  # bytes of one wasm2c table entry (function type, function, module instance, padding)


def width(item: Global) -> int:
    return 8 if item.type in ("i64", "f64") else 4


def table_size(image: Image) -> int:
    """Bytes of synth's globals table: declaration order, no padding."""
    return sum(map(width, image.globals))


def table_bytes(image: Image, owner: Owner) -> bytes:
    """The table with initial values, the owner's shadow-stack pointers moved into its slice (F9 cured)."""
    moved = _moved(image, owner)
    return b"".join(
        ((g.init + moved.get(g.index, 0)) & (1 << 8 * width(g)) - 1).to_bytes(width(g), "little") for g in image.globals
    )


def moved_pointers(image: Image, owner: Owner) -> dict[int, int]:
    """Global index → initial value, for the stack pointers that differ from the module's own initial value."""
    return {i: image.globals[i].init + by & 0xFFFF_FFFF for i, by in _moved(image, owner).items()}


def _moved(image: Image, owner: Owner) -> dict[int, int]:
    by = displacement(image, owner)
    if not by:
        return {}
    return {g.index: by for g in image.globals if g.stack_pointer and g.mutable and g.owner in (None, owner.index)}


@dataclass(frozen=True, slots=True)
class Instance:
    """A wasm2c instance: byte offset of each global, size of the struct, and with its table arrays behind it."""

    globals: tuple[int, ...]
    size: int
    total: int


def instance(image: Image) -> Instance:
    """Layout under the 32-bit C ABI: host pointer (with imports), globals, memories (16 bytes), tables (12 bytes).

    The compiler confirms it: the generated C asserts the size and every offset.
    """
    at, offsets = 4 if image.imports else 0, []
    for item in image.globals:
        at = -(-at // width(item)) * width(item)
        offsets.append(at)
        at += width(item)
    if image.memories:
        at = -(-at // 8) * 8 + 16 * len(image.memories)
    at += 12 * len(image.tables)
    align = 8 if image.memories or any(width(g) == 8 for g in image.globals) else 4
    size = -(-at // align) * align
    return Instance(tuple(offsets), size, size + ENTRY * sum(t.size for t in image.tables))
