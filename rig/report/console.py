# SPDX-License-Identifier: Apache-2.0
"""What a person reads in a terminal after a run. A rendering of the summary; names from inputs are shown escaped."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rig.report.summary import Row, Summary

MAX_FAILS = 8  # shown per answer; the journal has them all


def safe(text: object) -> str:
    """Control characters, markup and escapes from strangers' names stay visible text."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def _say(console: Console, text: Text) -> None:
    """A line stays a line: what is to be copied must not be cut where a window happens to end."""
    console.print(text, soft_wrap=True)


def show(summary: Summary, console: Console, *, command: Sequence[str]) -> None:
    boards = dict.fromkeys(row.board for row in summary.rows.values())
    for board in boards:
        _board(summary, board, console)
    for row in summary.rows.values():
        _fails(row, console, command)
    _findings(summary.findings, console)
    _answers(summary, console)


def _board(summary: Summary, board: str, console: Console) -> None:
    rows = [row for row in summary.rows.values() if row.board == board and not row.control]
    table = Table(title=Text(f"{safe(board)}: programs PASS / FAIL / REFUSED per family"), title_justify="left")
    table.add_column("family")
    for row in rows:
        head = f"{row.model}\n{row.lowering or '-'}"
        table.add_column(Text(head), justify="right")
    families = sorted({family for row in rows for family in row.families})
    for family in families:
        table.add_row(family, *(_cell(row.families.get(family, {})) for row in rows))
    table.add_section()
    table.add_row("all", *(_cell({v: row.count(v) for v in ("PASS", "FAIL", "REFUSED")}) for row in rows))
    console.print(table)


def _cell(counter: Mapping[str, int]) -> Text:
    passed, failed, refused = (counter.get(v, 0) for v in ("PASS", "FAIL", "REFUSED"))
    if not passed and not failed and not refused:
        return Text("-", style="dim")
    return Text.assemble(
        (str(passed), "green" if passed else "dim"),
        "/",
        (str(failed), "bold red" if failed else "dim"),
        "/",
        (str(refused), "yellow" if refused else "dim"),
    )


def _fails(row: Row, console: Console, command: Sequence[str]) -> None:
    if row.control or not row.fails:
        return
    _say(console, Text(f"\nFAIL in {safe(row.board)} {row.model} ({len(row.fails)}):", style="bold red"))
    for record in row.fails[:MAX_FAILS]:
        _say(console, Text(f"  {safe(record['id'])}", style="bold"))
        where = f"{record['address']:#010x}" if isinstance(record.get("address"), int) else "-"
        _say(
            console,
            Text(
                f"    {safe(record['actor'])} > {safe(record['victim'])} at {where}: "
                f"{record['class']}: {safe(record['reason'])}"
            ),
        )
        _say(console, Text(f"    reproduce: {reproduce(command, row, str(record['id']))}", style="dim"))
    if len(row.fails) > MAX_FAILS:
        _say(console, Text(f"  … and {len(row.fails) - MAX_FAILS} more in the journal"))


def reproduce(command: Sequence[str], row: Row, program: str) -> str:
    """A shell line that runs this one program alone."""
    words = [*command, "--board", row.board, "--model", row.model, "--strategy", row.strategy, "--only", program]
    return shlex.join(words)


def _findings(findings: Sequence[Mapping[str, Any]], console: Console) -> None:
    if not findings:
        return
    _say(console, Text("\nFindings", style="bold"))
    for finding in findings:
        state = " (cured)" if finding.get("cured") else ""
        _say(console, Text(f"  {finding['id']}{state} {safe(finding['what'])}"))
        _say(console, Text(f"      where: {safe(finding['where'])}", style="dim"))
        if finding.get("cure"):
            _say(console, Text(f"      cure: {safe(finding['cure'])}", style="dim"))


def _answers(summary: Summary, console: Console) -> None:
    _say(console, Text("\nAnswers", style="bold"))
    refused = {(row.board, row.model, row.answer) for row in summary.judged if row.answer.startswith("refused")}
    for row in summary.rows.values():
        if row.control and (row.board, row.model, row.answer) in refused:
            continue  # what does not fit at all was said once
        good = row.answer.startswith(("isolated", "control"))
        style = "green" if good else "yellow" if row.answer.startswith("refused") else "red"
        _say(
            console,
            Text.assemble(
                f"  {safe(row.board)} {row.model} {row.strategy} [{row.lowering or '-'}]: ", (safe(row.answer), style)
            ),
        )
        for why in () if row.control else row.why_not[:2]:
            _say(console, Text(f"      not lowered by synth: {safe(why)}", style="dim"))
    totals = summary.totals
    _say(
        console,
        Text(
            f"\n{totals['PASS']} passed, {totals['FAIL']} failed, {totals['REFUSED']} refused; "
            f"{summary.legs} legs, {summary.legs_per_second:.0f} legs/s"
        ),
    )
    whys = Counter[str]()
    for row in summary.judged:
        for (why, _), count in row.refused.items():
            whys[why] += count
    if whys:
        shown = ", ".join(f"{count} {why}" for why, count in whys.most_common())
        _say(console, Text(f"refused: {safe(shown)}; every one with its reason in the journal"))
    if summary.restarts:
        first = summary.restarts[0]
        count = len(summary.restarts)
        words = f"{count} times an emulator was restarted, first in {first['row']}: {first['wall']['why']}"
        _say(console, Text(safe(words), style="yellow"))
    jobs: dict[str, list[str]] = {}
    for error in summary.errors:
        jobs.setdefault(str(error["message"]), []).append(str(error["job"]))
    for message, names in jobs.items():
        lines = ["error: " + safe(", ".join(names)), *("  " + safe(line) for line in message.splitlines())]
        _say(console, Text("\n".join(lines), style="bold red"))
