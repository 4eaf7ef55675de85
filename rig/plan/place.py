# SPDX-License-Identifier: Apache-2.0
"""Image × board × lowering → where everything lies, as absolute addresses, or a refusal with the arithmetic.

One placement serves every strategy. What the numbers mean: docs/plan.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rig.boards.model import Arch, Board
from rig.errors import Refusal, UsageError
from rig.image.model import Image, Model, Owner, OwnerKind
from rig.plan import tables
from rig.plan.extents import check_promises, memory_extent, slice_span
from rig.plan.geometry import alignment, granted_end, power, up
from rig.plan.globals import instance, table_size
from rig.plan.layout import PAD, Layout
from rig.plan.model import BufferGrant, Grant, Kind, Lowering, PeripheralGrant, Placed, Placement

MAX_OWNERS, MAX_SEAMS = 48, 256  # what the agent's tables hold
MAILBOX = 64 << 10  # bytes, where the host maps the RAM and the mailbox holds the rings; else its header only
MAILBOX_HEADER = 256
STACK = 8 << 10  # bytes, the smallest native stack with its reserve
STACK_LEFT = 4 << 10  # bytes of stack below the reserve, at least
TAIL = 16  # canary bytes behind globals table or instance


@dataclass(frozen=True, slots=True)
class Room:
    """The parts of a board that a plan uses: the board's roles, or what a board without a runtime map offers."""

    code: tuple[int, int]
    ram: tuple[int, int]
    words: str


def room(board: Board) -> Room:
    """Refusal where a board has no RAM or code memory at all."""
    if board.roles is not None:
        low, high = board.roles.shared_ram
        return Room(board.roles.unpriv_text, (low, high), f"{board.name} has {high - low} B of shared RAM")
    ram = max((b for b in board.banks if b.kind == "ram"), key=lambda b: b.size, default=None)
    rom = max((b for b in board.banks if b.kind in ("rom", "ram") and b is not ram), key=lambda b: b.size, default=None)
    if ram is None or rom is None:
        raise Refusal("does not fit", f"{board.name} describes no RAM or no memory for code")
    half = power(rom.size) // 2
    return Room((up(rom.start, half), rom.end), (ram.start, ram.end), f"{board.name} has {ram.size} B")


def place(
    image: Image,
    board: Board,
    lowering: Lowering,
    *,
    peripherals: Sequence[PeripheralGrant] = (),
    shared_buffers: Sequence[BufferGrant] = (),
    native_stack: int = 0,
) -> Placement:
    """Give every memory, stack, table, window and buffer its place. Promises come with the image (`Owner.backed`).

    `native_stack`: bytes of native stack that every owner has at least.
    Raises Refusal ("does not fit", with the arithmetic), UsageError for a promise or grant that cannot hold.
    """
    _check_counts(image)
    check_promises(image)
    where = room(board)
    layout = Layout(where.ram[0])
    layout.add(Kind.MAILBOX, "mailbox", MAILBOX if board.qemu is not None else MAILBOX_HEADER, apart=0)
    _memories(layout, image, board, lowering)
    if board.arch is Arch.RV32 and lowering.is_synth:
        _window(layout, image)
    reserve = reserve_size(image, board, lowering)
    stack = max(STACK, power(reserve + max(STACK_LEFT, native_stack)))
    block = power(stack * len(image.owners))
    for i, owner in enumerate(image.owners):
        layout.add(Kind.STACK, f"stack:{owner.index}", stack, align=stack if i else block, apart=0 if i else PAD,
                   owner=owner.index, index=owner.index, word="stacks")
    grants = _buffers(layout, image, board, shared_buffers)
    objects = layout.finish(where.ram[1], where.words)
    devices, more = _peripherals(image, board, peripherals)
    return Placement(
        board=board.name,
        model=image.model.value,
        lowering=lowering,
        objects=objects + devices,
        code=where.code,
        reserve=reserve,
        stack_size=stack,
        symbols=_symbols(objects),
        grants=grants + more,
    )


def reserve_size(image: Image, board: Board, lowering: Lowering) -> int:
    """Bytes at the top of every stack: globals table and own function table, or wasm2c instance; 16 of canary."""
    if lowering is Lowering.WASM2C:
        return up(instance(image).total + TAIL, 16)
    if board.arch is Arch.RV32:
        return TAIL
    copy = tables.table_bytes_bound(image) if tables.own_copies(image) else 0
    return up(up(table_size(image), 8) + copy + TAIL, 16)


