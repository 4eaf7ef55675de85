# SPDX-License-Identifier: Apache-2.0
"""How many bytes there are to place: linear memories and slices with the subject's promises (`backed`) applied.

All numbers are wasm offsets or sizes in bytes.
"""

from __future__ import annotations

from rig.errors import UsageError
from rig.image.model import Image, Model, Owner, Span

_STACK_LEFT = 64  # a promise must leave at least so many bytes of shadow stack


def slice_span(owner: Owner) -> Span:
    """Where the owner's data lies in its memory; a promise cuts it short. ValueError: it has no slice."""
    if owner.slice is None:
        raise ValueError(f"{owner.name} has no linear memory")
    span = owner.slice.span
    return span if owner.backed is None else Span(span.start, min(span.end, span.start + owner.backed))


def memory_extent(image: Image, index: int) -> int:
    """Bytes of linear memory `index` that need RAM: all, or fewer where its components promise so."""
    memory = image.memories[index]
    members = [o for o in image.owners if o.slice is not None and o.slice.memory == index]
    if not any(o.backed is not None for o in members):
        return memory.size
    if image.model is Model.MULTI and {o.index for o in members} != set(memory.owners):
        return memory.size
    return min(memory.size, max(slice_span(o).end for o in members))


def data_end(image: Image, owner: Owner) -> int:
    """First offset above every data segment in the owner's slice (its start when it has none)."""
    assert owner.slice is not None
    span, memory = owner.slice.span, owner.slice.memory
    ends = [s.offset + len(s.data) for s in image.segments if s.memory == memory and s.data and s.offset in span]
    return max([span.start, *ends])


def stack_pointer(image: Image, owner: Owner) -> int | None:
    """Initial shadow-stack pointer of an owner, in fused offsets: with its displacement where F9 must be cured."""
    chosen = [g for g in image.globals if g.stack_pointer and g.mutable and g.owner in (None, owner.index)]
    own = [g for g in chosen if g.index in owner.stack_globals] or chosen
    if not own or owner.slice is None:
        return None
    return own[0].init + displacement(image, owner)


def displacement(image: Image, owner: Owner) -> int:
    """What must be added to the fused module's stack pointer for this owner (F9).

    Page-granular, packed and domain images have one stack pointer for all, in the address space of the first; in a
    shared-stack image that is the design, and with a memory each there is nothing to add.
    """
    cured = image.model in (Model.PAGE, Model.PACKED, Model.DOMAINS)
    return owner.slice.displacement if cured and owner.slice is not None else 0


def check_promises(image: Image) -> None:
    """UsageError when a component promises less memory than its data and shadow stack need."""
    for owner in image.owners:
        if owner.backed is None or owner.slice is None:
            continue
        start = owner.slice.span.start
        need = data_end(image, owner) - start
        top = (stack_pointer(image, owner) or start) - start
        if max(need, top) > owner.backed or owner.backed < _STACK_LEFT:
            raise UsageError(f"memory.backed of {owner.name}: it promises to stay in {owner.backed} B, but its data "
                             f"ends at {need} and its stack starts at {top}; promise at least "
                             f"{max(need, top, _STACK_LEFT)} B")
