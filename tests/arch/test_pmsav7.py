# SPDX-License-Identifier: Apache-2.0
"""PMSAv7: registers round trip, one access equals the oracle, the whole map equals every single access."""

from __future__ import annotations

from itertools import product

import arch_examples
import arch_oracles as oracle
import pytest
from arch_samples import arm_disagreements, facts
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.arch import pmsav7
from rig.arch.pmsav7 import Context, Region
from rig.arch.types import SPACE32, Access, Intervals, Kind, Unpredictable

RAM = 0x2000_0000
kinds, levels = st.sampled_from(list(Kind)), st.booleans()


@st.composite
def regions(draw: st.DrawFn, number: int = 0) -> Region:
    """Well-formed regions, mostly within a few KiB so that they overlap."""
    log2 = draw(st.integers(5, 12) | st.sampled_from((29, 31, 32)))
    window = draw(st.sampled_from((RAM, 0x5FFF_F000, 0xDFFF_F000, 0xE000_E000, 0xE00F_F000, 0xFFFF_E000)))
    base = window + draw(st.integers(0, 255)) * 32 & -(1 << log2) & 0xFFFF_FFFF
    srd = draw(st.integers(0, 255)) if log2 >= 8 else 0
    ap = draw(st.sampled_from(sorted(pmsav7.ACCESS_PERMISSIONS)))
    enabled = draw(levels) or draw(levels)
    return Region(number, base, 1 << log2, ap, draw(levels), srd, draw(st.integers(0, 63)), enabled)


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    chosen = [draw(regions(i)) for i in range(draw(st.integers(0, 16)))]
    return Context(16 << 8, draw(st.sampled_from((0, 1, 5, 5, 7))), tuple(map(pmsav7.encode, chosen)))


# ---- registers


@given(regions())
def test_encode_and_decode_are_a_round_trip(region: Region) -> None:
    assert pmsav7.decode(region.number, *pmsav7.encode(region)) == region
    assert pmsav7.decode(region.number, *pmsav7.read_back(0, *pmsav7.encode(region))) == region


def test_a_64_kib_read_write_region_has_the_words_the_manual_gives() -> None:
    """SIZE = 15 for 64 KiB (DDI0403E.e table B3-…: 2^(SIZE+1)); a SIZE of 16 would be 128 KiB."""
    region = Region(3, 0x2000_0000, 0x10000, ap=0b011, xn=True, tex_scb=0b000_110)
    assert pmsav7.encode(region) == (0x2000_0013, 0x1306_001F)
    assert pmsav7.read_back(3, 0x2000_0013, 0x1306_001F) == (0x2000_0003, 0x1306_001F)
    assert pmsav7.disabled(3) == (0x13, 0)


def test_regions_above_15_are_selected_through_rnr() -> None:
    assert pmsav7.encode(Region(17, RAM, 32))[0] == RAM


@pytest.mark.parametrize(("region", "rule"), [
    (Region(1, RAM, 16), "size 16 B is below 32 B"),
    (Region(1, RAM + 32, 64), "not a multiple of its size"),
    (Region(1, RAM, 128, srd=1), "below 256 B"),
])  # fmt: skip
def test_an_unpredictable_region_is_a_value_and_makes_every_access_unknown(region: Region, rule: str) -> None:
    found = pmsav7.decode(1, *pmsav7.encode(region))
    assert isinstance(found, Unpredictable)
    assert rule in found.rule
    context = Context(0x800, 5, (pmsav7.disabled(0), pmsav7.encode(region)))
    decision = pmsav7.decide(context, Access(Kind.READ, 0x1000_0000, 4, True))
    assert (decision.allow, decision.unpredictable) == (None, (f"region 1: {found.rule}",))
    assert pmsav7.grants(context, True, Kind.READ) == Intervals()
    assert pmsav7.unknown(context, True, Kind.READ, 4) == Intervals.of((0, SPACE32 - 3))
    off = Context(0x800, 4, context.regions)
    assert pmsav7.decide(off, Access(Kind.READ, 0x1000_0000, 4, True)).allow is True
    disabled = pmsav7.encode(Region(1, region.base, region.size, srd=region.srd, enabled=False))
    assert pmsav7.decide(Context(0x800, 5, (disabled,)), Access(Kind.READ, RAM, 4, True)).allow is True


def test_the_reserved_ap_matters_only_where_it_decides() -> None:
    context = Context(0x800, 5, tuple(map(pmsav7.encode, (
        Region(0, RAM, 512, ap=4), Region(1, RAM, 256, ap=3)))))  # fmt: skip
    assert pmsav7.decide(context, Access(Kind.READ, RAM + 252, 4, False)).allow is True
    unclear = pmsav7.decide(context, Access(Kind.READ, RAM + 254, 4, False))
    assert (unclear.allow, unclear.unpredictable) == (None, ("region 0: AP = 100 is reserved",))
    assert pmsav7.unknown(context, False, Kind.READ, 4) == Intervals.of((RAM + 253, RAM + 512))


def test_hfnmiena_without_enable_is_unpredictable() -> None:
    decision = pmsav7.decide(Context(0x800, 2, ()), Access(Kind.READ, RAM, 4, True))
    assert decision.unpredictable == ("MPU_CTRL: ENABLE = 0 with HFNMIENA = 1",)


