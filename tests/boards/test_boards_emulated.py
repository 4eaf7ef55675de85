# SPDX-License-Identifier: Apache-2.0
"""What a board file says of an emulated machine is what the emulator itself has: banks, holes, devices."""

from __future__ import annotations

import re

import pytest

from rig.boards.load import list_boards, load_board
from rig.boards.model import Bank, Board
from rig.host import tools

pytestmark = pytest.mark.emulator
LINE = re.compile(r"^\s+([0-9a-f]{16})-([0-9a-f]{16}) \(prio (-?\d+), ([\w/]+)\): (\S+)", re.MULTILINE)
EMULATED = [name for name in list_boards() if load_board(name).qemu is not None]


def memory_map(board: Board) -> list[tuple[int, int, str, bool]]:
    """(start, end, kind, real) of everything the CPU sees; not real: a placeholder that only logs accesses."""
    assert board.qemu is not None
    words = ["-M", board.qemu.machine, *(("-cpu", board.qemu.cpu) if board.qemu.cpu else ()), *board.qemu.args]
    words += ["-S", "-display", "none", "-serial", "null", "-monitor", "stdio"]
    done = tools.run(
        tools.find(f"qemu-system-{board.qemu.system}"), words, input=b"info mtree -f\nquit\n", timeout=60
    ).out
    views = done.split("FlatView #")
    view = next(v for v in views if '"cpu-memory-0"' in v)
    return [(int(a, 16), int(b, 16) + 1, kind, int(prio) > -1000) for a, b, prio, kind, _ in LINE.findall(view)]


def covered(bank: Bank, pieces: list[tuple[int, int]]) -> bool:
    at = bank.start
    for start, end in sorted(pieces):
        if start <= at < end:
            at = end
    return at >= bank.end


@pytest.mark.parametrize("name", EMULATED)
def test_banks_are_as_the_emulator_has_them(name: str) -> None:
    board = load_board(name)
    seen = memory_map(board)
    assert len(seen) > 10
    for bank in board.banks:
        inside = [(a, b, kind, real) for a, b, kind, real in seen if a < bank.end and bank.start < b]
        if bank.kind == "hole":
            assert not inside, f"{bank.name}: something answers there: {inside}"
        elif bank.kind in ("ram", "rom"):
            assert covered(bank, [(a, b) for a, b, kind, _ in inside if kind == bank.kind]), bank.name
        else:
            assert any(kind == "i/o" and real for _, _, kind, real in inside), f"{bank.name}: no device there"


def test_a_wrong_bank_would_be_seen() -> None:
    seen = memory_map(load_board("mps2-an386"))
    beyond = Bank("psram", 0x2100_0000, 0x0200_0000, "ram")  # twice its size
    assert not covered(beyond, [(a, b) for a, b, kind, _ in seen if kind == "ram"])
    assert any(a < 0x4000_6000 and b > 0x4000_5000 for a, b, _, _ in seen)  # a hole at uart1 would not pass
