# SPDX-License-Identifier: Apache-2.0
"""A program the rig uses, and how to run it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.host import cache
from rig.host.process import OUTPUT_LIMIT, Argument, Child, Completed, Descriptor, execute, start


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool: where it is, which version, where it came from, and the environment it needs to run."""

    name: str  # as in `tools.NAMES`: "meld", "qemu-system-arm"
    path: Path  # the executable itself, never a wrapper script (wasmtime: its shared library)
    version: str  # "0.65.1"
    origin: str  # "pypi meld-cli 0.65.1" | "system" | "RIG_SYNTH" | "cache, cargo" | "cache, Debian packages"
    env: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def sha256(self) -> str:
        """Hex digest of the executable (computed when first asked for; 0.2 s for the largest)."""
        return cache.sha256(self.path)


def run(
    tool: Tool,
    args: Sequence[Argument],
    *,
    cwd: Path | None = None,
    timeout: float,
    input: bytes | None = None,
    limit: int = OUTPUT_LIMIT,
    watch: Callable[[str], None] | None = None,
    env: Mapping[str, str] | None = None,
) -> Completed:
    """Run a tool to its end. See `process.execute`; a non-zero exit is the caller's to judge."""
    return execute(
        [tool.path, *args],
        env={**tool.env, **(env or {})},
        cwd=cwd,
        timeout=timeout,
        input=input,
        limit=limit,
        watch=watch,
    )


def spawn(
    tool: Tool,
    args: Sequence[Argument],
    *,
    cwd: Path | None = None,
    stdin: Descriptor = subprocess.DEVNULL,
    stdout: Descriptor = subprocess.DEVNULL,
    stderr: Descriptor = subprocess.DEVNULL,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
) -> Child:
    """Start a tool that keeps running; use it as `with spawn(…) as child:`. See `process.start`."""
    return start(
        [tool.path, *args],
        env={**tool.env, **(env or {})},
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        pass_fds=pass_fds,
    )
