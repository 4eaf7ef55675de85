# SPDX-License-Identifier: Apache-2.0
"""The manifest: who owns which bytes with which rights. One of the two halves of every prediction.

It comes from the image (owners, slices, memories), from what the subject grants, and from addresses: a placement is
asked *where* an object starts, and for the subject's grants that it carries. Regions, contexts and rounding of the plan
are not looked at, so that a wrong plan differs from it. Where regions must be coarser than an object the manifest has
its own rule of rounding (`slack_end`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from rig.arch.types import Intervals, Kind
from rig.boards.model import Arch, Board, Protection
from rig.errors import InfrastructureError
from rig.image.model import Image, Model, Owner, OwnerKind
from rig.plan.model import Kind as Placing
from rig.plan.model import Lowering, Placement

_LETTER = {Kind.READ: "r", Kind.WRITE: "w", Kind.EXECUTE: "x"}


@dataclass(frozen=True, slots=True)
class Row:
    """Bytes [start, end) and everybody who may use them. `owner`: whose bytes; None: agent, device, several, nobody."""

    name: str  # "memory:1", "slice:0", "slack:memory:1", "stack:2", "code", "table", "window", "agent:text", …
    start: int
    end: int
    owner: int | None
    rights: Mapping[int, str]  # owner index → subset of "rwx"; who is not in it may do nothing


@dataclass(frozen=True)
class Manifest:
    """All rows. Bytes without a row are nobody's: no owner may touch them."""

    rows: tuple[Row, ...]
    _cache: dict[tuple[int, Kind], Intervals] = field(default_factory=dict, repr=False, compare=False)

    def granted(self, owner: int, kind: Kind) -> Intervals:
        """Every byte the owner may read, write or execute."""
        key = (owner, kind)
        if key not in self._cache:
            letter = _LETTER[kind]
            self._cache[key] = Intervals((r.start, r.end) for r in self.rows if letter in r.rights.get(owner, ""))
        return self._cache[key]

    def owner_of(self, address: int) -> int | None:
        """Whose byte this is; None: the agent's, a peripheral's, shared by several, or nobody's."""
        return self._owners.get(self.name_of(address) or "")

    def name_of(self, address: int) -> str | None:
        """The row a byte belongs to (the innermost where rows nest); None: nobody's."""
        here = [r for r in self.rows if r.start <= address < r.end]
        return min(here, key=lambda r: r.end - r.start).name if here else None

    @cached_property
    def _owners(self) -> Mapping[str, int | None]:
        return {r.name: r.owner for r in self.rows}


def manifest(image: Image, placement: Placement, board: Board) -> Manifest:
    """The manifest of a linked image. `placement`: a plan's, whose `code` is the range as linked."""
    everybody = [o.index for o in image.owners]
    symbols = dict(placement.symbols)
    rows = [Row("code", *placement.code, None, dict.fromkeys(everybody, "rx"))]
    for owner in image.owners:
        low, high = _symbol(symbols, f"rig_stack_{owner.index}"), _symbol(symbols, f"rig_stack_{owner.index}_end")
        rows.append(Row(f"stack:{owner.index}", low, high, owner.index, {owner.index: "rw"}))
    data = [*_memories(image, symbols), *_granted(image, placement, Placing.SHARED)]
    rows += [*_with_table(data, image, placement, board, everybody), *_slack(data, board)]
    rows += _window(image, placement, board, symbols, everybody)
    rows += _granted(image, placement, Placing.PERIPHERAL)
    rows += _agent(placement, board)
    return Manifest(tuple(sorted(rows, key=lambda r: (r.start, r.end))))


