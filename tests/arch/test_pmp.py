# SPDX-License-Identifier: Apache-2.0
"""PMP and Smepmp: registers round trip, one access equals the oracle, the whole map equals every single access."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import arch_examples
import arch_oracles as oracle
import pytest
from arch_samples import facts, pmp_context, pmp_disagreements
from hypothesis import given, settings
from hypothesis import strategies as st

from rig.arch import pmp
from rig.arch.pmp import Context, Entry, Mode
from rig.arch.types import Access, Intervals, Kind

RAM = 0x8000_0000
kinds, levels = st.sampled_from(list(Kind)), st.booleans()
contexts = st.integers(0, 2**32).map(lambda seed: pmp_context(Random(seed)))


# ---- registers


@given(st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_encode_and_decode_are_a_round_trip(cfg: int, addr: int) -> None:
    assert pmp.encode(pmp.decode(cfg, addr)) == (cfg & 0x9F, addr)


def test_napot_of_64_kib_is_the_word_of_the_specification() -> None:
    assert pmp.napot(RAM, 0x10000) == 0x2000_1FFF
    assert pmp.span(((0x18, 0x2000_1FFF),), 0, 0) == (RAM, RAM + 0x10000)


@given(st.integers(3, 31), st.integers(0, 2**20))
def test_napot_ranges_round_trip(log2: int, at: int) -> None:
    base = at << log2 & 0xFFFF_FFFF
    assert pmp.span(((0x18, pmp.napot(base, 1 << log2)),), 0, 0) == (base, base + (1 << log2))


@pytest.mark.parametrize(("base", "size"), [(RAM, 4), (RAM, 24), (RAM + 8, 16), (RAM, 0)])
def test_napot_refuses_what_it_cannot_say(base: int, size: int) -> None:
    with pytest.raises(ValueError, match="NAPOT"):
        pmp.napot(base, size)


@pytest.mark.parametrize(("start", "end"), [(RAM, RAM), (RAM + 4, RAM), (RAM + 2, RAM + 8), (RAM, RAM + 6), (-4, 4)])
def test_tor_refuses_what_it_cannot_say(start: int, end: int) -> None:
    with pytest.raises(ValueError, match="TOR"):
        pmp.tor(start, end)


@given(st.lists(st.integers(0, 255), max_size=20), st.sampled_from((32, 64)))
def test_cfg_words_pack_and_unpack(cfgs: list[int], xlen: int) -> None:
    words = pmp.pack_cfg(cfgs, xlen)
    assert pmp.unpack_cfg(words, len(cfgs), xlen) == tuple(cfgs)
    with pytest.raises(ValueError, match="hold"):
        pmp.unpack_cfg(words, len(words) * xlen // 8 + 1, xlen)


def test_entry_0_is_the_lowest_byte_of_the_first_word() -> None:
    assert pmp.pack_cfg((0x1B, 0x18, 0, 0x9F, 0x0B)) == (0x9F00_181B, 0x0B)


def test_low_address_bits_read_back_by_mode() -> None:
    assert [pmp.read_back(mode << 3, 0b1000, 3) for mode in Mode] == [0b1000, 0b1000, 0b1011, 0b1011]
    assert [pmp.read_back(mode << 3, 0b1111, 3) for mode in Mode] == [0b1000, 0b1000, 0b1111, 0b1111]
    assert pmp.read_back(0x18, 0b1000, 0) == pmp.read_back(0x18, 0b1000, 1) == 0b1000


# ---- matching


@pytest.mark.parametrize(("grain", "entries", "index", "wanted"), [
    (0, ((0, RAM >> 2), (0x08, RAM + 12 >> 2)), 1, (RAM, RAM + 12)),  # the entry below is OFF and still the bound
    (0, ((0x08, RAM >> 2),), 0, (0, RAM)),  # entry 0: from 0
    (0, ((0, RAM >> 2), (0x08, RAM >> 2)), 1, (0, 0)),  # lo == hi matches nothing
    (0, ((0, RAM + 4 >> 2), (0x08, RAM >> 2)), 1, (0, 0)),
    (0, ((0, 0), (0x08, 0x4000_0000)), 1, (0, 1 << 32)),  # one address bit more reaches the top
    (2, ((0, RAM + 12 >> 2), (0x08, RAM + 28 >> 2)), 1, (RAM, RAM + 16)),  # below the grain both bounds are cut
    (0, ((0x18, (1 << 32) - 1),), 0, (0, 1 << 35)),  # all ones: everything
    (2, ((0x18, RAM >> 2),), 0, (RAM, RAM + 16)),  # low bits read as ones: never below the grain
    (0, ((0x10, RAM >> 2),), 0, (RAM, RAM + 4)),
    (0, ((0x07, RAM >> 2),), 0, (0, 0)),  # OFF
])  # fmt: skip
def test_what_an_entry_matches(
    grain: int, entries: tuple[tuple[int, int], ...], index: int, wanted: tuple[int, int]
) -> None:
    assert pmp.span(entries, index, grain) == wanted


# ---- one access


@pytest.mark.parametrize("example", arch_examples.PMP, ids=lambda e: e.name)
def test_accesses_of_several_beats_and_kinds(example: arch_examples.Example) -> None:
    decision = pmp.decide(arch_examples.pmp_context(), example.access)
    assert facts(decision) == (example.allow, set(example.faults))
    assert all(s.clause and s.zero_ok == (s.first is not None) for s in decision.syndromes)


def test_without_pmp_all_is_allowed_and_with_it_u_needs_an_entry() -> None:
    assert pmp.decide(Context(32, 0, (), ()), Access(Kind.WRITE, RAM, 4, False)).allow is True
    off = Context(32, 0, (0,), (0,))
    assert pmp.decide(off, Access(Kind.WRITE, RAM, 4, False)).allow is False
    assert pmp.decide(off, Access(Kind.WRITE, RAM, 4, True)).allow is True


def test_split_reports_each_piece_that_may_be_the_failing_one() -> None:
    context = arch_examples.pmp_context(misaligned="split")
    end = arch_examples.PMP_END
    decision = pmp.decide(context, Access(Kind.READ, end - 2, 8, False))
    assert [(s.first, s.last) for s in decision.syndromes] == [(end, end), (end + 4, end + 4)]


def test_trap_comes_before_the_pmp() -> None:
    context = arch_examples.pmp_context(misaligned="trap")
    for kind, cause in ((Kind.EXECUTE, "0"), (Kind.READ, "4"), (Kind.WRITE, "6")):
        assert facts(pmp.decide(context, Access(kind, RAM + 1, 2, True))) == (False, {(cause, RAM + 1, RAM + 1)})


@pytest.mark.parametrize(("cfg", "grain", "rule"), [
    (0x1A, 0, "entry 0: R = 0, W = 1 is reserved while MML = 0"),
    (0x17, 1, "entry 0: NA4 is not selectable with grain 1"),
])  # fmt: skip
def test_reserved_settings_are_unknown_where_they_decide(cfg: int, grain: int, rule: str) -> None:
    context = Context(32, grain, (cfg,), (RAM >> 2,))
    decision = pmp.decide(context, Access(Kind.READ, RAM, 4, False))
    assert (decision.allow, decision.unpredictable) == (None, (rule,))
    assert pmp.decide(context, Access(Kind.READ, RAM + 8, 4, False)).allow is False
    assert pmp.unknown(context, False, Kind.READ, 4).overlaps(RAM - 3, RAM + 1)


def test_the_whole_smepmp_table() -> None:
    """16 × LRWX, two levels, three kinds with MML = 1, against the prose of the specification."""
    for lrwx, privileged, kind in product(range(16), (False, True), Kind):
        locked, r, w, x = (lrwx >> bit & 1 for bit in (3, 2, 1, 0))
        cfg = (locked << 7 | 0x18 | x << 2 | w << 1 | r,)
        access = Access(kind, RAM, 4, privileged)
        wanted = oracle.pmp(32, 0, cfg, (0x2000_1FFF,), 1, "whole", access)
        assert facts(pmp.decide(Context(32, 0, cfg, (0x2000_1FFF,), 1), access)) == wanted, (lrwx, privileged, kind)


@pytest.mark.parametrize(("kwargs", "says"), [
    ({"xlen": 48}, "xlen: 48"), ({"grain": -1}, "grain: -1"), ({"cfg": (0, 0)}, "2 cfg bytes, 1 addresses"),
    ({"cfg": (256,)}, r"cfg\[0\]: 0x100 does not fit 8 bits"), ({"addr": (1 << 32,)}, r"addr\[0\]: .* 32 bits"),
    ({"misaligned": "maybe"}, "misaligned: 'maybe'"), ({"cfg": (0,) * 65, "addr": (0,) * 65}, "at most 64"),
])  # fmt: skip
def test_impossible_registers_are_errors(kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Context(**{"xlen": 32, "grain": 0, "cfg": (0,), "addr": (0,), **kwargs})


def test_impossible_accesses_are_errors() -> None:
    with pytest.raises(ValueError, match=r"crosses 2\^32"):
        pmp.decide(Context(32, 0, (), ()), Access(Kind.READ, (1 << 32) - 2, 4, True))
    assert pmp.decide(Context(64, 0, (), ()), Access(Kind.READ, (1 << 32) - 2, 4, True)).allow is True
    with pytest.raises(ValueError, match="kind must be write"):
        Access(Kind.READ, RAM, 4, False, atomic=True)


def test_random_accesses_equal_the_oracle() -> None:
    assert list(pmp_disagreements(pmp, seed=1, contexts=1500, accesses=15)) == []


@pytest.mark.slow
def test_many_random_accesses_equal_the_oracle() -> None:
    assert list(pmp_disagreements(pmp, seed=2, contexts=5000, accesses=20)) == []


def test_two_windows_of_32_bytes_every_base_length_size_and_kind() -> None:
    """The riscv-tests sweep: every TOR range of two windows before an allow-all entry, every access near them."""
    compared, everything = 0, Entry(Mode.NAPOT, 0xFFFF_FFFF, r=True, w=True, x=True)
    for start, end in product(range(RAM, RAM + 64, 4), range(RAM + 4, RAM + 65, 4)):
        if start >= end:
            continue
        low, high = pmp.tor(start, end)
        entries = Entry(Mode.OFF, low), Entry(Mode.TOR, high, r=True), everything
        cfg, addr = zip(*map(pmp.encode, entries), strict=True)
        context = Context(32, 0, cfg, addr)
        for kind, size in product((Kind.READ, Kind.WRITE), (1, 2, 4, 8)):
            allowed = pmp.grants(context, False, kind, size)
            for address in range(RAM - 8, RAM + 72, 3 if size < 4 else 1):
                access = Access(kind, address, size, False)
                wanted = oracle.pmp(32, 0, cfg, addr, 0, "whole", access)
                assert pmp.decide(context, access).allow == wanted[0] == (address in allowed), (start, end, access)
                compared += 1
    assert compared == 136 * 2 * (27 + 27 + 80 + 80)


# ---- the whole map


@settings(max_examples=200, deadline=None)
@given(contexts, kinds, levels, st.sampled_from((1, 2, 4, 8)), st.lists(st.integers(0, 2**32 - 8), max_size=20))
def test_grants_equal_decide_at_every_edge_and_at_random(
    context: Context, kind: Kind, privileged: bool, size: int, points: list[int]
) -> None:
    allowed, open_ = (f(context, privileged, kind, size) for f in (pmp.grants, pmp.unknown))
    pairs = tuple(zip(context.cfg, context.addr, strict=True))
    edges = {edge for i in range(len(pairs)) for edge in pmp.span(pairs, i, context.grain)}
    edges |= {edge for spans in (allowed, open_) for span in spans for edge in span}
    near = {edge + d for edge in edges for d in range(-8, 9)}
    for address in [*points, *(n for n in near if 0 <= n <= (1 << context.xlen) - size)]:
        if context.misaligned == "trap" and address % size:
            continue
        answer = pmp.decide(context, Access(kind, address, size, privileged)).allow
        assert ((address in allowed), (address in open_)) == (answer is True, answer is None), hex(address)


@settings(max_examples=100, deadline=None)
@given(contexts, kinds, st.integers(0, 2**30), st.integers(0, 20))
def test_a_deny_entry_in_front_never_allows_u_more(context: Context, kind: Kind, word: int, ones: int) -> None:
    deny = Entry(Mode.NAPOT, word | (1 << ones) - 1)
    cfg, addr = pmp.encode(deny)
    if context.cfg and context.cfg[0] & 0x18 == 0x08:
        cfg, addr = 0x18, 0  # entry 0 as TOR takes its bound from the entry in front: keep it 0
    more = Context(context.xlen, context.grain, (cfg, *context.cfg), (addr, *context.addr), context.mseccfg)
    before = Context(context.xlen, context.grain, context.cfg, context.addr, context.mseccfg)
    if not context.cfg:
        return
    assert (pmp.grants(more, False, kind) - pmp.grants(before, False, kind)) == Intervals()
