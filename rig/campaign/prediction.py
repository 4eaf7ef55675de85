# SPDX-License-Identifier: Apache-2.0
"""Both halves of a prediction: the manifest says *whether* a program must be stopped, `rig.arch` on the registers as
read back says *how* that shows. Neither looks at the plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from rig.arch import pmp, pmsav7
from rig.arch.types import Access, Decision, Intervals
from rig.boards.model import Board, Protection
from rig.faults.model import FaultProgram
from rig.faults.setting import Rights
from rig.inject.model import Disarm, Leg, ReadBack
from rig.judging.case import SweepPrediction, combined

Registers: TypeAlias = pmsav7.Context | pmp.Context


def registers(board: Board, words: tuple[int, ...]) -> Registers:
    """The protection registers as read back (docs/internals.md, READBACK), as `rig.arch` takes them."""
    if board.protection is Protection.PMSAV7:
        pairs = tuple(zip(words[2::2], words[3::2], strict=True))
        return pmsav7.Context(type=words[0], ctrl=words[1], regions=pairs)
    count = words[1]
    packed = (count + 3) // 4
    cfg = tuple(words[2 + i // 4] >> 8 * (i % 4) & 0xFF for i in range(count))
    return pmp.Context(
        xlen=32, grain=board.grain, cfg=cfg, addr=words[2 + packed : 2 + packed + count], mseccfg=words[0]
    )


def live_checksum(board: Board, words: tuple[int, ...]) -> int:
    """What the agent computes at every entry (docs/internals.md, "Live checksum"), from the words as read back."""
    if board.protection is Protection.PMSAV7:
        order = [words[1], *(w & ~0x1F if i % 2 == 0 else w for i, w in enumerate(words[2:]))]
    else:
        order = [words[0], *words[2:]]
    h = 0
    for word in order:
        h = ((h << 5 | h >> 27) & 0xFFFFFFFF) ^ word
    return h


def _decide(context: Registers, access: Access) -> Decision:
    return pmsav7.decide(context, access) if isinstance(context, pmsav7.Context) else pmp.decide(context, access)


def _grants(context: Registers, access: Access) -> Intervals:
    if isinstance(context, pmsav7.Context):
        return pmsav7.grants(context, access.privileged, access.kind, access.size)
    return pmp.grants(context, access.privileged, access.kind, access.size)


def _unknown(context: Registers, access: Access) -> Intervals:
    if isinstance(context, pmsav7.Context):
        return pmsav7.unknown(context, access.privileged, access.kind, access.size)
    return pmp.unknown(context, access.privileged, access.kind, access.size)


class Predictor:
    """Answers for one row. `read_backs`: (context id, leg) → what was read back there."""

    def __init__(self, board: Board, rights: Rights, read_backs: Mapping[tuple[int, Leg], ReadBack]) -> None:
        self._board = board
        self._rights = rights
        self._registers = {key: registers(board, back.words) for key, back in read_backs.items()}
        self._live = {key: live_checksum(board, back.words) for key, back in read_backs.items()}
        self._decided: dict[tuple[int, Access], Decision] = {}

    def context_registers(self, context: int, leg: Leg = Leg.ARMED) -> Registers | None:
        return self._registers.get((context, leg))

    def decision(self, program: FaultProgram) -> Decision | None:
        """How the armed leg must show; None where the program is no memory access or nothing was read back."""
        access = program.armed.access
        if access is None:
            return None
        context = self._armed_context(program)
        found = self._registers.get((context, Leg.ARMED))
        if found is None:
            return None
        for piece in (accesses := program.armed.pieces or (access,)):
            if (context, piece) not in self._decided:
                self._decided[context, piece] = _decide(found, piece)
        return combined([self._decided[context, piece] for piece in accesses])

    def must_stop(self, program: FaultProgram) -> bool:
        """By the manifest: some byte of the access is not granted to the owner that makes it."""
        access = program.armed.access
        if access is None:
            return True
        return not self._rights.granted(program.actor, access.kind).covers(access.address, access.end)

    def live(self, program: FaultProgram) -> int | None:
        """Checksum that the registers must have had at the last entry of the armed leg; None: not to be compared."""
        leg = program.legs.get(Leg.ARMED)
        if leg is None or not leg.steps or leg.disarm is not Disarm.NOTHING:
            return None
        return self._live.get((leg.steps[-1].context, Leg.ARMED))

    def sweep(self, program: FaultProgram) -> SweepPrediction | None:
        """Both halves for every item of a sweep."""
        if program.sweep is None or program.armed.access is None:
            return None
        first, count, stride = program.sweep
        context = self._registers.get((self._armed_context(program), Leg.ARMED))
        if context is None:
            return None
        base = program.armed.access
        allowed, unknown = _grants(context, base), _unknown(context, base)
        granted = self._rights.granted(program.actor, base.kind)
        must, denied, unsure = 0, 0, 0
        for item in range(count):
            address = first + item * stride
            if not granted.covers(address, address + base.size):
                must |= 1 << item
            if address not in allowed:
                denied |= 1 << item
            if address in unknown:
                unsure |= 1 << item
        return SweepPrediction(count, must, denied, unsure)

    @staticmethod
    def _armed_context(program: FaultProgram) -> int:
        if program.armed_context is not None:
            return program.armed_context
        return program.legs[Leg.ARMED].steps[-1].context