def slack_end(board: Board, start: int, end: int) -> int:
    """Where bytes end that a protection unit cannot tell from [start, end).

    PMSAv7: the smallest naturally aligned power of two, from 256 bytes, around the bytes is cut into eighths; a begun
    eighth counts whole. PMP: a begun granule counts whole.
    """
    if board.protection is Protection.PMP:
        unit = 4 << board.grain
    else:
        block = 256
        while start // block != (end - 1) // block:
            block *= 2
        unit = block // 8
        if start % unit:
            return end  # such bytes take two regions, which are exact
    return -(-end // unit) * unit


# -- what belongs to whom -----------------------------------------------------------------------------------------


def _memories(image: Image, symbols: Mapping[str, int]) -> Iterator[Row]:
    """Data of every component: slices of a shared memory, or whole memories (shared inside a domain)."""
    for memory in image.memories:
        base = _symbol(symbols, f"rig_mem_{memory.index}")
        members = [o for o in image.owners if o.slice is not None and o.slice.memory == memory.index]
        visitors = _visitors(image, memory.index)
        if image.model.shared:
            yield from _slices(image, memory.index, base, members)
            if visitors:
                yield Row(f"memory:{memory.index}", base, base + memory.size, None, visitors)
            continue
        limits = [_limit(o) for o in members]
        size = max(limits) if members and any(o.backed is not None for o in members) else memory.size
        rights = dict.fromkeys(memory.owners, "rw") | visitors
        owner = memory.owners[0] if len(memory.owners) == 1 else None
        if size:
            yield Row(f"memory:{memory.index}", base, base + size, owner, _joined(image, rights))


def _slices(image: Image, memory: int, base: int, members: Sequence[Owner]) -> Iterator[Row]:
    for owner in members:
        assert owner.slice is not None
        low, high = owner.slice.span.start, _limit(owner)
        if low < high:
            yield Row(f"slice:{owner.index}", base + low, base + high, owner.index,
                      _joined(image, {owner.index: "rw"}))
    if image.model is Model.STACK and memory == 0:
        top = max((g.init for g in image.globals if g.stack_pointer), default=0)
        users = [o.index for o in members if o.stack_globals]
        if top and users:
            only = users[0] if len(users) == 1 else None
            yield Row("slice:stack", base, base + top, only, _joined(image, dict.fromkeys(users, "rw")))


def _limit(owner: Owner) -> int:
    """Wasm offset where the owner's data must end: its slice, or what it promises to stay in."""
    assert owner.slice is not None
    span = owner.slice.span
    return span.end if owner.backed is None else min(span.end, span.start + owner.backed)


def _visitors(image: Image, memory: int) -> dict[int, str]:
    """Adapters and hosts whose code names the memory."""
    return {o.index: "r" if memory in o.reads else "rw" for o in image.owners
            if o.kind is not OwnerKind.COMPONENT and memory in o.memories}


def _joined(image: Image, rights: Mapping[int, str]) -> dict[int, str]:
    """Owners that cannot be separated have each other's data rights."""
    found = dict(rights)
    for group in image.shared_context:
        together = {letter for member in group for letter in rights.get(member, "")}
        if together:
            found |= dict.fromkeys(group, "rw" if "w" in together else "r")
    return found


def _granted(image: Image, placement: Placement, kind: Placing) -> Iterator[Row]:
    """Peripherals and shared buffers, with the rights that the subject gives."""
    for placed in placement.all(kind):
        rights: dict[int, str] = {}
        for grant in placement.grants:
            if grant.name == placed.name:
                rights[grant.owner] = "rw" if "w" in rights.get(grant.owner, "") + grant.rights else "r"
        yield Row(placed.name, placed.start, placed.end, None, _joined(image, rights))


def _with_table(
    rows: Iterable[Row], image: Image, placement: Placement, board: Board, everybody: Sequence[int]
) -> Iterator[Row]:
    """Model 1 on Arm: the function table's bytes are readable for all and writable for none, their owner included.

    They end where regions can cut them off; an entry takes 8 bytes, address and type id.
    """
    for placed in placement.all(Placing.TABLE):
        start = placed.start
        end = slack_end(board, start, start + 8 * sum(t.size for t in image.tables))
        yield Row("table", start, end, None, dict.fromkeys(everybody, "r"))
        rows = [Row(r.name, end, r.end, r.owner, r.rights) if r.start <= start < r.end else r for r in rows]
    yield from (row for row in rows if row.start < row.end)


def _slack(rows: Sequence[Row], board: Board) -> Iterator[Row]:
    """Granted with the object, and so the object owner's, unless the bytes are another row's already."""
    for row in rows:
        end = slack_end(board, row.start, row.end)
        taken = any(other is not row and other.start < end and row.end < other.end for other in rows)
        if end > row.end and not taken:
            yield Row(f"slack:{row.name}", row.end, end, row.owner, row.rights)


def _window(
    image: Image, placement: Placement, board: Board, symbols: Mapping[str, int], everybody: Sequence[int]
) -> Iterator[Row]:
    """synth on RV32: the globals' window is the current owner's; what is kept of the others is the agent's."""
    if board.arch is not Arch.RV32 or placement.lowering is Lowering.WASM2C or not image.globals:
        return
    size = sum(8 if g.type in ("i64", "f64") else 4 for g in image.globals)
    start = _symbol(symbols, "rig_window")
    yield Row("window", start, start + size, None, dict.fromkeys(everybody, "rw"))


def _agent(placement: Placement, board: Board) -> Iterator[Row]:
    """The trusted base: nobody's but the agent's."""
    if board.roles is not None:
        yield Row("agent:text", *board.roles.agent_text, None, {})
        yield Row("agent:ram", *board.roles.agent_ram, None, {})
    for kind in (Placing.MAILBOX, Placing.PAD, Placing.AGENT):
        for placed in placement.all(kind):
            yield Row(placed.name, placed.start, placed.end, None, {})


def _symbol(symbols: Mapping[str, int], name: str) -> int:
    if name not in symbols:
        raise InfrastructureError(f"the placement lacks the symbol {name}, so nothing says where it lies")
    return symbols[name]
