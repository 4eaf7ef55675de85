# SPDX-License-Identifier: Apache-2.0
"""A second opinion on PMSAv7 and PMP, written from the specifications byte by byte and bit by bit.

It shares no line with `rig.arch` but the shape of an access. Slow on purpose: no intervals, no tables, no caches;
matching is done with masks as hardware does it, the MML rules are the prose of Smepmp and not its table.
Answers: (verdict, faults) where verdict is True, False or None (not defined) and faults is a set of
(cause, first, last) for a plain access.
"""

from __future__ import annotations

from rig.arch.types import Access, Kind

Answer = tuple[bool | None, set[tuple[str, int | None, int | None]]]


# ---- PMSAv7 -------------------------------------------------------------------------------------------------------


def arm(ctrl: int, regions: tuple[tuple[int, int], ...], access: Access) -> Answer:
    enable, hfnmiena = ctrl & 1, ctrl >> 1 & 1
    if hfnmiena and not enable:
        return None, set()
    on = bool(enable) and (hfnmiena == 1 or not access.hardfault)
    if on:
        for rbar, rasr in regions:
            if rasr & 1:
                log2 = (rasr >> 1 & 31) + 1
                if log2 < 5 or (rbar & ~31) % 2**log2 or (rasr & 0xFF00 and log2 < 8):
                    return None, set()
    causes = [_arm_byte(ctrl, regions, access, access.address + i, on) for i in range(access.size)]
    if "?" in causes:
        return None, set()
    bad = {cause for cause in causes if cause}
    if not bad:
        return True, set()
    if access.kind is Kind.EXECUTE:
        return False, {("IACCVIOL", None, None)}
    last = access.address if access.address % access.size == 0 else access.address + access.size - 1
    return False, {(cause, access.address, last) for cause in bad}


def _arm_byte(ctrl: int, regions: tuple[tuple[int, int], ...], access: Access, a: int, on: bool) -> str:
    fetch, write = access.kind is Kind.EXECUTE, access.kind is Kind.WRITE
    deny = "IACCVIOL" if fetch else "DACCVIOL"
    if fetch and a >> 29 == 7:
        return deny
    if not fetch and a >> 20 == 0xE00:
        return "" if access.privileged else "PRECISERR"
    default = deny if fetch and (a >> 29 == 2 or a >> 29 in (5, 6)) else ""
    if not on:
        return default
    winner = None
    for number, (rbar, rasr) in enumerate(regions):  # the last one that matches stays
        if not rasr & 1:
            continue
        log2 = (rasr >> 1 & 31) + 1
        if a >> log2 != (rbar & ~31) >> log2:
            continue
        if log2 >= 8 and rasr >> 8 >> (a >> log2 - 3 & 7) & 1:
            continue
        winner = number
    if winner is None:
        return default if access.privileged and ctrl & 4 else deny
    rasr = regions[winner][1]
    ap, xn = rasr >> 24 & 7, rasr >> 28 & 1
    if ap == 4:
        return "?"
    if ap == 0:
        return deny
    if not access.privileged and ap in (1, 5):
        return deny
    if write and (ap in (5, 6, 7) or (ap == 2 and not access.privileged)):
        return deny
    return deny if fetch and xn else ""


# ---- PMP ----------------------------------------------------------------------------------------------------------


def pmp(xlen: int, grain: int, cfg: tuple[int, ...], addr: tuple[int, ...], mseccfg: int, misaligned: str,
        access: Access) -> Answer:
    a, n = access.address, access.size
    load, store = access.kind is Kind.READ, access.kind is Kind.WRITE
    if misaligned == "trap" and a % n:
        return False, {("4" if load else "6" if store else "0", a, a)}
    cause = "5" if load else "7" if store else "1"
    if misaligned == "split":
        # bytes in one aligned word are never told apart, so byte by byte is piece by piece; the pieces start where
        # the access starts and at every address that is as aligned as the bytes left allow
        starts, at = [], a
        while at < a + n:
            starts.append(at)
            at += next(step for step in (4, 2, 1) if at % step == 0 and at + step <= a + n)
        verdicts = [_pmp_once(grain, cfg, addr, mseccfg, access, s, e - s)
                    for s, e in zip(starts, [*starts[1:], a + n], strict=True)]
        if None in verdicts:
            return None, set()
        return all(verdicts), {(cause, s, s) for s, allowed in zip(starts, verdicts, strict=True) if not allowed}
    verdict = _pmp_once(grain, cfg, addr, mseccfg, access, a, n)
    if verdict is not False:
        return verdict, set()
    last = a
    if a % n or n * 8 > xlen:  # may be cut anywhere: any byte from which a cut-off tail is still refused
        last = max(s for s in range(a, a + n) if _pmp_once(grain, cfg, addr, mseccfg, access, s, a + n - s) is not True)
    return False, {(cause, a, last)}


def _entry_has(grain: int, cfg: tuple[int, ...], addr: tuple[int, ...], i: int, byte: int) -> bool:
    y, mode = byte >> 2, cfg[i] >> 3 & 3
    if mode == 0:
        return False
    if mode == 1:
        low = addr[i - 1] if i else 0
        return low >> grain <= y >> grain < addr[i] >> grain
    if mode == 2:
        return y == addr[i]
    mask, bit = addr[i], 0
    if grain >= 2:
        mask |= (1 << grain - 1) - 1
    while mask >> bit & 1:
        bit += 1
    return y >> bit + 1 == addr[i] >> bit + 1


def _pmp_once(grain: int, cfg: tuple[int, ...], addr: tuple[int, ...], mseccfg: int, access: Access, a: int,
              n: int) -> bool | None:
    mml, mmwp, m = mseccfg & 1, mseccfg & 2, access.privileged
    if not cfg:
        return True
    for i, byte in enumerate(cfg):
        hits = [_entry_has(grain, cfg, addr, i, a + k) for k in range(n)]
        if not any(hits):
            continue
        r, w, x, locked = byte & 1, byte >> 1 & 1, byte >> 2 & 1, byte >> 7
        if (byte >> 3 & 3 == 2 and grain) or (w and not r and not mml):
            return None
        if not all(hits):
            return False
        if not mml:
            if m and not locked:
                return True
        elif w and not r:  # shared between M and U
            if locked:
                r, w, x = (1 if m and x else 0), 0, 1
            else:
                r, w, x = 1, 1 if m or x else 0, 0
        elif r and w and x and locked:
            r, w, x = 1, 0, 0
        elif m != bool(locked):  # a rule for the other side
            return False
        return bool({Kind.READ: r, Kind.WRITE: w, Kind.EXECUTE: x}[access.kind])
    if not m or mmwp:
        return False
    return not (mml and access.kind is Kind.EXECUTE)