def linker_fragment(placement: Placement) -> str:
    """Absolute symbols for the linker script, one assignment per line."""
    return "".join(f"{name} = {value:#010x};\n" for name, value in placement.symbols)


def _check_counts(image: Image) -> None:
    for count, most, what in ((len(image.owners), MAX_OWNERS, "owners"), (len(image.seams), MAX_SEAMS, "seams")):
        if count > most:
            raise Refusal("does not fit", f"{count} {what}, the reference runtime has room for {most}")


def _memories(layout: Layout, image: Image, board: Board, lowering: Lowering) -> None:
    """All linear memories, the ones with the largest alignment first; then slices and table inside them."""
    sizes = {m.index: memory_extent(image, m.index) for m in image.memories}
    first = True
    for k in sorted(sizes, key=lambda k: (-alignment(board, sizes[k]), k)):
        size, owners = sizes[k], image.memories[k].owners
        if size == 0:
            layout.add(Kind.MEMORY, f"memory:{k}", 0, apart=PAD if first else 0, index=k, word="memories")
            continue
        align, region = _region(board, size)
        layout.add(Kind.MEMORY, f"memory:{k}", size, align=align, region=region, apart=PAD if first else 0,
                   owner=owners[0] if len(owners) == 1 else None, index=k, word="memories")
        first = False
    if lowering.is_synth and board.arch is Arch.V7M:
        _table(layout, image, board)
    if image.model.shared:
        _slices(layout, image, board)


def _region(board: Board, size: int) -> tuple[int, int]:
    """(alignment, granted bytes) of an object that has the room it wants."""
    align = alignment(board, size)
    return align, granted_end(board, align, align + size, align + power(size) + 4096) - align


def _find(layout: Layout, name: str) -> Placed:
    return next(p for p in layout.objects if p.name == name)


def _table(layout: Layout, image: Image, board: Board) -> None:
    """The function table at memory 0's start: nothing may lie there already. In model 1 it may get a region."""
    if not tables.in_memory0(image):
        return
    size, end = tables.table_bytes_bound(image), None
    base = _find(layout, "memory:0")
    if tables.read_only(image):
        first = tables.first_owner(image)
        limit = base.end if first is None else base.start + slice_span(image.owners[first]).end
        end = _carve(board, "the function table", base.start, base.start + up(size, 32), limit, base.start)
    used = (end or base.start + size) - base.start
    hit = min((s.offset for s in image.segments if s.memory == 0 and s.data), default=used)
    if hit < used:
        raise Refusal("does not fit", f"the function table takes the first {used} B of memory 0, and data lies at "
                      f"{hit}: synth reads function pointers there; wasm2c keeps them elsewhere")
    if end is not None:
        layout.nest(Kind.TABLE, "table", base.start, end, end, None, 0)


def _slices(layout: Layout, image: Image, board: Board) -> None:
    """Model 1: each component's part. Its slack may not reach another's bytes."""
    owners = [o for o in image.owners if o.slice is not None and o.kind is OwnerKind.COMPONENT]
    for owner in owners:
        assert owner.slice is not None
        span, memory = slice_span(owner), _find(layout, f"memory:{owner.slice.memory}")
        above = [o.slice.span.start for o in owners if o.slice and o.slice.memory == owner.slice.memory
                 and o.slice.span.start >= span.end]
        limit = min([memory.start + a for a in above], default=memory.region_end)
        start, end = memory.start + span.start, memory.start + span.end
        if start == end:
            continue
        region_end = _carve(board, f"the slice of {owner.name}", start, end, limit, memory.start)
        layout.nest(Kind.SLICE, f"slice:{owner.index}", start, end, region_end, owner.index, owner.slice.memory)
    if image.model is Model.STACK and owners:
        _shadow(layout, image, board, owners)


def _shadow(layout: Layout, image: Image, board: Board, owners: list[Owner]) -> None:
    """share-stack: the one shadow stack, below all slices, for all components."""
    top = max((g.init for g in image.globals if g.stack_pointer), default=0)
    if not top:
        return
    memory = _find(layout, "memory:0")
    limit = memory.start + min(o.slice.span.start for o in owners if o.slice)
    end = _carve(board, "the shared stack", memory.start, memory.start + top, limit, memory.start)
    layout.nest(Kind.SLICE, "slice:stack", memory.start, memory.start + top, end, None, 0)


