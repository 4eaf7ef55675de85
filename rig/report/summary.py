# SPDX-License-Identifier: Apache-2.0
"""The journal folded into what a person or a machine asks first: answers, totals, failures, findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

VERDICTS = ("PASS", "FAIL", "REFUSED")


@dataclass(slots=True)
class Row:
    """One answer: a board, a model, a strategy."""

    board: str
    model: str
    strategy: str
    lowering: str
    control: bool
    answer: str = ""
    families: dict[str, Counter[str]] = field(default_factory=dict)
    fails: list[Mapping[str, Any]] = field(default_factory=list)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)  # (why, reason) → programs
    legs: int = 0
    seconds: float = 0.0  # in which an emulator was executing batches
    void: str = ""
    why_not: tuple[str, ...] = ()

    def count(self, verdict: str) -> int:
        return sum(counter[verdict] for counter in self.families.values())


@dataclass(slots=True)
class Summary:
    run: Mapping[str, Any] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    findings: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[Mapping[str, Any]] = field(default_factory=list)
    restarts: list[Mapping[str, Any]] = field(default_factory=list)  # of a platform that died or hung
    images: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    exit: int | None = None

    @property
    def judged(self) -> list[Row]:
        return [row for row in self.rows.values() if not row.control]

    @property
    def totals(self) -> dict[str, int]:
        return {verdict: sum(row.count(verdict) for row in self.judged) for verdict in VERDICTS}

    @property
    def legs(self) -> int:
        return sum(row.legs for row in self.rows.values())

    @property
    def legs_per_second(self) -> float:
        """Legs per second of emulator time, of the slowest board (0.0 when nothing ran)."""
        boards: dict[str, list[float]] = {}
        for row in self.rows.values():
            total = boards.setdefault(row.board, [0.0, 0.0])
            total[0] += row.legs
            total[1] += row.seconds
        rates = [legs / seconds for legs, seconds in boards.values() if seconds > 0]
        return round(min(rates), 1) if rates else 0.0


def summarise(records: Iterable[Mapping[str, Any]]) -> Summary:
    summary = Summary()
    seen: set[tuple[str, str, str]] = set()
    for record in records:
        kind = record["k"]
        if kind == "run":
            summary.run = record
        elif kind == "image":
            summary.images[record["image"]] = record
        elif kind == "row":
            row = _row(summary, record["row"], record)
            row.answer = record["answer"]
            row.lowering = record["lowering"]
            row.control = record["control"]
            row.legs = record["legs"]
            row.seconds = record["wall"]["seconds"]
            row.void = record.get("void", "")
            row.why_not = tuple(record.get("why_not", ()))
        elif kind in ("result", "refused"):
            row = _row(summary, record["row"], record)
            verdict = record.get("verdict", "REFUSED")
            row.families.setdefault(record["case"], Counter())[verdict] += 1
            if verdict == "FAIL":
                row.fails.append(record)
            elif verdict == "REFUSED":
                row.refused[(record["why"], record["reason"])] += 1
        elif kind == "finding":
            key = (record["id"], record["what"], record["where"])
            if key not in seen:
                seen.add(key)
                summary.findings.append(record)
        elif kind == "error":
            summary.errors.append(record)
        elif kind == "restart":
            summary.restarts.append(record)
        elif kind == "end":
            summary.exit = record["exit"]
    return summary


def _row(summary: Summary, name: str, record: Mapping[str, Any]) -> Row:
    if name not in summary.rows:
        board, model, strategy = name.split("/")
        summary.rows[name] = Row(board, model, strategy, record.get("lowering", ""), strategy == "static")
    return summary.rows[name]


def as_json(summary: Summary, out: str) -> dict[str, Any]:
    """The object of `rig run --json`, schema 1."""
    return {
        "schema": 1,
        "totals": summary.totals,
        "answers": [
            {
                "board": row.board,
                "model": row.model,
                "strategy": row.strategy,
                "lowering": row.lowering,
                "control": row.control,
                "answer": row.answer,
                **{verdict: row.count(verdict) for verdict in VERDICTS},
            }
            for row in summary.rows.values()
        ],
        "findings": [
            {key: finding[key] for key in ("id", "what", "where", "cure", "cured", "image") if key in finding}
            for finding in summary.findings
        ],
        "errors": [error["message"] for error in summary.errors],
        "legs": summary.legs,
        "legs_per_second": summary.legs_per_second,
        "exit": summary.exit,
        "out": out,
    }
