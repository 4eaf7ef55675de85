# SPDX-License-Identifier: Apache-2.0
"""Every tool the rig uses, by name, and what cannot be done without it.

from rig.host import tools
meld = tools.find("meld")
done = tools.run(meld, ["fuse", …], timeout=60)
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rig.errors import InfrastructureError, ToolMissing
from rig.host import pypi, qemu, synth
from rig.host.process import Child, Completed, ToolTimeout, execute
from rig.host.tool import Tool, run, spawn

__all__ = ["ENTRIES", "NAMES", "Child", "Completed", "Entry", "Tool", "ToolTimeout", "find", "run", "spawn"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A tool's place in the rig."""

    name: str
    find: Callable[[], Tool]
    required: bool  # the main job cannot run without it
    without: str  # what cannot be done without it
    install: Callable[[], object] | None = None  # brings it into the cache
    check: Callable[[Tool], None] | None = None  # sees it work; raises InfrastructureError


def _check_packaged(tool: Tool) -> None:
    if pypi.altered(tool):
        raise InfrastructureError(
            f"{tool.name}: {tool.path} was changed after it was installed: remove its environment and start again"
        )


def _find_renode() -> Tool:
    path = shutil.which("renode")
    if path is None:
        raise ToolMissing("renode is not on PATH: install Renode to use it as a second emulator")
    done = execute([path, "--version"], timeout=60.0)
    match = re.search(r"\b(\d+\.\d+\.\d+)", done.out)
    if match is None:
        raise ToolMissing(f"renode: {path} does not tell its version: reinstall Renode")
    return Tool("renode", Path(path).resolve(), match[1], "system")


def _packaged(name: str, required: bool, without: str) -> Entry:
    return Entry(name, partial(pypi.find, name), required, without, check=_check_packaged)


def _qemu(arch: str, without: str) -> Entry:
    return Entry(f"qemu-system-{arch}", partial(qemu.find, arch), True, without, qemu.install, qemu.check)


ENTRIES: tuple[Entry, ...] = (
    _packaged("meld", True, "components cannot be fused"),
    _packaged("wasm-tools", True, "components cannot be built or read"),
    _packaged("wasm2c", True, "images that synth refuses cannot be lowered"),
    _packaged("wat2wasm", False, "subjects cannot be given as wat text"),
    _packaged("zig", True, "neither firmware nor components can be compiled"),
    _packaged("wasmtime", False, "export calls are not compared with the un-fused components (C-03 is REFUSED)"),
    Entry("synth", synth.find, False, "every image is lowered by wasm2c instead", synth.install),
    _qemu("arm", "Cortex-M images cannot run"),
    _qemu("riscv32", "RISC-V images cannot run"),
    Entry("renode", _find_renode, False, "nothing yet: Renode support comes with a later release"),
)
NAMES: tuple[str, ...] = tuple(entry.name for entry in ENTRIES)
_BY_NAME = {entry.name: entry for entry in ENTRIES}
_found: dict[tuple[str, str], Tool] = {}


def entry(name: str) -> Entry:
    """The entry of one of `NAMES`."""
    return _BY_NAME[name]


def find(name: str) -> Tool:
    """The tool `name` (one of `NAMES`). Raises ToolMissing, with the cure in the message.

    Remembered for the life of the process, as long as PATH and the RIG_* variables stay as they are.
    """
    key = (name, _selectors())
    tool = _found.get(key)
    if tool is None or not tool.path.exists():
        tool = _found[key] = _BY_NAME[name].find()
    return tool


def _selectors() -> str:
    """The environment that decides which tool is found."""
    names = sorted(name for name in os.environ if name in ("PATH", "HOME", "XDG_CACHE_HOME") or name.startswith("RIG_"))
    return "\0".join(f"{name}={os.environ[name]}" for name in names)
