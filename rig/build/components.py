# SPDX-License-Identifier: Apache-2.0
"""Components: read from files that anybody may have written, and our own demo images built from source."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from rig.build import container, wit
from rig.build.cache import cached, digest
from rig.build.words import printable, said
from rig.errors import InfrastructureError, UsageError
from rig.host import tools
from rig.image.component import Component
from rig.resources import data_dir

FILE_LIMIT = 32 << 20  # bytes; a component for a microcontroller has some ten thousand

_COMPILE = ("-target", "wasm32-freestanding", "-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-c")
# What meld needs to rebase and pack: relocations, `__heap_base`, and a shadow stack below the data.
_LINK = (
    "--no-entry", "--emit-relocs", "--export-memory", "--export=__heap_base", "-z", "stack-size=1024", "--stack-first",
)
_SECONDS = 120.0


def read_component(path: Path, *, name: str, intruder: bool = False, backed: int | None = None) -> Component:
    """Read a component file and what later layers need of it.

    `backed`: bytes of its memory it promises to stay in. Raises UsageError where the file is not a component that can
    be used; the message names the file and the cure.
    """
    where = printable(path)
    data = read_bounded(path)
    match container.form(data):
        case container.Form.COMPONENT:
            pass
        case container.Form.CORE:
            raise UsageError(
                f"{where} is a core module, not a component: make a component of it with `wasm-tools component embed` "
                "and `wasm-tools component new`; a module that meld has fused is given alone, as `rig run FUSED.wasm`"
            )
        case container.Form.EMPTY:
            raise UsageError(f"{where} is empty: build it again")
        case container.Form.TEXT:
            raise UsageError(f"{where} looks like WebAssembly text: make it binary with `wasm-tools parse`")
        case container.Form.OTHER:
            raise UsageError(f"{where} is not WebAssembly: a component starts with the bytes 00 61 73 6d 0d 00 01 00")
    try:
        core = container.core_modules(data)
    except container.Malformed as error:
        raise UsageError(f"{where} is truncated or damaged: {error}; build it again") from error
    types = _interface(data, where)
    if not core:
        raise UsageError(f"{where} holds no code (it is a WIT package, or types only): give its implementation")
    if types.others:
        other = printable(types.others[0])
        raise UsageError(f"{where} imports {other}, which is no function: bind it before (wac plug)")
    return Component(
        name=name,
        path=str(path),
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        exports=types.exports,
        imports=types.imports,
        core=core,
        intruder=intruder,
        backed=backed,
    )


def read_bounded(path: Path, limit: int = FILE_LIMIT) -> bytes:
    """The bytes of a user's file. Raises UsageError where there is none, or where it has more than `limit` bytes."""
    where = printable(path)
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise UsageError(f"{where} {what}: check the path")
        with path.open("rb") as handle:
            data = handle.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise UsageError(f"{where} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > limit:
        raise UsageError(f"{where} has more than {limit >> 20} MiB: nothing of that size fits on a microcontroller")
    return data


def _interface(data: bytes, where: str) -> wit.Interface:
    try:
        return wit.interface(data)
    except wit.Invalid as error:
        words = said(str(error))
        raise UsageError(f"{where} is not a valid component: build it again. wasmtime says:\n{words}") from error


def demos() -> tuple[str, ...]:
    """Names of the demo images."""
    return tuple(sorted(file.parent.name for file in _sources().glob("*/subject.toml")))


def demo_folder(name: str) -> Path:
    """A folder with the built components of a demo image and its `subject.toml`, from the cache where it is there.

    Raises UsageError for an unknown name, ToolMissing, InfrastructureError where a tool fails.
    """
    if name not in demos():
        raise UsageError(f"there is no demo image {printable(name)!r}: there are {', '.join(demos())}")
    source = _sources()
    used = sorted(file for folder in (name, "common") for file in (source / folder).iterdir() if file.is_file())
    zig, wasm_tools = tools.find("zig"), tools.find("wasm-tools")
    inputs: list[str | bytes] = [zig.version, wasm_tools.version, *_COMPILE, *_LINK]
    for file in used:
        inputs += [file.relative_to(source).as_posix(), file.read_bytes()]
    return cached("components", digest(name, *inputs), lambda folder: _build(source / name, folder))


def build_demo(name: str, out: Path) -> list[Path]:
    """Build a demo image into the folder `out`: its components (returned) and `subject.toml`.

    Raises as `demo_folder`.
    """
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for file in sorted(demo_folder(name).iterdir()):
        if file.suffix in (".wasm", ".toml"):
            made.append(Path(shutil.copyfile(file, out / file.name)))
    return [path for path in made if path.suffix == ".wasm"]


def _sources() -> Path:
    return data_dir("firmware") / "components"


def _build(source: Path, out: Path) -> None:
    """Every `X.c` of the folder becomes `X.wasm`, a component of the world `X-world` of the folder's WIT file."""
    for c in sorted(source.glob("*.c")):
        compile_component(c, source / f"{source.name}.wit", f"{c.stem}-world", out / f"{c.stem}.wasm")
    shutil.copyfile(source / "subject.toml", out / "subject.toml")


def compile_component(c: Path, wit_file: Path, world: str, out: Path) -> None:
    """C and WIT → a component that meld can fuse in every model. Raises InfrastructureError with the tool's words."""
    obj, core, embedded = (out.with_suffix(suffix) for suffix in (".o", ".core", ".embedded"))
    _run("zig", ["cc", *_COMPILE, c.name, "-o", obj], cwd=c.parent)
    _run("zig", ["wasm-ld", obj.name, "-o", core.name, *_LINK], cwd=out.parent)
    _run("wasm-tools", ["component", "embed", wit_file, "--world", world, core, "-o", embedded], cwd=out.parent)
    _run("wasm-tools", ["component", "new", embedded, "-o", out], cwd=out.parent)
    for step in (obj, core, embedded):
        step.unlink()


def _run(name: str, args: list[str | Path], *, cwd: Path) -> None:
    done = tools.run(tools.find(name), args, cwd=cwd, timeout=_SECONDS)
    if not done.ok:
        raise InfrastructureError(f"{name} failed (exit {done.returncode}): {done.command}\n{said(done.err)}")