def _carve(board: Board, what: str, start: int, end: int, limit: int, base: int) -> int:
    """`granted_end` inside memory at `base`; Refusal where regions cannot cut it out."""
    try:
        return granted_end(board, start, end, limit)
    except ValueError as error:
        unit = {"pmsav7": "PMSAv7", "pmp": "PMP"}[board.protection.value]
        raise Refusal("does not fit", f"{what} [{start - base},{end - base}): {error}. "
                      f"This cannot be carved by {unit}") from None


def _window(layout: Layout, image: Image) -> None:
    """synth on RV32: the globals at an absolute address, alone; and what the agent keeps for each owner."""
    size = max(4, table_size(image))
    if not image.globals:
        return
    layout.add(Kind.WINDOW, "window", size, align=max(8, power(size)), word="window")
    for i, owner in enumerate(image.owners):
        layout.add(Kind.AGENT, f"save:{owner.index}", up(size, 8), align=8, apart=0 if i else PAD, index=owner.index,
                   word="saved globals")


def _buffers(layout: Layout, image: Image, board: Board, buffers: Sequence[BufferGrant]) -> tuple[Grant, ...]:
    grants: list[Grant] = []
    for i, buffer in enumerate(buffers):
        align, region = _region(board, buffer.size)
        layout.add(Kind.SHARED, f"shared:{buffer.name}", buffer.size, align=align, region=region, index=i,
                   word="shared buffers")
        for owner, rights in buffer.rights:
            _check_grant(image, f"shared buffer {buffer.name}", owner, rights)
            grants.append(Grant(owner, f"shared:{buffer.name}", rights))
    return tuple(grants)


def _peripherals(
    image: Image, board: Board, wanted: Sequence[PeripheralGrant]
) -> tuple[tuple[Placed, ...], tuple[Grant, ...]]:
    """Peripherals lie where they lie: the range must be a peripheral's, not the agent's, and exact in one region."""
    placed: dict[str, Placed] = {}
    grants: list[Grant] = []
    for grant in wanted:
        what, end = f"peripheral {grant.name}", grant.start + grant.size
        _check_grant(image, what, grant.owner, grant.rights)
        if not any(b.start <= grant.start and end <= b.end for b in board.peripherals):
            known = ", ".join(f"{b.name} [{b.start:#x}, {b.end:#x})" for b in board.peripherals)
            raise UsageError(
                f"{what}: [{grant.start:#x}, {end:#x}) is no peripheral of {board.name}: {known}. Name the "
                'boards that have it, boards = ["…"]'
            )
        for device, base in (("its console", board.uart), ("its timer", board.clint)):
            bank = next((b for b in board.peripherals if base is not None and b.start <= base < b.end), None)
            if bank is not None and grant.start < bank.end and bank.start < end:
                raise UsageError(f"{what}: [{bank.start:#x}, {bank.end:#x}) is the runtime's own: {device}")
        try:
            if granted_end(board, grant.start, end, end) != end:
                raise ValueError("more than its own bytes would be granted")
        except ValueError as error:
            raise Refusal("does not fit", f"{what}: {error}") from None
        name = f"peripheral:{grant.name}"
        mine = Placed(Kind.PERIPHERAL, name, grant.start, end, end, None, len(placed))
        other = placed.setdefault(name, mine)
        if (other.start, other.end) != (grant.start, end):
            raise UsageError(f"{what}: named twice with different ranges; give the second another name")
        grants.append(Grant(grant.owner, name, grant.rights))
    return tuple(placed.values()), tuple(grants)


def _check_grant(image: Image, what: str, owner: int, rights: str) -> None:
    if not 0 <= owner < len(image.owners) or rights not in ("r", "rw"):
        raise UsageError(f"{what}: owner {owner} with rights {rights!r}: name a component, and 'r' or 'rw'")


_NAMES = {
    Kind.MAILBOX: "rig_mailbox", Kind.WINDOW: "rig_window", Kind.TABLE: "rig_table", Kind.MEMORY: "rig_mem_{}",
    Kind.STACK: "rig_stack_{}", Kind.PAD: "rig_pad_{}", Kind.SHARED: "rig_shared_{}", Kind.AGENT: "rig_save_{}",
}  # fmt: skip


def _symbols(objects: Sequence[Placed]) -> tuple[tuple[str, int], ...]:
    """`rig_mem_<k>` and the like, with `…_end` (logical end) beside each."""
    found: list[tuple[str, int]] = []
    for placed in objects:
        if placed.kind in _NAMES:
            name = _NAMES[placed.kind].format(placed.index)
            found += [(name, placed.start), (f"{name}_end", placed.end)]
    return tuple(found)
