# SPDX-License-Identifier: Apache-2.0
"""From the ranges a context needs to the words of all its slots; unused slots are always written, disabled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rig.arch import pmp, pmsav7
from rig.arch.cover import Cover, cover_pmp
from rig.boards.model import Board, Protection
from rig.errors import Refusal
from rig.plan.geometry import covers
from rig.plan.model import RegionPlan

# Privileged code keeps read and write everywhere, as it has outside all regions (PRIVDEFENA): the agent plants and
# restores bytes in code and tables.
AP = {"rw": 0b011, "r": 0b010, "rx": 0b010, "rwx": 0b011}
DEVICE = 0b000_101  # RASR[21:16]: TEX 0, S 1, C 0, B 1, shared device
NORMAL = 0b000_110


@dataclass(frozen=True, slots=True)
class Want:
    """Exactly [start, end) with these unprivileged rights. Later wants win where they overlap on PMSAv7."""

    what: str
    start: int
    end: int
    rights: str  # "r" | "rw" | "rx"
    device: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    regions: tuple[RegionPlan, ...]
    arm: tuple[tuple[int, int], ...]
    pmpcfg: tuple[int, ...]
    pmpaddr: tuple[int, ...]
    used: int


def encode(wants: Sequence[Want], board: Board, who: str) -> Encoded:
    """Refusal ("does not fit") with the arithmetic when ranges cannot be expressed or too many regions are needed."""
    made = _arm(wants, board, who) if board.protection is Protection.PMSAV7 else _pmp(wants, board, who)
    if made.used > board.regions:
        counted: dict[str, int] = {}
        ends = [*(r.slot for r in made.regions[1:]), made.used]
        for region, end in zip(made.regions, ends, strict=True):
            counted[region.what] = counted.get(region.what, 0) + end - region.slot
        unit = "regions" if board.protection is Protection.PMSAV7 else "PMP entries"
        bill = " + ".join(f"{what} {n}" for what, n in counted.items())
        raise Refusal("does not fit", f"{who}: {bill} = {made.used} {unit} needed, {board.regions} available "
                      f"on {board.name}")
    return made


def _arm(wants: Sequence[Want], board: Board, who: str) -> Encoded:
    regions: list[RegionPlan] = []
    words: list[tuple[int, int]] = []
    for want in wants:
        try:
            found = covers(board, want.start, want.end)
        except ValueError as error:
            raise Refusal("does not fit", f"{who}, {want.what}: {error}") from None
        for cover in found:
            number = len(words)
            low, high = _extent(cover)
            regions.append(RegionPlan(number, want.what, low, high, want.rights))
            words.append(pmsav7.encode(pmsav7.Region(
                number, cover.base, cover.size, ap=AP[want.rights], xn="x" not in want.rights, srd=cover.srd,
                tex_scb=DEVICE if want.device else NORMAL)))
    used = len(words)
    words += [pmsav7.disabled(n) for n in range(used, board.regions)]
    return Encoded(tuple(regions), tuple(words), (), (), used)


def _extent(cover: Cover) -> tuple[int, int]:
    """The one contiguous range a cover grants."""
    (span,) = pmsav7.matched(pmsav7.Region(0, cover.base, cover.size, srd=cover.srd))
    return span


def _pmp(wants: Sequence[Want], board: Board, who: str) -> Encoded:
    regions: list[RegionPlan] = []
    cfg: list[int] = []
    addr: list[int] = []
    for want in wants:
        try:
            found = cover_pmp(want.start, want.end, board.grain)
        except ValueError as error:
            raise Refusal("does not fit", f"{who}, {want.what}: {error}") from None
        regions.append(RegionPlan(len(cfg), want.what, want.start, want.end, want.rights))
        for entry in found:
            live = entry.mode is not pmp.Mode.OFF
            byte, word = pmp.encode(pmp.Entry(entry.mode, entry.addr, live, live and "w" in want.rights,
                                              live and "x" in want.rights))
            cfg.append(byte)
            addr.append(word)
    used = len(cfg)
    rest = max(0, board.regions - used)
    return Encoded(tuple(regions), (), tuple(cfg + [0] * rest), tuple(addr + [0] * rest), used)
