# SPDX-License-Identifier: Apache-2.0
"""A placement is legal for every strategy, or refused with arithmetic that a reader can check."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plan_images import PAGE, Build, Part, parts, rebacked

from rig.arch.cover import cover_pmp, cover_pmsav7
from rig.boards.load import load_board
from rig.boards.model import Board, Protection
from rig.errors import Refusal, UsageError
from rig.image.model import Image, Model
from rig.plan.model import BufferGrant, Kind, Lowering, PeripheralGrant, Placement
from rig.plan.place import PAD, linker_fragment, place

ARM, RV, SMALL = load_board("mps2-an386"), load_board("virt-rv32"), load_board("stm32g474")
SYNTH, MASK, WASM2C = Lowering.SYNTH, Lowering.SYNTH_MASK, Lowering.WASM2C


def refused(image: Image, board: Board, lowering: Lowering = SYNTH) -> str:
    with pytest.raises(Refusal) as caught:
        place(image, board, lowering)
    assert caught.value.reason == "does not fit"
    return caught.value.detail


def check_legal(placement: Placement, board: Board) -> None:
    """Disjoint where it must be, inside the RAM, each object expressible, pads at every bare edge."""
    assert board.roles is not None
    low, high = board.roles.shared_ram
    nested = (Kind.SLICE, Kind.TABLE)
    outer = [p for p in placement.objects if p.kind not in (*nested, Kind.PERIPHERAL) and p.start < p.region_end]
    assert outer == sorted(outer, key=lambda p: p.start)
    assert outer[0].kind is Kind.MAILBOX and outer[0].start == low
    assert outer[-1].kind is Kind.PAD and outer[-1].end <= high
    for a, b in pairwise(outer):
        assert a.region_end <= b.start, f"{a.name} and {b.name} overlap"
        if a.region_end < b.start:  # a gap: both edges carry a pad, or lie inside one
            assert a.kind is Kind.PAD or b.kind is Kind.PAD or b.start - a.region_end < 4
    for placed in placement.objects:
        assert placed.start <= placed.end <= placed.region_end
        if placed.kind in (Kind.MEMORY, Kind.STACK, Kind.SLICE, Kind.SHARED, Kind.TABLE, Kind.WINDOW, Kind.PERIPHERAL):
            if placed.start == placed.region_end:
                continue
            if board.protection is Protection.PMSAV7:
                assert len(cover_pmsav7(placed.start, placed.region_end)) <= 2
            else:
                assert cover_pmp(placed.start, placed.region_end, board.grain)
    slices = sorted(placement.all(Kind.SLICE), key=lambda p: p.start)
    for a, b in pairwise(slices):
        assert a.region_end <= b.start
    stacks = placement.all(Kind.STACK)
    assert all(a.end == b.start for a, b in pairwise(stacks)), "stacks are one block"
    if stacks:
        total = placement.stack_size * len(stacks)
        assert stacks[0].start % (1 << (total - 1).bit_length()) == 0
        assert placement.reserve % 16 == 0 and placement.reserve < placement.stack_size


def test_multi_memories_lie_big_first_and_side_by_side() -> None:
    found = place(Build(Model.MULTI, parts(1, 3, 1)).image(), ARM, SYNTH)
    check_legal(found, ARM)
    one, zero, two = (found.find(f"memory:{k}") for k in (1, 0, 2))
    assert (one.end, zero.end) == (zero.start, two.start)
    assert one.size == 3 * PAGE and one.start % (4 * PAGE) == 0
    assert [p.owner for p in (zero, one, two)] == [0, 1, 2]


def test_everything_is_surrounded_by_pads() -> None:
    found = place(Build(Model.MULTI, parts(1, 1)).image(), ARM, SYNTH)
    memories = found.all(Kind.MEMORY)
    pads = found.all(Kind.PAD)
    assert any(p.end == memories[0].start and p.size == PAD for p in pads)
    assert any(p.start == memories[-1].region_end and p.size >= PAD for p in pads)


def test_one_page_slices_become_one_region_each() -> None:
    image = Build(Model.PAGE, parts(1, 2, 3, 1)).image()
    found = place(image, ARM, SYNTH)
    check_legal(found, ARM)
    assert [(p.name, p.size // PAGE) for p in found.all(Kind.SLICE)] == [
        ("slice:0", 1), ("slice:1", 2), ("slice:2", 3), ("slice:3", 1),
    ]
    assert all(p.end == p.region_end for p in found.all(Kind.SLICE))


def test_a_promise_shrinks_memory_and_region() -> None:
    image = rebacked(Build(Model.MULTI, parts(1, 1)).image(), {0: 40 << 10, 1: 5000})
    found = place(image, ARM, SYNTH)
    check_legal(found, ARM)
    whole, odd = found.find("memory:0"), found.find("memory:1")
    assert (whole.size, whole.region_end - whole.end) == (40 << 10, 0)  # five of eight subregions
    assert (odd.size, odd.region_end - odd.start) == (5000, 5120)  # 8 KiB region, five subregions of 1 KiB
    on_pmp = place(image, RV, WASM2C).find("memory:1")
    assert on_pmp.region_end == on_pmp.end


def test_a_promise_in_a_shared_memory_leaves_the_rest_of_the_page_to_nobody() -> None:
    image = rebacked(Build(Model.PAGE, parts(1, 1)).image(), {0: 8 << 10})
    found = place(image, ARM, SYNTH)
    check_legal(found, ARM)
    assert found.find("slice:0").size == 8 << 10
    assert found.find("memory:0").size == 2 * PAGE


@pytest.mark.parametrize(("backed", "data"), [(1024, 64), (512, 0), (40, 0)])  # data ends at 1088, stack starts at 1024
def test_a_promise_below_data_or_stack_is_the_users_error(backed: int, data: int) -> None:
    image = Build(Model.MULTI, [Part("tiny", backed=backed, data=data), Part("other")]).image()
    with pytest.raises(UsageError, match=r"memory\.backed of tiny: .*promise at least 10"):
        place(image, ARM, SYNTH)


def test_packed_slices_cannot_be_carved_by_pmsav7_and_the_refusal_says_why() -> None:
    image = Build(Model.PACKED, parts(1056, 1056, 1056)).image()
    detail = refused(image, ARM)
    assert detail.startswith("the slice of c1 [1056,2112):")
    assert "no multiple of more than 0x20" in detail and "cannot be carved by PMSAv7" in detail
    check_legal(place(image, RV, WASM2C), RV)  # TOR has a grain of 4 bytes


def test_three_pages_do_not_fit_96_kib_and_the_sum_is_shown() -> None:
    detail = refused(Build(Model.MULTI, parts(1, 1, 1)).image(), SMALL)
    assert detail.startswith("3 × 65536 B memories + 3 × 8192 B stacks + 256 B mailbox + ")
    assert detail.endswith("but stm32g474 has 98304 B")
    summands, total = detail.split(", but ")[0].split(" = ")
    value = 0
    for term in summands.split(" + "):
        words = term.split()
        value += int(words[0]) * (int(words[2]) if words[1] == "×" else 1)
    assert value == int(total.removesuffix(" B")) > 98304


def test_small_promises_fit_the_same_part() -> None:
    image = rebacked(Build(Model.MULTI, parts(1, 1, 1)).image(), dict.fromkeys(range(3), 8 << 10))
    assert place(image, SMALL, SYNTH).all(Kind.MEMORY)[-1].region_end < 0x2001_8000


def test_function_table_gets_a_region_only_where_a_stranger_reads_it() -> None:
    def table(*indirect: int, model: Model = Model.PAGE, lowering: Lowering = SYNTH, board: Board = ARM) -> int:
        components = [Part(f"c{i}", indirect=i in indirect) for i in range(3)]
        return len(place(Build(model, components, tables=(4, 5)).image(), board, lowering).all(Kind.TABLE))

    assert table(1) == 1
    assert table(0) == table() == 0  # in its own slice, or nobody calls
    assert table(1, model=Model.MULTI) == 0  # a copy on its own stack
    assert table(1, lowering=WASM2C) == 0
    assert table(1, lowering=WASM2C, board=RV) == 0


def test_the_table_region_is_what_pmsav7_can_express() -> None:
    components = [Part("a"), Part("b", indirect=True)]
    image = Build(Model.PAGE, components, tables=(35,)).image()  # 280 bytes with type ids
    placed = place(image, ARM, SYNTH).find("table")
    assert placed.size == 320  # 512-byte region, five subregions of 64


def test_data_under_the_function_table_sends_the_image_to_wasm2c() -> None:
    image = Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(40,), stack=128).image()
    assert "takes the first 320 B of memory 0, and data lies at 128" in refused(image, ARM)
    check_legal(place(image, ARM, WASM2C), ARM)


def test_share_stack_has_one_shadow_stack_below_all_slices() -> None:
    found = place(Build(Model.STACK, parts(32, 32, 64)).image(), RV, MASK)
    check_legal(found, RV)
    shadow = found.find("slice:stack")
    assert (shadow.size, shadow.owner) == (1024, None)
    assert found.find("slice:0").start == shadow.end


def test_the_window_of_synth_on_rv32_is_alone_and_saved_by_the_agent() -> None:
    found = place(Build(Model.PACKED, parts(1056, 1056), globals=3).image(), RV, MASK)
    check_legal(found, RV)
    window = found.find("window")
    assert window.size == 4 + 4 + 8 + 4
    assert [p.name for p in found.all(Kind.AGENT)] == ["save:0", "save:1"]
    near = [p for p in found.objects if p.start < window.end + PAD and window.start - PAD < p.region_end]
    assert {p.kind for p in near} <= {Kind.PAD, Kind.WINDOW}
    assert not place(Build(Model.PACKED, parts(1056, 1056)).image(), RV, WASM2C).all(Kind.WINDOW)


def test_large_reserves_make_larger_stacks() -> None:
    image = Build(Model.MULTI, [Part("a"), Part("b", indirect=True)], tables=(700,), globals=40).image()
    found = place(image, ARM, SYNTH)
    check_legal(found, ARM)
    assert found.reserve >= 8 * 700 and found.stack_size == 16 << 10
    instances = place(image, RV, WASM2C)
    assert instances.reserve >= 16 * 700 and instances.stack_size == 16 << 10


def test_a_memory_without_pages_and_owners_without_memory() -> None:
    image = Build(Model.MULTI, [Part("empty", 0, data=0), Part("some"), Part("none", memory=False)], hosts=1).image()
    found = place(image, ARM, SYNTH)
    check_legal(found, ARM)
    assert found.find("memory:0").size == 0
    assert len(found.all(Kind.STACK)) == 4


def test_shared_buffers_and_peripherals() -> None:
    image = Build(Model.MULTI, parts(1, 1)).image()
    grants = [PeripheralGrant("spare", 0, 0x4000_5000, 0x1000), PeripheralGrant("spare", 1, 0x4000_5000, 0x1000, "r")]
    ring = BufferGrant("ring", 300, ((0, "rw"), (1, "r")))
    found = place(image, ARM, SYNTH, peripherals=grants, shared_buffers=[ring])
    check_legal(found, ARM)
    buffer = found.find("shared:ring")
    assert buffer.region_end - buffer.start == 320
    assert [(g.owner, g.name, g.rights) for g in found.grants] == [
        (0, "shared:ring", "rw"), (1, "shared:ring", "r"), (0, "peripheral:spare", "rw"), (1, "peripheral:spare", "r"),
    ]


@pytest.mark.parametrize(
    ("grant", "error", "words"),
    [
        (PeripheralGrant("p", 0, 0x4100_0000, 0x1000), UsageError, "is no peripheral of mps2-an386: timer0"),
        (PeripheralGrant("p", 0, 0x4000_4000, 0x1000), UsageError, "is the runtime's own: its console"),
        (PeripheralGrant("p", 9, 0x4000_5000, 0x1000), UsageError, "owner 9"),
        (PeripheralGrant("p", 0, 0x4000_5000, 0x1000, "x"), UsageError, "'r' or 'rw'"),
        (PeripheralGrant("p", 0, 0x4000_5004, 0x20), Refusal, "granule"),
    ],
)
def test_peripherals_that_cannot_be_granted(grant: PeripheralGrant, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        place(Build(Model.MULTI, parts(1, 1)).image(), ARM, SYNTH, peripherals=[grant])


def test_more_owners_than_the_runtime_has_room_for() -> None:
    image = Build(Model.MULTI, parts(*[1] * 49)).image()
    assert "49 owners, the reference runtime has room for 48" in refused(image, ARM)


def test_the_linker_fragment_has_every_absolute_symbol() -> None:
    found = place(Build(Model.MULTI, parts(1, 1)).image(), ARM, SYNTH)
    lines = linker_fragment(found).splitlines()
    assert "rig_mailbox = 0x21000000;" in lines
    assert f"rig_mem_1 = {found.find('memory:1').start:#010x};" in lines
    assert f"rig_stack_0_end = {found.find('stack:0').end:#010x};" in lines
    assert all(line.count("=") == 1 and line.endswith(";") for line in lines)


@st.composite
def builds(draw: st.DrawFn) -> Build:
    model = draw(st.sampled_from(list(Model)))
    count = draw(st.integers(1, 6))
    components = []
    for i in range(count):
        size = draw(st.integers(1, 9)) if model in (Model.MULTI, Model.PAGE, Model.DOMAINS) else (
            draw(st.integers(1100, 9000)) & ~15 if model is Model.PACKED else 32 * draw(st.integers(3, 60)))
        components.append(Part(f"c{i}", size, domain=draw(st.sampled_from("xyz")), indirect=draw(st.booleans())))
    pairs = [(a, b, draw(st.booleans())) for a in range(count) for b in range(count)
             if a != b and draw(st.integers(0, 9)) == 0] if model in (Model.MULTI, Model.DOMAINS) else []
    return Build(model, components, adapters=pairs[:6], hosts=draw(st.integers(0, 1)),
                 tables=draw(st.lists(st.integers(1, 20), max_size=2)), globals=draw(st.integers(0, 4)))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(builds(), st.sampled_from([(ARM, SYNTH), (ARM, WASM2C), (RV, WASM2C), (RV, MASK)]), st.data())
def test_any_placement_is_legal_or_refused_with_numbers(
    build: Build, on: tuple[Board, Lowering], data: st.DataObject
) -> None:
    board, lowering = on
    image = build.image()
    backed = {o.index: data.draw(st.integers(1200, 70_000)) for o in image.owners
              if o.slice is not None and data.draw(st.integers(0, 3)) == 0}
    image = rebacked(image, backed)
    try:
        check_legal(place(image, board, lowering), board)
    except Refusal as refusal:
        assert any(character.isdigit() for character in refusal.detail)
