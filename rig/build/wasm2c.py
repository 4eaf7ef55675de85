# SPDX-License-Identifier: Apache-2.0
"""The second lowering: wasm2c and the C compiler. Covers every image, on Arm and RISC-V."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rig.boards.model import Board
from rig.build import elfobj
from rig.build.cc import compile_c
from rig.build.closure import close
from rig.build.gated import Gated, check_compiled
from rig.build.seams import Calls
from rig.build.wasm2c_rewrite import rewrite, sanitise
from rig.build.words import said
from rig.errors import Refusal
from rig.host import tools
from rig.image.model import Image
from rig.resources import data_dir

_SECONDS = 120.0
_OPTIONS = (
    "--disable-exceptions", "--disable-simd", "--disable-relaxed-simd", "--disable-tail-call", "--disable-memory64",
    "--enable-custom-page-sizes",
)  # fmt: skip

# Interprocedural guesses are off (no outlining, no merging), arithmetic is wasm's (wrapping, no fused multiply-add, no
# strict aliasing), and an access is as wide as wasm says.
CFLAGS: Sequence[str] = (
    "-std=gnu11", "-O2", "-ffreestanding", "-fno-builtin", "-fno-sanitize=all", "-fno-strict-aliasing",
    "-fno-strict-overflow", "-fwrapv", "-ffp-contract=off", "-fno-stack-protector", "-fomit-frame-pointer",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections", "-g0", "-w",
    "-fno-pic", "-mno-outline", "-fno-vectorize", "-fno-slp-vectorize",
)  # fmt: skip


def lower(image: Image, board: Board, folder: Path) -> tuple[Path, Gated]:
    """Lower `image` in `folder`: the closed component object and how its seams are gated.

    Raises Refusal with wasm2c's own words where it cannot, InfrastructureError where the compiler fails.
    """
    calls = Calls(image)
    source = translate(image, calls, folder)
    include = data_dir("firmware") / "wasm2c"
    raw = folder / "module.o"
    compile_c(board, source, raw, [*CFLAGS, "-I", include, "-I", include / "include"])
    obj = elfobj.parse(raw.read_bytes(), "compiled component code")
    gated = check_compiled(obj, image, calls)
    out = folder / "component.o"
    close(board, [raw], ["rig_instance_init", *(f"rig_fn_{n}" for n in sorted(gated.functions))], out)
    return out, gated


def translate(image: Image, calls: Calls, folder: Path) -> Path:
    """Run wasm2c on the module without its names; the rewritten C file."""
    module, made = folder / "module.wasm", folder / "wasm2c.c"
    module.write_bytes(sanitise(image.wasm))
    args = [*_OPTIONS, module.name, "-n", "mod", "-o", made.name]
    made.unlink(missing_ok=True)
    done = tools.run(tools.find("wasm2c"), args, cwd=folder, timeout=_SECONDS)
    if not done.ok or not made.is_file():
        raise Refusal("wasm2c refuses the module", said(done.err or done.out))
    header = made.with_suffix(".h")
    text = rewrite(made.read_text(encoding="utf-8"), header.read_text(encoding="utf-8"), image, calls)
    source = folder / "module.c"
    source.write_text(text, encoding="utf-8")
    return source
