# SPDX-License-Identifier: Apache-2.0
"""Function tables as synth lowers them on Arm (toolchain reference 4.2): data the embedder writes.

Entry *i* lies at R11 + 4·i, all tables one after the other; behind them one type id per entry, when types differ
(`.synth.table_type_ids`). R11 is memory 0's base for whoever uses memory 0; others read a copy of their own.
"""

from __future__ import annotations

from collections.abc import Mapping

from rig.errors import InfrastructureError, UsageError
from rig.image.model import Image, Owner, OwnerKind


def entries(image: Image) -> int:
    return sum(t.size for t in image.tables)


def table_bytes_bound(image: Image) -> int:
    """Bytes of entries and type ids (which synth may leave out)."""
    return 8 * entries(image)


def calls_indirectly(image: Image, owner: Owner) -> bool:
    return any(image.functions[f].indirect for f in owner.functions)


def uses_memory0(image: Image, owner: Owner) -> bool:
    """R11 must be memory 0's base: the owner's code may access memory 0."""
    own = owner.slice is not None and owner.slice.memory == 0
    return own or 0 in owner.memories or (image.model.shared and owner.kind is OwnerKind.COMPONENT)


def in_memory0(image: Image) -> bool:
    """Somebody reads the table from the first bytes of memory 0."""
    return entries(image) > 0 and any(calls_indirectly(image, o) and uses_memory0(image, o) for o in image.owners)


def own_copies(image: Image) -> bool:
    """Somebody reads the table from a copy on its own stack."""
    return entries(image) > 0 and any(calls_indirectly(image, o) and not uses_memory0(image, o) for o in image.owners)


def read_only(image: Image) -> bool:
    """Model 1: a component other than the owner of memory 0's first bytes calls indirectly, so the table must be
    readable for all and writable for none."""
    if not image.model.shared or not entries(image):
        return False
    first = first_owner(image)
    return any(calls_indirectly(image, o) and (first is None or o.index != first) for o in image.owners)


def first_owner(image: Image) -> int | None:
    """Owner whose slice holds offset 0 of memory 0."""
    return next((o.index for o in image.owners if o.slice and o.slice.memory == 0 and 0 in o.slice.span), None)


def contents(image: Image, symbols: Mapping[str, int], type_ids: bytes) -> bytes:
    """The table: addresses of `rig_fn_<n>` (0: empty entry), then the type ids as the object has them.

    Tables that nobody calls through stay empty: what they name may not have been emitted. InfrastructureError: an
    entry's function is not in the ELF, or the type ids are not those of this module.
    """
    slots: list[int | None] = [None] * entries(image)
    base, called = _bases(image), {t.index for t in image.tables if t.owners}
    for element in image.elements:
        if element.offset + len(element.functions) > image.tables[element.table].size:
            raise UsageError(f"{image.name}: an element segment ends beyond table {element.table}; rebuild it")
        for i, function in enumerate(element.functions):
            slots[base[element.table] + element.offset + i] = function
    _check_ids(image, slots, type_ids)
    words = []
    for table in image.tables:
        for slot in slots[base[table.index] : base[table.index] + table.size]:
            name = f"rig_fn_{slot}"
            if slot is not None and table.index in called and name not in symbols:
                raise InfrastructureError(f"the linked ELF lacks {name}, which function table {table.index} names")
            words.append(symbols[name] if slot is not None and table.index in called else 0)
    return b"".join(w.to_bytes(4, "little") for w in words) + type_ids


def _bases(image: Image) -> dict[int, int]:
    """Table → number of its first entry, all tables one after the other."""
    base, at = {}, 0
    for table in image.tables:
        base[table.index] = at
        at += table.size
    return base


def _check_ids(image: Image, slots: list[int | None], type_ids: bytes) -> None:
    """synth leaves the ids out when no table that is called through mixes types."""
    if not type_ids:
        base = _bases(image)
        for table in image.tables:
            inside = slots[base[table.index] : base[table.index] + table.size]
            types = {image.functions[f].type for f in inside if f is not None}
            if table.owners and len(types) > 1:
                raise InfrastructureError(f"function table {table.index} mixes {len(types)} types, but the object has "
                                          "no type ids")
        return
    if len(type_ids) != 4 * len(slots):
        raise InfrastructureError(f"the object has {len(type_ids)} bytes of table type ids, the module has "
                                  f"{len(slots)} table entries of 4")
    ids = [int.from_bytes(type_ids[i : i + 4], "little") for i in range(0, len(type_ids), 4)]
    known: dict[int, object] = {}
    for i, (slot, number) in enumerate(zip(slots, ids, strict=True)):
        wanted = None if slot is None else image.functions[slot].type
        if (number == 0) != (slot is None) or known.setdefault(number, wanted) != wanted:
            raise InfrastructureError(f"table entry {i}: the object's type id {number} does not fit the module's table")

