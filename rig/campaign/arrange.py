# SPDX-License-Identifier: Apache-2.0
"""Order and grouping of programs: random by seed, grouped by victim so that one reading of canaries serves many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from rig.faults.model import FaultProgram
from rig.inject.model import Flag, Leg, Program, Verb

GROUP = 96  # programs at most: what is replayed one by one when a canary changed


@dataclass(frozen=True, slots=True)
class Sent:
    """One wire program and what it is for. `leg` None: a FRESH between legs."""

    wire: Program
    id: str  # of the program
    leg: Leg | None
    after: bool = False


def arrange(programs: Iterable[FaultProgram], seed: str) -> list[list[FaultProgram]]:
    """Groups in random order; inside a group one victim and a random order. Controls come first, apart."""
    random = Random(seed)
    by_victim: dict[tuple[bool, int | None], list[FaultProgram]] = {}
    for program in programs:
        by_victim.setdefault((not program.control, program.victim), []).append(program)
    groups: list[tuple[bool, list[FaultProgram]]] = []
    for (ordinary, _), members in sorted(by_victim.items(), key=lambda item: (item[0][0], str(item[0][1]))):
        random.shuffle(members)
        groups += [(ordinary, members[i : i + GROUP]) for i in range(0, len(members), GROUP)]
    random.shuffle(groups)
    groups.sort(key=lambda group: group[0])
    return [members for _, members in groups]


def fresh(index: int, canaries: bool = True) -> Program:
    """Re-initialise everything; `canaries`: fill the canary windows too."""
    return Program(index=index, verb=Verb.FRESH, leg=Leg.LEGAL, flags=Flag(1) if canaries else Flag(0))


def wire_programs(group: Sequence[FaultProgram], first_index: int) -> tuple[list[FaultProgram], list[Sent]]:
    """Every leg of every program in order, with the searches after legs and the FRESHes that programs ask for.

    Returns the programs with the indexes their legs were sent under, and what is sent.
    """
    sent: list[Sent] = []
    indexed: list[FaultProgram] = []

    def number(wire: Program) -> Program:
        return replace(wire, index=first_index + len(sent))

    for program in group:
        legs: dict[Leg, Program] = {}
        for leg, wire in program.legs.items():
            if program.fresh_start:
                sent.append(Sent(number(fresh(0)), program.id, None))
            legs[leg] = number(wire)
            sent.append(Sent(legs[leg], program.id, leg))
            if leg in program.after:
                sent.append(Sent(number(program.after[leg]), program.id, leg, True))
            if program.fresh:
                sent.append(Sent(number(fresh(0)), program.id, None))
        indexed.append(replace(program, legs=legs))
    return indexed, sent
