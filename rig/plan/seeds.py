# SPDX-License-Identifier: Apache-2.0
"""What the host writes over a freshly initialised image: per-owner globals and function tables. See docs/plan.md.

Each seed is (native address, bytes), at most `CHUNK` bytes; the agent applies them in this order at every FRESH.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.image.model import Image
from rig.plan import tables
from rig.plan.bind import memory0_base, own_table
from rig.plan.globals import instance, moved_pointers, table_bytes
from rig.plan.model import Placement, Plan

CHUNK = 4096  # bytes of one SEED frame
Seed = tuple[int, bytes]


def seeds(
    image: Image, placement: Placement, plan: Plan, symbols: Mapping[str, int], type_ids: bytes = b""
) -> tuple[Seed, ...]:
    """Globals of every owner (shadow-stack pointers moved: the F9 cure) and function tables.

    `type_ids`: content of the object's section `.synth.table_type_ids` (b"" when it has none). InfrastructureError
    when object and module do not fit together.
    """
    if plan.lowering.is_synth:
        copies = [(c.r9 or c.window_save, table_bytes(image, image.owners[c.owner])) for c in plan.contexts]
        found = [(at, data) for at, data in copies if at]
        if any(c.arm for c in plan.contexts):
            found += _function_tables(image, placement, symbols, type_ids)
    else:
        found = _instances(image, plan)
    return tuple((at + i, data[i : i + CHUNK]) for at, data in found for i in range(0, len(data), CHUNK))


def _instances(image: Image, plan: Plan) -> list[Seed]:
    """wasm2c sets every global of an instance; only moved stack pointers are left."""
    offsets = instance(image).globals
    return [
        (context.instance + offsets[index], value.to_bytes(4, "little"))
        for context in plan.contexts
        for index, value in moved_pointers(image, image.owners[context.owner]).items()
    ]


def _function_tables(
    image: Image, placement: Placement, symbols: Mapping[str, int], type_ids: bytes
) -> list[Seed]:
    if not tables.in_memory0(image) and not tables.own_copies(image):
        return []
    data = tables.contents(image, symbols, type_ids)
    found = [(memory0_base(placement), data)] if tables.in_memory0(image) else []
    for owner in image.owners:
        if tables.calls_indirectly(image, owner) and not tables.uses_memory0(image, owner):
            found.append((own_table(image, placement, owner), data))
    return found
