# SPDX-License-Identifier: Apache-2.0
"""QEMU 10 or newer for Arm and RISC-V: the system's, or Debian packages unpacked into the cache without root.

Looked for in `$RIG_QEMU_ARM` / `$RIG_QEMU_RISCV32` (a program), `$RIG_QEMU_TREE` (an unpacked tree), on PATH (version
10 or newer), in the cache. A chosen one may be of any version: its known divergences then decide what it vouches for.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from rig.errors import InfrastructureError, ToolMissing
from rig.host import cache
from rig.host.apt import NoOffer, PrivateApt
from rig.host.process import execute
from rig.host.progress import Ticker, say
from rig.host.tool import Tool

MAJOR = 10
ARCHES = ("arm", "riscv32")
_PACKAGES = ("qemu-system-arm", "qemu-system-riscv")
_SPACE = 400 << 20  # bytes: lists, packages and the unpacked tree at once
_CURE = (
    "install QEMU 10 or newer so that qemu-system-arm and qemu-system-riscv32 are on PATH, "
    "or set RIG_QEMU_ARM and RIG_QEMU_RISCV32"
)


def find(arch: str) -> Tool:
    """QEMU for "arm" or "riscv32". Raises ToolMissing."""
    program = f"qemu-system-{arch}"
    if chosen := os.environ.get(f"RIG_QEMU_{arch.upper()}"):
        return _probe(program, Path(chosen), f"RIG_QEMU_{arch.upper()}")
    if tree := os.environ.get("RIG_QEMU_TREE"):
        return _probe(program, Path(tree) / "usr" / "bin" / program, "RIG_QEMU_TREE")
    if on_path := shutil.which(program):
        tool = _probe(program, Path(on_path), "system")
        if _order(tool.version) >= (MAJOR,):
            return tool
    for folder, stamp in _cached():
        path = folder / "tree" / "usr" / "bin" / program
        if os.access(path, os.X_OK) and cache.sha256(path) == stamp.get(arch):
            return Tool(program, path, stamp["version"], "cache, Debian packages", environment(path))
    raise ToolMissing(f"{program}: QEMU {MAJOR} or newer is not here: rig setup unpacks it into the cache, or {_CURE}")


def install() -> None:
    """Unpack QEMU for all arches into the cache unless it is there. Raises ToolMissing, InfrastructureError."""
    with (
        cache.friendly("unpacking QEMU"),
        cache.locked("qemu", waiting=lambda: say("waiting: another start is unpacking QEMU")),
    ):
        if not [arch for arch in ARCHES if _lacking(arch)]:
            return
        cache.require_space(cache.root(), _SPACE, "unpacking QEMU")
        with cache.workshop("qemu") as folder:
            ticker = Ticker("getting QEMU with apt, without root, into the cache: once, about half a minute")
            try:
                apt = PrivateApt(folder)
                files = apt.fetch(_PACKAGES, MAJOR, watch=ticker.update)
            except NoOffer as error:
                raise ToolMissing(f"QEMU {MAJOR} or newer could not be had ({error}): {_CURE}") from error
            made = folder / "made"
            for count, file in enumerate(files, 1):
                ticker.update(f"unpacking package {count} of {len(files)}")
                apt.unpack(file, made / "tree")
            stamp, place = _describe(made, [file.name for file in files])
            cache.publish(made, place, stamp)
            ticker.done(f"QEMU {stamp['version']} is unpacked")
        for arch in ARCHES:
            check(find(arch))


def _lacking(arch: str) -> bool:
    """Whether `arch` needs the cache. Raises what is wrong with one that was chosen by variable."""
    try:
        check(find(arch))
    except InfrastructureError:
        if os.environ.get(f"RIG_QEMU_{arch.upper()}") or os.environ.get("RIG_QEMU_TREE"):
            raise
        return True
    return False


def check(tool: Tool) -> None:
    """See the emulator start (its libraries may have gone). Raises InfrastructureError."""
    if _probe(tool.name, tool.path, tool.origin).version != tool.version:
        raise InfrastructureError(f"{tool.path} is not QEMU {tool.version} any more: rig setup gets it again")


def environment(program: Path) -> dict[str, str]:
    """What a QEMU in an unpacked tree needs to find its modules and libraries; {} for an installed one."""
    tree = program.resolve().parent.parent.parent
    if program.resolve().parent.name != "bin" or tree == Path("/"):
        return {}
    modules = sorted(tree.glob("usr/lib/*/qemu"))
    if not modules:
        return {}
    triplet = modules[0].parent.name
    libraries = [tree / "usr" / "lib" / triplet, tree / "lib" / triplet]
    return {
        "QEMU_MODULE_DIR": str(modules[0]),
        "LD_LIBRARY_PATH": ":".join(str(path) for path in libraries if path.is_dir()),
    }


def _probe(name: str, path: Path, origin: str) -> Tool:
    """The emulator at `path`, asked for its version. Raises ToolMissing where it does not answer like QEMU."""
    if not os.access(path, os.X_OK) or path.is_dir():
        raise ToolMissing(f"{name}: {path} ({origin}) is not a program: {_CURE}")
    env = environment(path)
    done = execute([path, "--version"], env=env, timeout=30.0)
    match = re.match(r"QEMU emulator version (\d+\.\d+\.\d+)", done.out)
    if match is None:
        words = (done.err or done.out).strip().partition("\n")[0][:300] or f"exit code {done.returncode}"
        raise ToolMissing(f"{name}: {path} ({origin}) does not start as QEMU ({words}): {_CURE}")
    return Tool(name, path.resolve(), match[1], origin, env)


def _describe(made: Path, packages: list[str]) -> tuple[dict[str, str], Path]:
    """Stamp and place of a freshly unpacked tree, after seeing both emulators start."""
    programs = {arch: made / "tree" / "usr" / "bin" / f"qemu-system-{arch}" for arch in ARCHES}
    tools = {arch: _probe(path.name, path, "just unpacked") for arch, path in programs.items()}
    version = tools["arm"].version
    digest = hashlib.sha256("\n".join(packages).encode()).hexdigest()[:12]
    stamp = {"version": version, "packages": " ".join(packages)}
    stamp |= {arch: cache.sha256(path) for arch, path in programs.items()}
    return stamp, cache.root() / "qemu" / f"{version}-{digest}"


def _cached() -> list[tuple[Path, dict[str, str]]]:
    """The whole trees in the cache, newest version first."""
    folder = cache.root() / "qemu"
    trees = [(path, cache.read_stamp(path)) for path in sorted(folder.iterdir())] if folder.is_dir() else []
    whole = [(path, stamp) for path, stamp in trees if stamp is not None and "version" in stamp]
    return sorted(whole, key=lambda item: _order(item[1]["version"]), reverse=True)


def _order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))
