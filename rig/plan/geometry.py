# SPDX-License-Identifier: Apache-2.0
"""What regions of a board can express: where a range must start, where its region ends, how many regions it takes."""

from __future__ import annotations

from rig.arch import pmp
from rig.arch.cover import AlignOk, Cover, cover_end, cover_pmp, cover_pmsav7
from rig.boards.model import Board, Protection


def power(size: int) -> int:
    """The smallest power of two >= size (and >= 1)."""
    return 1 << max(0, size - 1).bit_length()


def up(value: int, step: int) -> int:
    return -(-value // step) * step


def alignment(board: Board, size: int) -> int:
    """Where an object of `size` bytes must start so that one region covers it with the least slack.

    PMSAv7: the region's own size. PMP: that too for powers of two (one NAPOT entry), else 4 KiB (a TOR pair).
    """
    whole = max(power(size), board.region_min, 32)
    return whole if board.protection is Protection.PMSAV7 or whole == size else 4096


def granted_end(board: Board, start: int, end: int, limit: int) -> int:
    """Where the bytes end that regions over [start, end) grant; at most `limit`. ValueError with the arithmetic.

    In order of preference: exactly `end` with one region, some slack with one region, exactly `end` with two.
    """
    if board.protection is Protection.PMP:
        unit = pmp.granule(board.grain)
        found = up(end, unit)
        cover_pmp(start, found, board.grain)
        if found > limit:
            raise ValueError(f"[{start:#x}, {end:#x}): PMP with grain {board.grain} rounds the end up by "
                             f"{found - end} B, into what lies at {limit:#x}")
        return found
    exact: tuple[Cover, ...] = ()
    reason = ""
    try:
        exact = cover_pmsav7(start, end, align_ok=_usable(board))
    except ValueError as error:
        reason = str(error)
    if len(exact) == 1:
        return end
    try:
        found = cover_end(cover_pmsav7(start, end, align_ok=_usable(board), slack_up=True))
    except ValueError as error:
        reason = reason or str(error)
    else:
        if found <= limit:
            return found
    if exact:
        return end
    raise ValueError(reason)


def covers(board: Board, start: int, end: int) -> tuple[Cover, ...]:
    """The PMSAv7 regions that grant exactly [start, end). ValueError with the arithmetic."""
    return cover_pmsav7(start, end, align_ok=_usable(board))


def _usable(board: Board) -> AlignOk:
    return lambda base, size: size >= board.region_min
