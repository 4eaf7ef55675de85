# SPDX-License-Identifier: Apache-2.0
"""Generated beside every image: `image.c` (facts and the reset hook for the agent) and the gate stubs. Pure text.

The shapes are fixed in docs/internals.md.
"""

from __future__ import annotations

from rig.boards.model import Arch, Board
from rig.errors import Refusal, UsageError
from rig.image.model import Image
from rig.plan.globals import instance
from rig.plan.model import Lowering

SEGMENT_LIMIT = 1 << 20  # bytes of data segments together


def image_c(image: Image, lowering: Lowering, build_id: bytes) -> str:
    """C text. `build_id`: 20 bytes. The data segments fill the memories for every lowering alike, in their order.

    Raises UsageError for a segment outside its memory, Refusal where the segments are too many bytes for a board.
    """
    assert len(build_id) == 20, "a build id has 20 bytes"
    wasm2c = lowering is Lowering.WASM2C
    segments = [segment for segment in image.segments if segment.data]
    total = sum(len(segment.data) for segment in segments)
    if total > SEGMENT_LIMIT:
        raise Refusal("does not fit", f"{total} bytes of data segments, {SEGMENT_LIMIT} can be kept in code memory")
    for k, segment in enumerate(segments):
        end, size = segment.offset + len(segment.data), image.memories[segment.memory].size
        if end > size:
            where = f"data segment {k} ends at {end} of a memory of {size} bytes"
            raise UsageError(f"{image.name}: {where}: build it again")
    lines = [
        "// Generated for one image. Contracts: docs/internals.md.",
        '#pragma clang section text = ".agent.text" rodata = ".agent.rodata" data = ".agent.data" bss = ".agent.bss"',
        "#include <stdint.h>",
        "",
        f"const uint32_t rig_image_owners = {len(image.owners)}, rig_image_seams = {len(image.seams)};",
        f"const uint32_t rig_instance_size = {instance(image).size if wasm2c else 0};",
        f"const uint8_t rig_build_id[20] = {{{_bytes(build_id)}}};",
        "",
    ]
    for memory in dict.fromkeys(segment.memory for segment in segments):
        lines.append(f"extern uint8_t rig_mem_{memory}[];")
    for k, segment in enumerate(segments):
        lines.append(f"static const uint8_t segment_{k}[{len(segment.data)}] = {{{_bytes(segment.data)}}};")
    lines += ["struct segment { uint8_t *to; const uint8_t *from; uint32_t size; };"]
    if segments:
        lines.append(f"static const struct segment segments[{len(segments)}] = {{")
        for k, segment in enumerate(segments):
            place = f"rig_mem_{segment.memory} + {segment.offset:#x}u"
            lines.append(f"    {{{place}, segment_{k}, sizeof segment_{k}}},")
        lines.append("};")
    if wasm2c:
        lines += [f"uint32_t rig_image_instances[{len(image.owners)}];", "void rig_instance_init(void *instance);"]
    lines += ["", "void rig_image_reset(void)", "{"]
    if segments:
        lines += [
            f"    for (uint32_t k = 0; k < {len(segments)}; k++)",
            "        for (uint32_t i = 0; i < segments[k].size; i++)",
            "            ((volatile uint8_t *)segments[k].to)[i] = segments[k].from[i];",
        ]
    if wasm2c:
        lines += [
            f"    for (uint32_t i = 0; i < {len(image.owners)}; i++)",
            "        if (rig_image_instances[i] != 0)",
            "            rig_instance_init((void *)(uintptr_t)rig_image_instances[i]);",
        ]
    return "\n".join([*lines, "}", ""])


def _bytes(data: bytes) -> str:
    return ", ".join(str(byte) for byte in data)


def gates_s(image: Image, board: Board) -> str:
    """Assembly text: one gate stub per seam, in the unprivileged range."""
    arm = board.arch is Arch.V7M
    at, head = ("%", [".syntax unified", ".thumb"]) if arm else ("@", [])
    body = ["movw r12, #{i}", "svc #1", "bx lr"] if arm else ["li t0, 1", "li t1, {i}", "ecall", "ret"]
    lines = [*head, f'.section .unpriv.text.gates, "ax", {at}progbits']
    for seam in image.seams:
        name = f"rig_gate_{seam.index}"
        lines += [".balign 4", f".globl {name}", f".type {name}, {at}function", f"{name}:"]
        lines += [*(line.format(i=seam.index) for line in body), f".size {name}, . - {name}"]
    return "\n".join([*lines, ""])