@pytest.mark.parametrize("bad", [
    Region(256, RAM, 32), Region(0, RAM + 4, 32), Region(0, SPACE32, 32), Region(0, RAM, 48), Region(0, RAM, 1),
    Region(0, RAM, 1 << 33), Region(0, RAM, 32, ap=8), Region(0, RAM, 32, srd=256), Region(0, RAM, 32, tex_scb=64),
])  # fmt: skip
def test_what_does_not_fit_a_register_is_an_error(bad: Region) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pmsav7.encode(bad)


def test_impossible_questions_are_errors() -> None:
    with pytest.raises(ValueError, match="9 given, but MPU_TYPE 0x800 says 8"):
        Context(0x800, 5, ((0, 0),) * 9)
    with pytest.raises(ValueError, match=r"crosses 2\^32"):
        pmsav7.decide(Context(0x800, 5, ()), Access(Kind.READ, SPACE32 - 2, 4, True))
    for address, size, words in ((-1, 4, 1), (0, 0, 1), (0, 4, 0)):
        with pytest.raises(ValueError, match="the address must be >= 0"):
            Access(Kind.READ, address, size, True, words=words)


# ---- one access


@pytest.mark.parametrize("example", arch_examples.ARM, ids=lambda e: e.name)
def test_accesses_of_several_beats_and_kinds(example: arch_examples.Example) -> None:
    decision = pmsav7.decide(arch_examples.arm_context(), example.access)
    assert facts(decision) == (example.allow, set(example.faults))
    assert all(s.clause for s in decision.syndromes)


def test_random_accesses_equal_the_oracle() -> None:
    assert list(arm_disagreements(pmsav7, seed=1, contexts=1000, accesses=15)) == []


@pytest.mark.slow
def test_many_random_accesses_equal_the_oracle() -> None:
    assert list(arm_disagreements(pmsav7, seed=2, contexts=3000, accesses=20)) == []


def test_every_subregion_mask_at_every_address_equals_the_oracle() -> None:
    """All 256 SRD masks of a 256 B region over a background region, every address of the window ± 32, bytewise."""
    base = RAM + 1024
    window = range(base - 32, base + 256 + 32)
    below = pmsav7.encode(Region(0, RAM, 2048, ap=2))
    for srd in range(256):
        regions_ = below, pmsav7.encode(Region(1, base, 256, ap=0, srd=srd))
        context = Context(0x800, 1, regions_)
        allowed = pmsav7.grants(context, False, Kind.READ)
        for address in window if srd % 16 == 5 else window[::8]:
            access = Access(Kind.READ, address, 1, False)
            assert facts(pmsav7.decide(context, access)) == oracle.arm(1, regions_, access)
            assert (address in allowed) == oracle.arm(1, regions_, access)[0]


def test_two_windows_of_32_bytes_every_base_size_kind_and_level() -> None:
    """The riscv-tests sweep in PMSAv7's units: two regions, every pair of rights, every width at every edge."""
    compared = 0
    for (low, high), xn in product(product(sorted(pmsav7.ACCESS_PERMISSIONS), repeat=2), (False, True)):
        pair = pmsav7.encode(Region(0, RAM, 64, low, xn)), pmsav7.encode(Region(1, RAM + 32, 32, high, not xn))
        context = Context(0x800, 1, pair)
        for kind, privileged, size in product(Kind, (False, True), (1, 2, 4, 8)):
            for address in (*range(RAM - 8, RAM + 1), *range(RAM + 24, RAM + 40), *range(RAM + 56, RAM + 65)):
                access = Access(kind, address, size, privileged)
                assert facts(pmsav7.decide(context, access)) == oracle.arm(1, pair, access), (pair, access)
                compared += 1
    assert compared == 49 * 2 * 24 * 34


# ---- the whole map


@settings(max_examples=150, deadline=None)
@given(contexts(), kinds, levels, st.sampled_from((1, 2, 4, 8)), st.lists(st.integers(0, SPACE32 - 8), max_size=20))
def test_grants_equal_decide_at_every_edge_and_at_random(
    context: Context, kind: Kind, privileged: bool, size: int, points: list[int]
) -> None:
    allowed, open_ = (f(context, privileged, kind, size) for f in (pmsav7.grants, pmsav7.unknown))
    edges = {edge for spans in (allowed, open_) for span in spans for edge in span}
    edges |= {r.base + i * r.size // 8 for r in context.fields if r.enabled for i in range(9)}
    near = {edge + d for edge in edges for d in range(-8, 9)}
    for address in [*points, *(n for n in near if 0 <= n <= SPACE32 - size)]:
        answer = pmsav7.decide(context, Access(kind, address, size, privileged)).allow
        assert ((address in allowed), (address in open_)) == (answer is True, answer is None), hex(address)


@settings(max_examples=60, deadline=None)
@given(contexts(), kinds, levels)
def test_nothing_that_crosses_the_end_of_the_space_is_granted(context: Context, kind: Kind, privileged: bool) -> None:
    assert not pmsav7.grants(context, privileged, kind, 4).overlaps(SPACE32 - 3, SPACE32)


@settings(max_examples=60, deadline=None)
@given(contexts(), regions(16), kinds, levels)
def test_a_deny_region_on_top_never_allows_more(context: Context, deny: Region, kind: Kind, privileged: bool) -> None:
    on_top = pmsav7.encode(Region(16, deny.base, deny.size, 0, srd=deny.srd))
    padding = ((0, 0),) * (16 - len(context.regions))
    more = Context(17 << 8, context.ctrl, (*context.regions, *padding, on_top))
    before, after = (pmsav7.grants(c, privileged, kind) for c in (context, more))
    assert (after - before).size == 0
