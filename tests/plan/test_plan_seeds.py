# SPDX-License-Identifier: Apache-2.0
"""Seeds give every owner globals and tables of its own; spans fill what is left, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from plan_images import PAGE, UNARY, Build, Part, parts, rebacked, symbols

from rig.boards.load import load_board
from rig.boards.model import Board
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.image.model import Element, Global, Image, Model, Segment
from rig.plan.bind import bind
from rig.plan.globals import instance, table_bytes, table_size
from rig.plan.model import Kind, Lowering, Placement, Strategy
from rig.plan.place import TAIL, place
from rig.plan.seeds import CHUNK, Seed, seeds
from rig.plan.spans import CANARY, MOST, ZERO, Fill, spans, stream

ARM, RV = load_board("mps2-an386"), load_board("virt-rv32")
SYNTH, MASK, WASM2C = Lowering.SYNTH, Lowering.SYNTH_MASK, Lowering.WASM2C


def seeded(image: Image, board: Board, lowering: Lowering, type_ids: bytes = b"") -> tuple[Placement, dict[int, bytes]]:
    placement = place(image, board, lowering)
    table = symbols(image, placement, board)
    plan = bind(image, board, placement, Strategy.SWITCH, table)
    found: tuple[Seed, ...] = seeds(image, plan.placement, plan, table, type_ids)
    assert all(0 < len(data) <= CHUNK for _, data in found)
    joined: dict[int, bytes] = {}
    for at, data in found:
        last = next((start for start, old in joined.items() if start + len(old) == at), None)
        joined[at if last is None else last] = (b"" if last is None else joined[last]) + data
    return plan.placement, joined


def test_globals_are_dense_and_every_owner_has_its_own_copy() -> None:
    image = Build(Model.MULTI, parts(1, 1), adapters=[(0, 1, False)], globals=3).image()
    placement, found = seeded(image, ARM, SYNTH)
    assert table_size(image) == 4 + 4 + 4 + 8 + 4
    for owner in image.owners:
        at = placement.find(f"stack:{owner.index}").end - placement.reserve
        assert found[at] == bytes.fromhex("00040000 00040000 07000000 0800000000000000 09000000")


def test_shadow_stacks_start_in_their_own_slice() -> None:
    image = Build(Model.PAGE, parts(1, 2, 1)).image()
    starts = [int.from_bytes(table_bytes(image, o), "little") for o in image.owners]
    assert starts == [1024, PAGE + 1024, 3 * PAGE + 1024]
    placement, found = seeded(image, RV, WASM2C)
    offset = instance(image).globals[0]
    at = [placement.find(f"stack:{o}").end - placement.reserve + offset for o in (1, 2)]
    assert found == {at[0]: (PAGE + 1024).to_bytes(4, "little"), at[1]: (3 * PAGE + 1024).to_bytes(4, "little")}


def test_a_shared_stack_and_memories_of_ones_own_are_left_alone() -> None:
    for build, board, lowering in (
        (Build(Model.STACK, parts(32, 32)), RV, WASM2C), (Build(Model.MULTI, parts(1, 1)), RV, WASM2C),
    ):
        assert seeded(build.image(), board, lowering)[1] == {}
    stack = Build(Model.STACK, parts(32, 32)).image()
    assert [table_bytes(stack, o) for o in stack.owners] == [(1024).to_bytes(4, "little")] * 2


def test_in_domains_each_owner_is_moved_within_its_memory() -> None:
    members = [Part("a", domain="x"), Part("b", domain="x"), Part("c", domain="y"), Part("d", 2, domain="y")]
    image = Build(Model.DOMAINS, members).image()
    values = [int.from_bytes(table_bytes(image, o), "little") for o in image.owners]
    assert values == [1024, PAGE + 1024, 1024, PAGE + 1024]


def test_a_pointer_that_only_one_owner_uses_moves_only_there() -> None:
    image = Build(Model.PAGE, parts(1, 1)).image()
    only = replace(image, globals=(Global(0, "i32", True, 1024, 1, True), Global(1, "i32", True, 5, None, False)))
    assert [table_bytes(only, o) for o in only.owners] == [
        bytes.fromhex("0004000005000000"), bytes.fromhex("0004010005000000"),
    ]


def test_rv32_synth_keeps_the_globals_with_the_agent() -> None:
    placement, found = seeded(Build(Model.PACKED, parts(1056, 1056)).image(), RV, MASK)
    assert found == {
        placement.find("save:0").start: (1024).to_bytes(4, "little"),
        placement.find("save:1").start: (1056 + 1024).to_bytes(4, "little"),
    }


def test_function_tables() -> None:
    image = Build(Model.MULTI, [Part("a"), Part("b", indirect=True), Part("c", indirect=True)], tables=(3, 2)).image()
    placement, found = seeded(image, ARM, SYNTH)
    table = symbols(image, placement, ARM)
    words = [0, table["rig_fn_0"], table["rig_fn_1"], 0, table["rig_fn_0"]]
    expected = b"".join(w.to_bytes(4, "little") for w in words)
    for owner in (1, 2):
        stack = placement.find(f"stack:{owner}")
        globals_at = stack.end - placement.reserve
        assert found[globals_at][:12] == table_bytes(image, image.owners[owner])
        assert found[globals_at + 16] == expected
        assert globals_at + 16 + 2 * len(expected) + TAIL <= stack.end
    assert placement.find("memory:0").start not in found  # its owner calls nothing indirectly


def test_large_seeds_travel_in_chunks() -> None:
    image = Build(Model.MULTI, [Part("a"), Part("b", indirect=True)], tables=(1500,)).image()
    placement, found = seeded(image, ARM, SYNTH)
    stack = placement.find("stack:1")
    assert len(found[stack.end - placement.reserve]) == table_size(image) + 4 * 1500  # the table follows the globals


def test_a_table_in_memory_0_is_written_once() -> None:
    image = Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(4,)).image()
    ids = b"".join(i.to_bytes(4, "little") for i in (0, 7, 7, 7))
    placement, found = seeded(image, ARM, SYNTH, ids)
    data = found[placement.find("memory:0").start]
    assert data[16:] == ids and data[:4] == bytes(4) and data[4] & 1 == 1
    assert len(data) <= placement.find("table").size


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ((7, 7, 7, 7), "table entry 0: the object's type id 7 does not fit"),  # entry 0 is empty
        ((0, 7, 8, 0), "table entry 3: the object's type id 0 does not fit"),
        ((0, 7), "8 bytes of table type ids, the module has 4"),
    ],
)
def test_an_object_of_another_module_is_noticed(ids: tuple[int, ...], words: str) -> None:
    image = Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(4,)).image()
    with pytest.raises(InfrastructureError, match=words):
        seeded(image, ARM, SYNTH, b"".join(i.to_bytes(4, "little") for i in ids))


def test_types_that_differ_need_ids_and_elements_must_fit() -> None:
    image = Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(4,)).image()
    functions = list(image.functions)
    functions[1] = replace(functions[1], type=replace(functions[1].type, results=()))
    with pytest.raises(InfrastructureError, match="mixes 2 types"):
        seeded(replace(image, functions=tuple(functions)), ARM, SYNTH)
    with pytest.raises(UsageError, match="ends beyond table 0"):
        seeded(replace(image, elements=(Element(0, 3, (0, 1)),)), ARM, SYNTH)
    placement = place(image, ARM, SYNTH)
    table = symbols(image, placement, ARM)
    plan = bind(image, ARM, placement, Strategy.SWITCH, table)
    del table["rig_fn_1"]
    with pytest.raises(InfrastructureError, match="lacks rig_fn_1"):
        seeds(image, placement, plan, table)


def test_a_table_that_nobody_calls_through_stays_empty() -> None:
    """The fuser leaves tables behind whose functions nothing reaches, of other types, and the lowering drops them."""
    build = Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(4, 2))
    image = build.image()
    functions = (*image.functions, replace(image.functions[0], index=4, owner=None, type=replace(UNARY, params=())))
    idle = replace(image, functions=functions, tables=(image.tables[0], replace(image.tables[1], owners=())),
                   elements=(image.elements[0], Element(1, 0, (4,))))
    placement = place(idle, ARM, SYNTH)
    table = symbols(image, placement, ARM)
    plan = bind(idle, ARM, placement, Strategy.SWITCH, table)
    data = dict(seeds(idle, placement, plan, table))[placement.find("memory:0").start]
    assert data[4:16] != bytes(12) and data[16:] == bytes(8)


# -- spans --------------------------------------------------------------------------------------------------------


def filled(image: Image, board: Board = ARM, lowering: Lowering = SYNTH) -> tuple[Placement, tuple[Fill, ...]]:
    placement = place(image, board, lowering)
    return placement, spans(image, placement, 7)


def canaries(fills: tuple[Fill, ...]) -> list[Fill]:
    return [f for f in fills if f.kind == CANARY]


@pytest.mark.parametrize("model", list(Model))
def test_zeroes_cover_all_that_is_placed_and_canaries_touch_no_data(model: Model) -> None:
    size = 1 if model in (Model.MULTI, Model.PAGE, Model.DOMAINS) else 2048
    components = [Part("a", size, domain="x"), Part("b", size, indirect=True, domain="y")]
    image = Build(model, components, tables=(4,), hosts=1).image()
    placement, fills = filled(image, RV, WASM2C)
    assert all(f.address % 4 == 0 and f.length % 4 == 0 and f.length > 0 for f in fills)
    zeroes = [f for f in fills if f.kind == ZERO]
    assert fills[: len(zeroes)] == tuple(zeroes) and all(f.seed == 0 for f in zeroes)
    for placed in placement.objects:
        if placed.kind in (Kind.MEMORY, Kind.STACK, Kind.PAD):
            assert any(f.address <= placed.start and placed.region_end <= f.end for f in zeroes)
    assert not any(f.address < placement.find("mailbox").end for f in fills)
    ordered = sorted(canaries(fills), key=lambda f: f.address)
    assert all(a.end <= b.address for a, b in pairwise(ordered))
    assert len({f.seed for f in ordered}) == len(ordered) and all(f.seed for f in ordered)
    for segment in image.segments:
        base = placement.find(f"memory:{segment.memory}").start + segment.offset
        assert not any(f.address < base + len(segment.data) and base < f.end for f in ordered)
    for owner in image.owners:
        assert any(f.owner == owner.index and f.name.startswith("stack") for f in ordered)


def test_canaries_lie_below_the_data_above_it_and_in_idle_stack() -> None:
    image = Build(Model.MULTI, parts(1, 1)).image()
    placement, fills = filled(image)
    base = placement.find("memory:1").start
    mine = [(f.name, f.address - base, f.length) for f in canaries(fills) if f.owner == 1 and f.name == "memory:1"]
    assert mine == [("memory:1", 0, 1024), ("memory:1", 4096, PAGE - 4096)]
    stack = placement.find("stack:1")
    lower = next(f for f in fills if f.name == "stack:1")
    assert (lower.address, lower.length) == (stack.start, placement.stack_size // 2)
    tail = next(f for f in fills if f.name == "globals:1")
    assert (tail.end, tail.length) == (stack.end, TAIL)


def test_the_function_table_and_the_promise_bound_the_canaries() -> None:
    image = Build(Model.MULTI, [Part("a", indirect=True), Part("b")], tables=(8,)).image()
    image = rebacked(image, {0: 6000})
    placement, fills = filled(image)
    base = placement.find("memory:0").start
    mine = [(f.address - base, f.end - base) for f in canaries(fills) if f.owner == 0 and f.name == "memory:0"]
    assert mine == [(64, 1024), (1088, 6000)]


def test_a_memory_without_data_and_pointer_is_canary_all_over() -> None:
    image = Build(Model.MULTI, [Part("a", data=0), Part("b")]).image()
    bare = replace(image, globals=())
    placement, fills = filled(bare)
    base = placement.find("memory:0").start
    assert [(f.address - base, f.length) for f in canaries(fills) if f.name == "memory:0"] == [(0, PAGE)]


def test_data_up_to_the_end_leaves_only_the_idle_stack() -> None:
    image = Build(Model.MULTI, parts(1)).image()
    full = replace(image, segments=(Segment(0, 1024, bytes(PAGE - 1024)),))
    _, fills = filled(full)
    assert [f.length for f in canaries(fills) if f.name == "memory:0"] == [1024]


def test_seeds_of_canaries_follow_the_nonce() -> None:
    image = Build(Model.MULTI, parts(1, 1)).image()
    placement = place(image, ARM, SYNTH)
    one, again, other = (spans(image, placement, n) for n in (1, 1, 2))
    assert one == again
    assert not {f.seed for f in canaries(one)} & {f.seed for f in canaries(other)}


def test_the_stream_is_the_agents() -> None:
    x, expected = 1, b""
    for _ in range(4):
        x ^= (x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x ^= (x << 5) & 0xFFFFFFFF
        expected += x.to_bytes(4, "little")
    assert stream(1, 4) == expected and stream(1, 4)[:4] == (270369).to_bytes(4, "little")


def test_spans_for_the_most_owners_fit_the_agent() -> None:
    image = Build(Model.MULTI, [Part(f"c{i}", data=0) for i in range(48)]).image()
    image = rebacked(image, dict.fromkeys(range(48), 4096))
    _, fills = filled(image)
    assert len(fills) <= MOST
    placement = place(image, ARM, SYNTH)
    many = replace(placement, objects=placement.objects + placement.all(Kind.PAD) * 60)
    with pytest.raises(Refusal, match="room for 256"):
        spans(image, many, 1)
