# SPDX-License-Identifier: Apache-2.0
"""A user's C file that stands in for an import, played beside the un-fused components: compiled to wasm for wasmtime.

Such a function is stateless and takes core values (`rig.build.hosts`), so the same source says what the call must give.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rig.build.cc import zig
from rig.build.hosts import CORE_TYPES, c_name
from rig.errors import InfrastructureError
from rig.image.component import WitFunction
from rig.oracle.abi import MAX_FLAT_PARAMS, flatten
from rig.oracle.lift import CoreValue, lift, lower, only
from rig.oracle.values import Value

if TYPE_CHECKING:
    import wasmtime

_FLAGS = ("-target", "wasm32-freestanding", "-std=gnu11", "-O2", "-fno-sanitize=all", "-g0", "-w")
_FUEL = 1_000_000


class Played:
    """One host function. Not for two threads at once."""

    def __init__(self, engine: wasmtime.Engine, function: WitFunction, module: bytes) -> None:
        import wasmtime

        self._function = function
        self._store = wasmtime.Store(engine)
        self._store.set_fuel(_FUEL)
        instance = wasmtime.Instance(self._store, wasmtime.Module(engine, module), [])
        entry = instance.exports(self._store)["played"]
        assert isinstance(entry, wasmtime.Func)
        self._entry = entry

    def call(self, args: Sequence[Value]) -> Value:
        """Raises wasmtime's error where it traps, LiftTrap where it returns no value of its type."""
        self._store.set_fuel(_FUEL)
        result = self._entry(self._store, *(_number(core) for core in lower(self._function, args).params))
        kinds = () if self._function.result is None else flatten(self._function.result)
        return lift(self._function, _bits(result, kinds), b"", only(b""))


def play(engine: wasmtime.Engine, function: WitFunction, file: Path) -> Played | None:
    """None where it cannot be played: pointers among its values, or code for one machine only."""
    types = [type for _, type in function.params] + ([] if function.result is None else [function.result])
    flat = [core for _, type in function.params for core in flatten(type)]
    results = () if function.result is None else flatten(function.result)
    if any(type.carries_memory for type in types) or len(flat) > MAX_FLAT_PARAMS or len(results) > 1:
        return None
    import wasmtime

    try:
        return Played(engine, function, _compile(function.name, flat, results, file))
    except (InfrastructureError, OSError, wasmtime.WasmtimeError):
        return None


def _compile(name: str, params: Sequence[str], results: Sequence[str], file: Path) -> bytes:
    result = CORE_TYPES[results[0]] if results else "void"
    listed = ", ".join(f"{CORE_TYPES[kind]} a{index}" for index, kind in enumerate(params))
    given = ", ".join(f"a{index}" for index in range(len(params)))
    text = (
        f'#include <stdint.h>\n#include "user.c"\n__attribute__((export_name("played"))) {result} '
        f"played_{c_name(name)}({listed or 'void'}) {{ {'return ' if results else ''}{c_name(name)}({given}); }}\n"
    )
    with tempfile.TemporaryDirectory(prefix="rig-played-") as private:
        folder = Path(private)
        (folder / "user.c").write_bytes(file.read_bytes())
        (folder / "played.c").write_text(text, encoding="utf-8")
        zig(["cc", *_FLAGS, "-I", file.resolve().parent, "-c", "played.c", "-o", "played.o"], folder)
        zig(["wasm-ld", "played.o", "-o", "played.wasm", "--no-entry"], folder)
        return (folder / "played.wasm").read_bytes()


def _number(core: CoreValue) -> int | float:
    """As wasmtime takes it: integers signed."""
    if core.type[0] == "f":
        single = core.type == "f32"
        return float(struct.unpack("<f" if single else "<d", core.bits.to_bytes(4 if single else 8, "little"))[0])
    width = int(core.type[1:])
    return core.bits - (1 << width) if core.bits >> width - 1 else core.bits


def _bits(result: object, kinds: Sequence[str]) -> int:
    if not kinds:
        return 0
    if kinds[0][0] == "f":
        assert isinstance(result, float)
        return int.from_bytes(struct.pack("<f" if kinds[0] == "f32" else "<d", result), "little")
    assert isinstance(result, int)
    return result & (1 << int(kinds[0][1:])) - 1
