# SPDX-License-Identifier: Apache-2.0
"""`rig doctor`: every tool with version, origin and hash, and what cannot be done without it. Installs nothing."""

from __future__ import annotations

import json as jsonlib
import platform
import sys
from dataclasses import asdict, dataclass

import rig
from rig.errors import InfrastructureError, RigError
from rig.host import cache, tools
from rig.host.tools import Entry


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one tool. `status`: "ok", "missing" (not there) or "broken" (there, does not work)."""

    name: str
    status: str
    required: bool
    version: str | None
    origin: str | None
    path: str | None
    sha256: str | None
    without: str
    cure: str | None  # the message that says what to do, unless ok


def examine(entry: Entry) -> Finding:
    """Look at one tool: find it, hash it, see it work."""
    try:
        tool = entry.find()
    except RigError as error:
        return Finding(entry.name, "missing", entry.required, None, None, None, None, entry.without, str(error))
    problem: str | None = None
    if entry.check is not None:
        try:
            entry.check(tool)
        except InfrastructureError as error:
            problem = str(error)
    return Finding(
        name=entry.name,
        status="broken" if problem else "ok",
        required=entry.required,
        version=tool.version,
        origin=tool.origin,
        path=str(tool.path),
        sha256=tool.sha256,
        without=entry.without,
        cure=problem,
    )


def doctor(json: bool) -> int:
    """Print the findings on stdout. 0: the main job can run; 3: it cannot."""
    findings = [examine(entry) for entry in tools.ENTRIES]
    ok = all(finding.status == "ok" for finding in findings if finding.required)
    if json:
        report = {
            "schema": 1,
            "ok": ok,
            "rig": rig.__version__,
            "python": {"version": platform.python_version(), "path": sys.executable},
            "cache": str(cache.root()),
            "tools": [asdict(finding) for finding in findings],
        }
        print(jsonlib.dumps(report, indent=1))
    else:
        print("\n".join(render(findings, ok)))
    return 0 if ok else InfrastructureError.exit_code


def render(findings: list[Finding], ok: bool) -> list[str]:
    """The report for people, as lines."""
    lines = [f"rig {rig.__version__}, Python {platform.python_version()}, cache {cache.root()}", ""]
    for finding in findings:
        if finding.sha256 is not None:
            known = f"{finding.version}  {finding.origin}  sha256 {finding.sha256[:16]}…"
        else:
            known = "required" if finding.required else "optional"
        lines.append(f"{finding.status:8}{finding.name:21}{known}")
        if finding.status != "ok":
            lines += [f"{'':8}without it: {finding.without}", f"{'':8}{finding.cure}"]
    lines += ["", "The main job can run." if ok else "The main job cannot run: `rig setup` brings what is missing."]
    return lines
