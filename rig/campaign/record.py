# SPDX-License-Identifier: Apache-2.0
"""Journal records from values. One record per program holds all its legs; raw words stay integers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rig.answer import Entry
from rig.arch.syndrome import RiscvFault, decode
from rig.arch.types import Decision
from rig.boards.model import Arch
from rig.campaign.calls import Comparison, Export
from rig.faults.model import FaultProgram, Judgement, RefusedProgram, Verdict, Why
from rig.image.model import Image
from rig.inject.model import Leg, Observation, Outcome, ReadBack
from rig.judging.case import CanaryResult, fault_of

AGENT = "agent"


def owner_name(image: Image, owner: int | None, otherwise: str = AGENT) -> str:
    return otherwise if owner is None else image.owners[owner].name


def result(
    row: str,
    image: Image,
    program: FaultProgram,
    judgement: Judgement,
    observations: Mapping[Leg, Observation],
    canaries: CanaryResult,
    decision: Decision | None,
    must_stop: bool,
    arch: Arch,
) -> dict[str, Any]:
    record: dict[str, Any] = {
        "row": row,
        "id": program.id,
        "case": program.family,
        "actor": owner_name(image, program.actor),
        "victim": program.victim_name or owner_name(image, program.victim),
        "target": program.target,
        "address": program.address,
        "width": program.width,
        "predict": {
            "must_stop": must_stop,
            "stop": program.armed.stop.value,
            **({"how": _how(decision)} if decision is not None else {}),
        },
        "legs": [_leg(leg, seen, arch) for leg, seen in observations.items()],
        "verdict": judgement.verdict.value,
        "class": judgement.klass,
        "reason": judgement.reason,
    }
    if program.caller is not None:
        record["caller"] = owner_name(image, program.caller)
    if program.disarmed_none:
        record["disarmed_none"] = program.disarmed_none
    if program.control:
        record["control"] = True
    if judgement.why is not None:
        record["why"] = judgement.why.value
    if judgement.leg is not None:
        record["leg"] = judgement.leg.name.lower()
    if program.readers:
        record["canaries"] = {"victim": canaries.victim, "host": canaries.host, "others": list(canaries.others)}
    return record


def refused(row: str, image: Image, program: RefusedProgram, *, control: bool = False) -> dict[str, Any]:
    return {
        "row": row,
        "id": program.id,
        "case": program.family,
        "actor": owner_name(image, program.actor, "-"),
        "victim": owner_name(image, program.victim, "-"),
        "why": program.why.value,
        "reason": program.reason,
        **({"control": True} if control else {}),
    }


def call(row: str, export: Export, found: Comparison, judgement: Judgement) -> dict[str, Any]:
    """C-03 of one export: all its vectors in one record."""
    record: dict[str, Any] = {
        "row": row,
        "id": export.id,
        "case": "C-03",
        "actor": export.component,
        "victim": "-",
        "target": export.function.core_name,
        "vectors": len(export.vectors),
        "compared": found.compared,
        "trapped": found.trapped,
        "counted": dict(found.counted),
        "wrong": found.wrong[:8],
        "verdict": judgement.verdict.value,
        "class": judgement.klass,
        "reason": judgement.reason,
    }
    if judgement.why is not None:
        record["why"] = judgement.why.value
    if judgement.leg is not None:
        record["leg"] = judgement.leg.name.lower()
    return record


def entry(line: Mapping[str, Any]) -> Entry:
    """A `result` or `refused` record as answer and exit code need it: how a resumed run knows what it did before."""
    return Entry(
        id=line["id"],
        family=line["case"],
        verdict=Verdict(line.get("verdict", Verdict.REFUSED.value)),
        klass=line.get("class", ""),
        reason=line["reason"],
        why=Why(line["why"]) if "why" in line else None,
        leg=Leg[line["leg"].upper()] if "leg" in line else None,
        control=line.get("control", False),
    )


def read_back(row: str, image: Image, back: ReadBack, owner: int) -> dict[str, Any]:
    return {
        "row": row,
        "context": back.context,
        "owner": owner_name(image, owner),
        "leg": back.leg.name.lower(),
        "words": list(back.words),
    }


def _cause(seen: Observation, arch: Arch) -> str:
    """The decoded syndrome: names of the status bits, or mcause."""
    fault = fault_of(seen, arch)
    return str(fault.mcause) if isinstance(fault, RiscvFault) else "|".join(sorted(decode(fault).causes))


def _how(decision: Decision) -> Any:
    if decision.allow is None:
        return {"unpredictable": list(decision.unpredictable)}
    if decision.allow:
        return "allow"
    return [[s.cause, s.first, s.last] for s in decision.syndromes]


def _leg(leg: Leg, seen: Observation, arch: Arch) -> dict[str, Any]:
    found: dict[str, Any] = {"leg": leg.name.lower(), "outcome": seen.outcome.name, "regs": list(seen.regs),
                             "context": seen.context, "ticks": seen.ticks}  # fmt: skip
    if seen.outcome is Outcome.TRAPPED:
        found["cause"] = _cause(seen, arch)
        found["fault"] = list(seen.fault)
    if seen.detail:
        found["detail"] = seen.detail
    if seen.changed:
        found["changed"] = [seen.changed, seen.changed_at]
    if seen.before != seen.after:
        found["bytes"] = [seen.before.hex(), seen.after.hex()]
    if seen.blob:
        found["blob"] = seen.blob.hex()
    return found
