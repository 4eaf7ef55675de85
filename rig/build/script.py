# SPDX-License-Identifier: Apache-2.0
"""The linker script of an image: agent here, unprivileged code there, nothing else anywhere. Pure text.

Objects in the shared RAM are absolute symbols of the placement; no section lies there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rig.boards.model import Roles
from rig.plan.model import Placement

_SYMBOL = re.compile(r"[A-Za-z_]\w*")

_SECTIONS = """
SECTIONS
{{
    . = {agent_text:#x};
    __agent_text_start = .;
    .agent.text : {{ KEEP(*(.agent.vectors .agent.vectors.*)) KEEP(*(.agent.entry .agent.entry.*))
                     KEEP(*(.agent.text .agent.text.*)) *(.text .text.*) }}
    .agent.rodata : ALIGN(8) {{ KEEP(*(.agent.rodata .agent.rodata.*)) *(.rodata .rodata.*) }}
    .agent.build_id : ALIGN(4) {{ KEEP(*(.note.gnu.build-id)) }}
    __agent_text_end = .;

    . = {agent_ram:#x};
    __agent_ram_start = .;
    .agent.data : {{ *(.agent.data .agent.data.* .data .data.* .sdata .sdata.*) }}
    .agent.bss (NOLOAD) : {{ KEEP(*(.agent.bss .agent.bss.*)) *(.bss .bss.* .sbss .sbss.* COMMON) . = ALIGN(16); }}
    __agent_ram_end = .;

    . = {code:#x};
    __unpriv_start = .;
    .unpriv.text : {{ KEEP(*(.unpriv.text .unpriv.text.*)) }}
    .unpriv.host : ALIGN(4) {{ KEEP(*(.unpriv.host .unpriv.host.*)) }}
    .unpriv.rodata : ALIGN(8) {{ KEEP(*(.unpriv.rodata .unpriv.rodata.*)) }}
    __unpriv_used = .;
    __unpriv_end = {code_end:#x};

    .ARM.attributes 0 : {{ *(.ARM.attributes) }}
    .riscv.attributes 0 : {{ *(.riscv.attributes) }}
    .symtab 0 : {{ *(.symtab) }}
    .strtab 0 : {{ *(.strtab) }}
    .shstrtab 0 : {{ *(.shstrtab) }}
    /DISCARD/ : {{ *(.ARM.exidx .ARM.exidx.* .ARM.extab .ARM.extab.* .eh_frame .comment .note.GNU-stack) }}
}}
ASSERT(SIZEOF(.agent.data) == 0, "the agent has initialised data: nothing would copy it")
ASSERT(__agent_text_end <= {agent_text_end:#x}, "agent text does not fit")
ASSERT(__agent_ram_end <= {agent_ram_end:#x}, "agent RAM does not fit")
ASSERT(__unpriv_used <= __unpriv_end, "unprivileged code does not fit")
"""


def linker_script(roles: Roles, placement: Placement, extra: Iterable[tuple[str, int]] = ()) -> str:
    """The script. `extra`: more absolute symbols (name, value)."""
    lines = []
    for name, value in (*placement.symbols, *extra):
        assert _SYMBOL.fullmatch(name), f"{name!r} is no symbol"
        lines.append(f"{name} = {value:#010x};")
    return "\n".join(lines) + _SECTIONS.format(
        agent_text=roles.agent_text[0],
        agent_text_end=roles.agent_text[1],
        agent_ram=roles.agent_ram[0],
        agent_ram_end=roles.agent_ram[1],
        code=placement.code[0],
        code_end=placement.code[1],
    )
