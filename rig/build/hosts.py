# SPDX-License-Identifier: Apache-2.0
"""What stands in for imports that no component provides: one function per import, unprivileged, gated like any seam.

`stub` returns zero, `trap` executes the architecture's trap instruction, a C file provides a function whose name is the
import's field with `-` and other characters written as `_` ("get-time" → `get_time`), with the core wasm types:

    #include <stdint.h>
    uint64_t get_time(uint32_t clock) { return clock; }

It must be stateless: a host function's context grants code and its own stack, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rig.boards.model import Board
from rig.build import elfobj
from rig.build.cc import compile_c
from rig.build.closure import HOST_TEXT, close
from rig.build.components import read_bounded
from rig.build.subject import HostImport
from rig.build.wasm2c import CFLAGS
from rig.build.words import printable
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.image.model import FuncType, Image
from rig.plan.model import Lowering

CORE_TYPES: Mapping[str, str] = {"i32": "uint32_t", "i64": "uint64_t", "f32": "float", "f64": "double"}
_FILE_LIMIT = 1 << 20
_AGAIN = re.compile(r"\$\d+$")
OBJECT = "hosts.o"


@dataclass(frozen=True, slots=True)
class Source:
    """How one import is provided. `text`: the user's C file."""

    function: int
    module: str
    field: str
    type: FuncType
    how: str
    file: Path | None = None
    text: bytes = b""

    @property
    def key(self) -> tuple[str, ...]:
        return str(self.function), self.how, str(self.file or ""), self.text.decode("latin-1")


def sources(image: Image, imports: Mapping[str, HostImport]) -> tuple[Source, ...]:
    """How each import of the module is provided. Raises UsageError, naming the line to add, where nobody does."""
    found, missing = [], []
    for module, title, function in image.imports:
        keys = keys_of(module, title)
        host = next((imports[key] for key in keys if key in imports), None)
        if host is None:
            missing.append(f'  "{printable(keys[len(keys) > 2])}" = "trap"')
            continue
        text = read_bounded(host.file, _FILE_LIMIT) if host.file is not None else b""
        type_, field = image.functions[function].type, _AGAIN.sub("", title or module)
        found.append(Source(function, module, field, type_, host.how, host.file, text))
    if missing:
        raise UsageError("nobody provides these imports; add to the subject file:\n  [imports]\n" + "\n".join(missing))
    return tuple(found)


def keys_of(module: str, field: str) -> tuple[str, ...]:
    """Keys of the subject's table `imports` that stand for an import of a fused module, the more exact first.

    Where several components import one function, meld 0.65 numbers the copies: `get`, `get$1`, …
    """
    fields = dict.fromkeys((field, _AGAIN.sub("", field)))
    if module in ("", "$root"):
        return tuple(fields)
    if not field:  # a bare function of the world: meld 0.65 writes its name as the module
        return tuple(dict.fromkeys((module, _AGAIN.sub("", module))))
    return (*(f"{module}#{name}" for name in fields), module)


def add(image: Image, board: Board, files: Sequence[Source], lowering: Lowering, folder: Path) -> None:
    """Compile the host functions into `folder`/hosts.o, closed like component code. Nothing without imports.

    Raises UsageError with the compiler's words where a user's file does not compile or does not fit.
    """
    if not files:
        return
    objects = []
    for source in files:
        c = folder / f"host_{source.function}.c"
        flags: list[str | Path] = [*CFLAGS]
        if source.file is not None:
            (folder / f"host_{source.function}_user.c").write_bytes(source.text)
            flags += ["-I", source.file.resolve().parent]
        c.write_text(text(source, lowering), encoding="utf-8")
        made = c.with_suffix(".o")
        try:
            compile_c(board, c, made, flags)
            _innocent(made, source)
        except InfrastructureError as error:
            if source.file is None:
                raise
            raise UsageError(f"{printable(source.file)} does not compile for {board.name}: {error}") from error
        objects.append(made)
    roots = [f"rig_{word}_{source.function}" for source in files for word in ("fn", "host")]
    try:
        close(board, objects, roots, folder / OBJECT, HOST_TEXT)
    except Refusal as refusal:
        users = ", ".join(printable(source.file) for source in files if source.file is not None)
        raise UsageError(f"{users}: {refusal}; a host function keeps no state and calls nothing else") from refusal


def text(source: Source, lowering: Lowering) -> str:
    """C text of one host function, `rig_fn_<n>` = `rig_host_<n>`."""
    n, type_ = source.function, source.type
    if len(type_.results) > 1:
        raise Refusal(f"the import {source.field} returns {len(type_.results)} values: no gate can pass them")
    result = CORE_TYPES[type_.results[0]] if type_.results else "void"
    params = [f"{CORE_TYPES[kind]} a{i}" for i, kind in enumerate(type_.params)]
    names = ", ".join(f"a{i}" for i in range(len(params)))
    if lowering is Lowering.WASM2C:
        params.insert(0, "void *instance")
    lines = ["#include <stdint.h>"]
    if source.file is not None:
        name = c_name(source.field)
        # A name of its own, so that two files may define functions of one name.
        lines += [f"#define {name} rig_user_{n}", f'#include "host_{n}_user.c"', f"#undef {name}"]
        body = f"{'return ' if type_.results else ''}rig_user_{n}({names});"
    elif source.how == "trap":
        body = "RIG_TRAP; __builtin_unreachable();"
        lines += ['#ifdef __arm__', '#define RIG_TRAP __asm__ volatile("udf #0")', "#else",
                  '#define RIG_TRAP __asm__ volatile("ebreak")', "#endif"]  # fmt: skip
    else:
        body = "return 0;" if type_.results else ""
    signature = f"{result} rig_fn_{n}({', '.join(params) or 'void'})"
    lines += [f"__attribute__((used)) {signature} {{ {body} }}",
              f'extern __typeof__(rig_fn_{n}) rig_host_{n} __attribute__((alias("rig_fn_{n}")));', ""]  # fmt: skip
    return "\n".join(lines)


def c_name(field: str) -> str:
    """The C name of an import's field."""
    name = re.sub(r"\W", "_", field, flags=re.ASCII)
    if not re.fullmatch(r"[A-Za-z_]\w*", name, flags=re.ASCII):
        raise UsageError(f'the import {printable(field)!r} has no C name: use "stub" or "trap" for it')
    return name


def _innocent(made: Path, source: Source) -> None:
    """The user's code may not name anything of the rig's: neither a gate nor a component's function."""
    obj = elfobj.parse(made.read_bytes(), printable(source.file or "host function"))
    named = sorted(s.name for s in obj.symbols if s.undefined and s.name.startswith("rig_"))
    if named:
        raise UsageError(f"{printable(source.file or '')} refers to {named[0]}, which is the rig's: choose other names")
