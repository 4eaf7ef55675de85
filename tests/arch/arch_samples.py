# SPDX-License-Identifier: Apache-2.0
"""Seeded random contexts, dense enough that regions overlap, and a comparison of `rig.arch` with the oracles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from types import ModuleType

import arch_examples as examples
import arch_oracles as oracle

from rig.arch import pmp, pmsav7
from rig.arch.types import Access, Decision, Kind

_ARM_BASES = (0x2000_0000, 0x3FFF_FC00, 0x5FFF_FC00, 0x9FFF_FE00, 0xDFFF_FC00, 0xE000_E000, 0xE00F_FC00, 0xFFFF_F800, 0)


def arm_context(rng: Random) -> pmsav7.Context:
    """1 to 8 regions within 2 KiB (one in ten: anywhere, any size up to 4 GiB), settings mostly well formed."""
    window, regions = rng.choice(_ARM_BASES), []
    for number in range(rng.randint(1, 8)):
        log2 = rng.randint(5, 11) if rng.random() < 0.9 else rng.randint(2, 32)
        size = 1 << log2
        base = (window + rng.randrange(0, 2048, 32)) & 0xFFFF_FFE0
        if rng.random() < 0.99:
            base &= -size
        ap = rng.choice((0, 1, 2, 3, 3, 5, 6, 7)) if rng.random() < 0.98 else 4
        srd = rng.randrange(256) if (size >= 256 or rng.random() < 0.01) and rng.random() < 0.6 else 0
        xn, enabled = rng.random() < 0.5, rng.random() < 0.9
        regions.append(pmsav7.encode(pmsav7.Region(number, base, size, ap, xn, srd, enabled=enabled)))
    return pmsav7.Context(0x800, rng.choice((5, 5, 5, 5, 5, 1, 1, 1, 1, 7, 7, 3, 3, 0, 4, 2)), tuple(regions))


def arm_access(rng: Random, context: pmsav7.Context) -> Access:
    kind, size = rng.choice(list(Kind)), rng.choice((1, 2, 4, 4, 8))
    region = rng.choice(context.fields)
    edges = [region.base, region.end, region.base + region.size // 8 * rng.randint(0, 8), *_ARM_BASES]
    near = rng.choice(edges[:3]) if rng.random() < 0.95 else rng.choice(edges)
    address = near + rng.randint(-12, 12) if rng.random() < 0.8 else near + rng.randrange(2048)
    address = min(max(0, address), 2**32 - size)
    return Access(kind, address, size, rng.random() < 0.5, hardfault=rng.random() < 0.1)


def pmp_context(rng: Random) -> pmp.Context:
    xlen, grain = rng.choice((32, 32, 64)), rng.choice((0, 0, 0, 1, 2, 3))
    base, cfgs, addrs = rng.choice((0x8000_0000, 0, 2**32 - 128)), [], []
    mseccfg = rng.choice((0, 0, 0, 1, 2, 3, 7))
    for _ in range(rng.choice((0, 1, 2, 3, 4, 8, 16))):
        cfg = rng.randrange(256)
        if not mseccfg & 1 and cfg & 3 == 2 and rng.random() < 0.95:
            cfg |= 1
        if cfg & 0x18 == 0x10 and grain and rng.random() < 0.95:
            cfg |= 0x08
        addr = (base + rng.randrange(0, 132, 4)) >> 2
        if rng.random() < 0.5:
            ones = rng.randrange(6)
            addr = addr >> ones + 1 << ones + 1 | (1 << ones) - 1
        if rng.random() < 0.03:
            addr = (1 << (32 if xlen == 32 else 54)) - 1
        cfgs.append(cfg)
        addrs.append(addr)
    return pmp.Context(xlen, grain, tuple(cfgs), tuple(addrs), mseccfg, rng.choice(("whole", "whole", "split", "trap")))


def pmp_access(rng: Random, context: pmp.Context) -> Access:
    size = rng.choice((1, 2, 4, 4, 8))
    near = rng.choice(context.addr) << 2 if context.addr else 0
    address = min(max(0, near + rng.randint(-40, 40)), (1 << context.xlen) - size)
    return Access(rng.choice(list(Kind)), address, size, rng.random() < 0.4)


def facts(decision: Decision) -> oracle.Answer:
    return decision.allow, {(s.cause, s.first, s.last) for s in decision.syndromes}


def _wrong_examples(
    decide: Callable[..., Decision], context: object, cases: Sequence[examples.Example]
) -> Iterator[str]:
    for case in cases:
        got = facts(decide(context, case.access))
        if got != (case.allow, set(case.faults)):
            yield f"{case.name}: {got}, expected {case.allow} {sorted(case.faults, key=str)}"


def arm_disagreements(model: ModuleType, seed: int, contexts: int, accesses: int) -> Iterator[str]:
    """Where `model` (rig.arch.pmsav7 or a mutant of it) differs from the oracle, in `decide` or in `grants`."""
    yield from _wrong_examples(model.decide, examples.arm_context(model), examples.ARM)
    rng = Random(seed)
    for _ in range(contexts):
        c = arm_context(rng)
        context = model.Context(c.type, c.ctrl, c.regions)
        for _ in range(accesses):
            a = arm_access(rng, c)
            wanted = oracle.arm(c.ctrl, c.regions, a)
            got = facts(model.decide(context, a))
            if got != wanted:
                yield f"decide {c} {a}: {got}, oracle {wanted}"
            args = (context, a.privileged, a.kind, a.size, a.hardfault)
            sets = a.address in model.grants(*args), a.address in model.unknown(*args)
            if sets != (wanted[0] is True, wanted[0] is None):
                yield f"grants, unknown {c} {a}: {sets}, oracle {wanted[0]}"


def pmp_disagreements(model: ModuleType, seed: int, contexts: int, accesses: int) -> Iterator[str]:
    yield from _wrong_examples(model.decide, examples.pmp_context(model), examples.PMP)
    rng = Random(seed)
    for _ in range(contexts):
        c = pmp_context(rng)
        context = model.Context(c.xlen, c.grain, c.cfg, c.addr, c.mseccfg, c.misaligned)
        for _ in range(accesses):
            a = pmp_access(rng, c)
            wanted = oracle.pmp(c.xlen, c.grain, c.cfg, c.addr, c.mseccfg, c.misaligned, a)
            got = facts(model.decide(context, a))
            if got != wanted:
                yield f"decide {c} {a}: {got}, oracle {wanted}"
            if c.misaligned == "trap" and a.address % a.size:
                continue  # traps before the PMP is asked; not a member of what the PMP grants
            args = (context, a.privileged, a.kind, a.size)
            sets = a.address in model.grants(*args), a.address in model.unknown(*args)
            if sets != (wanted[0] is True, wanted[0] is None):
                yield f"grants, unknown {c} {a}: {sets}, oracle {wanted[0]}"
