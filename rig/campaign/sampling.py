# SPDX-License-Identifier: Apache-2.0
"""Which programs `--quick` keeps: every family and every actor, few of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rig.faults.model import FaultProgram

PER_FAMILY_AND_ACTOR = 2


def thin(programs: Sequence[FaultProgram]) -> list[FaultProgram]:
    """The first programs of each family and actor, in order; controls all stay."""
    seen: Counter[tuple[str, int]] = Counter()
    kept = []
    for program in programs:
        key = (program.family, program.actor)
        if program.control or seen[key] < PER_FAMILY_AND_ACTOR:
            seen[key] += 1
            kept.append(program)
    return kept
