# SPDX-License-Identifier: Apache-2.0
"""Lowered code on an emulator without any agent: what the functions return, or that they trap."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rig.boards.load import load_board
from rig.boards.model import Arch
from rig.build.cc import compile_c
from rig.build.link import link
from rig.build.lower import lower
from rig.host import tools
from rig.image.model import Image
from rig.plan.place import place

C_TYPES = {"i32": "uint32_t", "i64": "uint64_t", "f32": "float", "f64": "double"}
Call = tuple[str, tuple[int, ...]]  # export, bit patterns of the arguments


def run_native(folder: Path, image: Image, board_name: str, calls: Sequence[Call]) -> list[int | str]:
    """Bit pattern of each call's result (0 without one), or "trap"."""
    board = load_board(board_name)
    assert board.roles is not None and board.qemu is not None
    lowered = lower(image, board, wanted="wasm2c")
    placement = place(image, board, lowered.lowering)
    top = board.roles.agent_ram[1]
    defines = [f"-DRESERVE={placement.reserve}", f"-DSTACK={top}u", f'-DSTACK_TEXT="{top}"']
    shutil.copy(Path(__file__).parent / "native.c", folder / "native.c")
    (folder / "calls.c").write_text(_calls(image, calls))
    flags = ["-std=gnu11", "-O1", "-g0", "-fno-builtin", *defines]
    for name in ("native", "calls"):
        compile_c(board, folder / f"{name}.c", folder / f"{name}.o", flags)
    linked = link(image, board, placement, lowered, [folder / "native.o", folder / "calls.o"])
    args = [*board.qemu.args] if board.arch is Arch.RV32 else []
    if board.qemu.cpu:
        args += ["-cpu", board.qemu.cpu]
    done = tools.run(
        tools.find(f"qemu-system-{board.qemu.system}"),
        ["-machine", board.qemu.machine, *args, "-nographic", "-monitor", "none", "-serial", "none",
         "-semihosting-config", "enable=on,target=native", "-kernel", linked.path],
        timeout=30.0,
    )  # fmt: skip
    lines = (done.out + done.err).split()
    assert lines[-1:] == ["end"], (done.out, done.err)
    return [line if line == "trap" else int(line, 16) for line in lines[:-1]]


def _calls(image: Image, calls: Sequence[Call]) -> str:
    """C text of `run_all`."""
    lines = [
        '#pragma clang section text = ".agent.text" rodata = ".agent.rodata" data = ".agent.data" bss = ".agent.bss"',
        "#include <stdint.h>", "#include <stddef.h>",
        "void show(uint64_t value); int save(void); void *instance(void);",
    ]  # fmt: skip
    for n in sorted({image.exports[name] for name, _ in calls}):
        type_ = image.functions[n].type
        result = C_TYPES[type_.results[0]] if type_.results else "void"
        lines.append(f"{result} rig_fn_{n}({', '.join(['void *', *(C_TYPES[p] for p in type_.params)])});")
    lines.append("void run_all(void) {")
    for name, values in calls:
        n = image.exports[name]
        type_ = image.functions[n].type
        args = ["instance()"]
        for kind, bits in zip(type_.params, values, strict=True):
            if kind in ("f32", "f64"):
                args.append(f"(union {{ uint{kind[1:]}_t u; {C_TYPES[kind]} f; }}){{ {bits}ull }}.f")
            else:
                args.append(f"({C_TYPES[kind]}){bits}ull")
        call = f"rig_fn_{n}({', '.join(args)})"
        if not type_.results:
            body = f"{call}; show(0);"
        elif type_.results[0] in ("f32", "f64"):
            width = type_.results[0][1:]
            body = f"union {{ {C_TYPES[type_.results[0]]} f; uint{width}_t u; }} r = {{ {call} }}; show(r.u);"
        else:
            body = f"show({call});"
        lines.append(f"    if (save() == 0) {{ {body} }}")
    return "\n".join([*lines, "}", ""])


def run_wasmtime(image: Image, calls: Sequence[Call]) -> list[int | str]:
    """The same calls on one instance in wasmtime; a call that traps leaves the instance as it is."""
    import struct

    import wasmtime

    config = wasmtime.Config()
    config.wasm_multi_memory = True
    engine = wasmtime.Engine(config)
    store = wasmtime.Store(engine)
    instance = wasmtime.Instance(store, wasmtime.Module(engine, image.wasm), [])
    found: list[int | str] = []
    for name, values in calls:
        type_ = image.functions[image.exports[name]].type
        args: list[int | float] = []
        for kind, bits in zip(type_.params, values, strict=True):
            width = 4 if kind.endswith("32") else 8
            raw = bits.to_bytes(width, "little")
            args.append(struct.unpack("<" + {"i32": "i", "i64": "q", "f32": "f", "f64": "d"}[kind], raw)[0])
        function = instance.exports(store)[name]
        assert isinstance(function, wasmtime.Func)
        try:
            value = function(store, *args)
        except (wasmtime.Trap, wasmtime.WasmtimeError):
            found.append("trap")
            continue
        if not type_.results:
            found.append(0)
            continue
        raw = struct.pack("<" + {"i32": "i", "i64": "q", "f32": "f", "f64": "d"}[type_.results[0]], value)
        found.append(int.from_bytes(raw, "little"))
    return found
