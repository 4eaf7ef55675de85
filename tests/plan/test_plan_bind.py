# SPDX-License-Identifier: Apache-2.0
"""Contexts: what each owner's registers grant is what the manifest says, byte for byte over 4 GiB, or it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from plan_images import PAGE, Build, Part, parts, rebacked, registers, symbols

from rig.arch import pmsav7
from rig.arch.types import Kind
from rig.boards.load import load_board
from rig.boards.model import Board
from rig.errors import InfrastructureError, Refusal
from rig.image.model import FuncType, Image, ListArg, Model
from rig.plan.bind import ONE_ELEMENT, bind, check
from rig.plan.manifest import Manifest, manifest, slack_end
from rig.plan.model import BufferGrant, Lowering, PeripheralGrant, Placement, Plan, Strategy
from rig.plan.place import place
from rig.plan.structure import compare, granted

ARM, ARM16, M3 = load_board("mps2-an386"), load_board("mps2-an386-16r"), load_board("mps2-an385")
RV = load_board("virt-rv32")
SYNTH, MASK, WASM2C = Lowering.SYNTH, Lowering.SYNTH_MASK, Lowering.WASM2C
SWITCH, STATIC = Strategy.SWITCH, Strategy.STATIC


def bound(image: Image, board: Board, lowering: Lowering, strategy: Strategy = SWITCH,
          placement: Placement | None = None) -> tuple[Plan, Manifest]:
    placement = placement or place(image, board, lowering)
    table = symbols(image, placement, board)
    plan = bind(image, board, placement, strategy, table)
    return plan, manifest(image, plan.placement, board)


def assert_equal(plan: Plan, truth: Manifest, board: Board) -> None:
    for context in plan.contexts:
        assert compare(registers(context, board), truth, context.owner) == ()


SHAPES = [
    Build(Model.MULTI, parts(1, 3, 1), adapters=[(0, 1, True), (1, 2, False)], hosts=1),
    Build(Model.MULTI, [Part("a"), Part("b", 2, indirect=True), Part("c", memory=False)], tables=(5,), globals=2),
    Build(Model.PAGE, parts(1, 2, 3, 1, 1, 5, 1)),
    Build(Model.PAGE, [Part("a"), Part("b", indirect=True)], tables=(4, 9)),
    Build(Model.DOMAINS, [Part("a", domain="plant"), Part("b", 2, domain="plant"), Part("g", domain="guest")],
          adapters=[(1, 2, True)]),
    Build(Model.STACK, parts(32, 64, 32)),
    Build(Model.PAGE, parts(1, 1, 1), shared_context=((0, 2),)),
    Build(Model.MULTI, parts(9, 1)),
    Build(Model.MULTI, parts(1, 1), adapters=[(0, 1, True)], hosts=1, shared_context=((2, 3),)),
]


@pytest.mark.parametrize("build", SHAPES, ids=lambda b: f"{b.model.value}-{len(b.parts)}")
@pytest.mark.parametrize(("board", "lowering"), [(ARM, SYNTH), (ARM, WASM2C), (RV, WASM2C), (RV, MASK)],
                         ids=["arm-synth", "arm-wasm2c", "rv-wasm2c", "rv-mask"])
def test_registers_grant_exactly_the_manifest(build: Build, board: Board, lowering: Lowering) -> None:
    image = build.image()
    try:
        plan, truth = bound(image, board, lowering)
    except Refusal as refusal:
        assert build.model is Model.STACK and "cannot be carved" in refusal.detail
        return
    assert_equal(plan, truth, board)
    assert plan.regions_used <= plan.regions_available == board.regions
    for context in plan.contexts:
        slots = len(context.arm) or len(context.pmpcfg)
        assert slots == board.regions, "unused slots are written too"


def test_packed_slices_are_exact_on_a_pmp() -> None:
    plan, truth = bound(Build(Model.PACKED, parts(1056, 2112, 1056, 4000)).image(), RV, WASM2C)
    assert_equal(plan, truth, RV)
    assert plan.slack == ()


def test_nothing_of_another_owner_is_granted() -> None:
    image = SHAPES[0].image()
    plan, _ = bound(image, ARM, SYNTH)
    mine = {o: granted(registers(plan.context(o), ARM), Kind.WRITE) for o in range(3)}
    for o in range(3):
        for other in range(3):
            placed = plan.placement.find(f"memory:{other}")
            assert mine[o].overlaps(placed.start, placed.end) == (o == other)
    adapter = registers(plan.context(3), ARM)
    source, target = plan.placement.find("memory:0"), plan.placement.find("memory:1")
    assert granted(adapter, Kind.READ).covers(source.start, source.end)
    assert not granted(adapter, Kind.WRITE).overlaps(source.start, source.end)  # memory.copy only reads its source
    assert granted(adapter, Kind.WRITE).covers(target.start, target.end)
    assert not granted(registers(plan.context(4), ARM), Kind.READ).overlaps(source.start, source.end)


def test_slack_is_granted_with_its_object_and_stated() -> None:
    image = rebacked(Build(Model.MULTI, parts(1, 1), adapters=[(0, 1, True)]).image(), {0: 5000})
    plan, truth = bound(image, ARM, SYNTH)
    assert_equal(plan, truth, ARM)
    placed = plan.placement.find("memory:0")
    assert [(s.owner, s.what, s.end - s.start) for s in plan.slack] == [(0, "memory:0", 120), (2, "memory:0", 120)]
    assert truth.name_of(placed.end) == "slack:memory:0" and truth.owner_of(placed.end) == 0
    assert truth.granted(0, Kind.WRITE).covers(placed.end, placed.region_end)
    assert not truth.granted(1, Kind.READ).overlaps(placed.end, placed.region_end)


def test_a_domain_shares_its_memory_and_nothing_else() -> None:
    plan, truth = bound(SHAPES[4].image(), ARM, SYNTH)
    plant, guest = plan.placement.find("memory:0"), plan.placement.find("memory:1")
    for owner, inside, outside in ((0, plant, guest), (1, plant, guest), (2, guest, plant)):
        got = granted(registers(plan.context(owner), ARM), Kind.WRITE)
        assert got.covers(inside.start, inside.end) and not got.overlaps(outside.start, outside.end)
    assert truth.owner_of(plant.start) is None


def test_owners_that_cannot_be_separated_have_each_others_data_but_own_stacks() -> None:
    plan, _ = bound(SHAPES[6].image(), ARM, SYNTH)
    spans = [plan.placement.find(f"slice:{i}") for i in range(3)]
    got = [granted(registers(plan.context(i), ARM), Kind.WRITE) for i in range(3)]
    assert [[g.covers(s.start, s.end) for s in spans] for g in got] == [
        [True, False, True], [False, True, False], [True, False, True],
    ]
    stacks = [plan.placement.find(f"stack:{i}") for i in range(3)]
    assert not got[0].overlaps(stacks[2].start, stacks[2].end)


def test_the_function_table_is_read_only_for_everybody() -> None:
    image = SHAPES[3].image()
    plan, truth = bound(image, ARM, SYNTH)
    table = plan.placement.find("table")
    for context in plan.contexts:
        words = registers(context, ARM)
        assert granted(words, Kind.READ).covers(table.start, table.end)
        assert not granted(words, Kind.WRITE).overlaps(table.start, table.end)
        assert context.r11 == table.start == plan.placement.find("memory:0").start
    assert granted(registers(plan.context(0), ARM), Kind.WRITE).covers(table.end, table.start + PAGE)
    assert {r.name for r in truth.rows} >= {"table"}


def test_base_registers() -> None:
    image = SHAPES[1].image()
    plan, _ = bound(image, ARM, SYNTH)
    memory = plan.placement.find("memory:0")
    zero, one, none = plan.contexts
    assert zero.r11 == memory.start and zero.r10 == PAGE
    for context in plan.contexts:
        assert context.r9 == context.sp == context.stack_low + plan.placement.stack_size - plan.placement.reserve
        assert context.r11 != 0 and context.instance == 0
    assert one.stack_low < one.r11 < one.stack_low + plan.placement.stack_size  # its own copy of the table
    assert none.control == 1 and none.ctrl == 5
    wasm2c, _ = bound(image, ARM, WASM2C)
    assert all(c.instance == c.sp and c.r9 == c.r10 == c.r11 == 0 for c in wasm2c.contexts)


def test_rv32_synth_has_the_window_and_s11() -> None:
    plan, _ = bound(Build(Model.PACKED, parts(1056, 1056), globals=1).image(), RV, MASK)
    window = plan.placement.find("window")
    base = plan.placement.find("memory:0").start
    for context in plan.contexts:
        assert (context.r11, context.r9, context.control, context.ctrl) == (base, 0, 0, 0)
        assert context.window_save == plan.placement.find(f"save:{context.owner}").start
        assert granted(registers(context, RV), Kind.WRITE).covers(window.start, window.end)
        assert not granted(registers(context, RV), Kind.READ).overlaps(context.window_save, context.window_save + 4)


def test_static_gives_everybody_everything_and_one_region_to_all_stacks() -> None:
    image = SHAPES[0].image()
    plan, _ = bound(image, ARM, SYNTH, STATIC)
    assert [r.what for r in plan.context(0).regions] == ["code", "stacks", "memory:1", "memory:0", "memory:2"]
    assert len({c.arm for c in plan.contexts}) == 1
    got = granted(registers(plan.context(4), ARM), Kind.WRITE)
    for placed in plan.placement.objects:
        if placed.name.startswith(("memory", "stack")):
            assert got.covers(placed.start, placed.end)
    assert len({c.sp for c in plan.contexts}) == len(plan.contexts)


def test_static_that_does_not_fit_is_refused_with_the_sum() -> None:
    image = Build(Model.MULTI, parts(*[1] * 7)).image()
    placement = place(image, ARM, SYNTH)
    with pytest.raises(Refusal) as caught:
        bind(image, ARM, placement, STATIC, symbols(image, placement, ARM))
    assert caught.value.detail == (
        "the static map: code 1 + stacks 1 + memory:0 1 + memory:1 1 + memory:2 1 + memory:3 1 + memory:4 1 + "
        "memory:5 1 + memory:6 1 = 9 regions needed, 8 available on mps2-an386"
    )
    with pytest.raises(Refusal):
        check(image, ARM, placement, STATIC)
    check(image, ARM, placement, SWITCH)
    wide = place(image, ARM16, SYNTH)
    assert bind(image, ARM16, wide, STATIC, symbols(image, wide, ARM16)).regions_used == 9


def test_peripherals_and_buffers_reach_only_their_owners() -> None:
    image = Build(Model.MULTI, parts(1, 1, 1)).image()
    uart1 = ("uart1", 0x4000_5000, 0x1000)
    peripherals = [PeripheralGrant(uart1[0], o, *uart1[1:], rights) for o, rights in ((0, "rw"), (1, "r"))]
    buffers = [BufferGrant("ring", 300, ((0, "rw"), (2, "r")))]
    placement = place(image, ARM, SYNTH, peripherals=peripherals, shared_buffers=buffers)
    table = symbols(image, placement, ARM)
    plan = bind(image, ARM, placement, SWITCH, table)
    truth = manifest(image, plan.placement, ARM)
    assert_equal(plan, truth, ARM)
    device = 0x4000_5000
    rights = [(granted(registers(c, ARM), Kind.READ).covers(device, device + 0x1000),
               granted(registers(c, ARM), Kind.WRITE).overlaps(device, device + 0x1000)) for c in plan.contexts]
    assert rights == [(True, True), (True, False), (False, False)]
    slot = next(r.slot for r in plan.context(0).regions if r.what == "peripheral:uart1")
    assert pmsav7.fields(slot, *plan.context(0).arm[slot]).tex_scb == 0b000_101  # shared device
    assert truth.owner_of(device) is None
    without = manifest(image, replace(plan.placement, grants=()), ARM)
    assert "peripheral:uart1" in " ".join(compare(registers(plan.context(0), ARM), without, 0))


def test_seams_carry_target_words_and_checks() -> None:
    kind = FuncType(("i32", "i32", "i64", "i32"), ("i64",))
    lists = (ListArg(0, 1, 4, 4, 0, False), ListArg(3, -1, 12, 4, 0, False))
    image = Build(Model.MULTI, parts(2, 1), adapters=[(0, 1, True)], seam_type=kind, lists=lists).image()
    plan, _ = bound(image, ARM, SYNTH)
    seam = plan.seams[0]
    assert (seam.caller, seam.callee, seam.target & 1) == (0, 2, 1)
    assert (seam.reg_words, seam.stack_words, seam.result_words, seam.instance_first) == (4, 1, 2, False)
    assert [(c.pointer, c.length, c.element_size, c.low, c.high) for c in seam.checks] == [
        (0, 1, 4, 0, 2 * PAGE), (4, ONE_ELEMENT, 12, 0, 2 * PAGE),
    ]
    other, _ = bound(image, RV, WASM2C)
    seam = other.seams[0]
    assert (seam.reg_words, seam.stack_words, seam.target & 1, seam.instance_first) == (6, 0, 0, True)
    assert [c.pointer for c in seam.checks] == [1, 5]


def test_list_bounds_in_model_1_are_the_callers_slice_or_its_groups() -> None:
    lists = (ListArg(0, 0, 1, 1, 0, False),)
    alone = Build(Model.PAGE, parts(1, 1, 1), lists=lists).image()
    seam = replace(alone.seams[0], caller=1, callee=2)
    plan, _ = bound(replace(alone, seams=(seam,)), ARM, SYNTH)
    assert (plan.seams[0].checks[0].low, plan.seams[0].checks[0].high) == (PAGE, 2 * PAGE)
    joined = replace(alone, seams=(seam,), shared_context=((0, 1),))
    plan, _ = bound(joined, ARM, SYNTH)
    assert (plan.seams[0].checks[0].low, plan.seams[0].checks[0].high) == (0, 2 * PAGE)


def test_a_seam_whose_callee_was_dropped_is_unknown_to_the_gate() -> None:
    image = Build(Model.MULTI, parts(1, 1), adapters=[(0, 1, False)]).image()
    placement = place(image, ARM, SYNTH)
    table = symbols(image, placement, ARM)
    del table[f"rig_fn_{image.seams[1].target}"]
    assert [s.index for s in bind(image, ARM, placement, SWITCH, table).seams] == [0]


def test_an_elf_that_is_not_this_placements() -> None:
    image = Build(Model.MULTI, parts(1, 1)).image()
    placement = place(image, ARM, SYNTH)
    good = symbols(image, placement, ARM)
    for change, words in (
        ({"__unpriv_end": 0x30_0000}, "lies outside"),
        ({"rig_mem_1": 0x2100_0000}, "do not belong together"),
    ):
        with pytest.raises(InfrastructureError, match=words):
            bind(image, ARM, placement, SWITCH, good | change)
    for missing in ("__unpriv_start", "__unpriv_end"):
        with pytest.raises(InfrastructureError, match=missing):
            bind(image, ARM, placement, SWITCH, {k: v for k, v in good.items() if k != missing})
    with pytest.raises(InfrastructureError, match="rig_stack_0"):
        manifest(image, replace(placement, symbols=placement.symbols[:1]), ARM)


def test_code_that_no_region_can_express_is_refused() -> None:
    image = Build(Model.MULTI, parts(1)).image()
    placement = place(image, ARM, SYNTH)
    with pytest.raises(Refusal, match="code"):
        bind(image, ARM, placement, SWITCH, symbols(image, placement, ARM, code=0x4ABC))


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 65536, 65536), (0, 40 << 10, 40 << 10), (0, 5000, 5120), (0, 33, 64), (65536, 215_536, 229_376),
     (0x20, 0x21, 0x40), (1056, 2112, 2112)],
)  # fmt: skip
def test_the_manifests_own_rule_of_rounding(start: int, end: int, expected: int) -> None:
    assert slack_end(ARM, start, end) == expected
    assert slack_end(RV, start, end) == -(-end // 4) * 4


@st.composite
def cases(draw: st.DrawFn) -> tuple[Image, Board, Lowering]:
    board, lowering = draw(st.sampled_from([(ARM, SYNTH), (M3, WASM2C), (ARM16, SYNTH), (RV, WASM2C), (RV, MASK)]))
    model = draw(st.sampled_from(list(Model)))
    count = draw(st.integers(1, 7))
    components = []
    for i in range(count):
        size = draw(st.integers(1, 12)) if model in (Model.MULTI, Model.PAGE, Model.DOMAINS) else (
            draw(st.integers(1100, 9000)) & ~15 if model is Model.PACKED else 32 * draw(st.integers(3, 60)))
        components.append(Part(f"c{i}", size, domain=draw(st.sampled_from("xyz")), indirect=draw(st.booleans()),
                               memory=i == 0 or draw(st.integers(0, 9)) > 0))
    copied = [i for i in range(count) if components[i].memory]
    pairs = [(a, b, a in copied and b in copied and draw(st.booleans())) for a in range(count) for b in range(count)
             if a != b and draw(st.integers(0, 9)) == 0] if model in (Model.MULTI, Model.DOMAINS) else []
    group = draw(st.lists(st.integers(0, count - 1), max_size=3, unique=True))
    image = Build(model, components, adapters=pairs[:8], hosts=draw(st.integers(0, 2)),
                  tables=draw(st.lists(st.integers(1, 60), max_size=2)), globals=draw(st.integers(0, 4)),
                  shared_context=(tuple(sorted(group)),) if len(group) > 1 else ()).image()
    backed = {o.index: draw(st.integers(1200, 200_000)) for o in image.owners
              if o.slice is not None and draw(st.integers(0, 2)) == 0}
    return rebacked(image, backed), board, lowering


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(cases())
def test_any_plan_that_is_not_refused_grants_exactly_the_manifest(case: tuple[Image, Board, Lowering]) -> None:
    image, board, lowering = case
    try:
        plan, truth = bound(image, board, lowering)
    except Refusal as refusal:
        assert any(c.isdigit() for c in refusal.detail)
        assume(False)
        return
    assert_equal(plan, truth, board)
    for entry in plan.slack:
        for kind in (Kind.READ, Kind.WRITE):
            region = granted(registers(plan.context(entry.owner), board), kind)
            if region.overlaps(entry.start, entry.end):
                assert truth.granted(entry.owner, kind).covers(entry.start, entry.end)
