# SPDX-License-Identifier: Apache-2.0
"""Placement (before the link) and plan (after it) as values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    STATIC = "static"  # one map for all contexts: the control row
    SWITCH = "switch"  # whole map rewritten on every context change


class Lowering(StrEnum):
    SYNTH = "synth"  # --safety-bounds none
    SYNTH_MASK = "synth-mask"
    SYNTH_SOFTWARE = "synth-software"
    WASM2C = "wasm2c"

    @property
    def is_synth(self) -> bool:
        return self is not Lowering.WASM2C


class Kind(StrEnum):
    MEMORY = "memory"  # a linear memory
    SLICE = "slice"  # model 1: a component's part of a linear memory (lies inside that memory's object)
    STACK = "stack"  # native stack of an owner; its top holds the owner's globals table or wasm2c instance
    WINDOW = "window"  # RV32 synth: `__synth_globals`, swapped by the gate, alone in its region
    TABLE = "table"  # model 1 on Arm: function table bytes at memory 0's start
    CODE = "code"  # the unprivileged executable range
    PERIPHERAL = "peripheral"
    SHARED = "shared"  # a buffer two owners share on purpose
    PAD = "pad"  # agent-owned bytes with canaries around everything
    MAILBOX = "mailbox"
    AGENT = "agent"  # text or RAM of the reference runtime


@dataclass(frozen=True, slots=True)
class PeripheralGrant:
    """What the subject gives one owner of the peripheral space. Two grants may name the same range for two owners."""

    name: str
    owner: int
    start: int
    size: int
    rights: str = "rw"  # "r" | "rw"


@dataclass(frozen=True, slots=True)
class BufferGrant:
    """A buffer that owners share on purpose; the plan gives it a place. `rights`: owner → "r" | "rw"."""

    name: str
    size: int
    rights: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True)
class Grant:
    """An owner's rights on an object it does not own alone: a peripheral or a shared buffer."""

    owner: int
    name: str  # of the Placed object
    rights: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A native range. `end` is the logical end; `region_end` where the padding ends that a region over it grants."""

    kind: Kind
    name: str  # "memory:0", "slice:2", "stack:3", "window", "pad:0", "peripheral:uart1", "shared:buf", "save:1"
    start: int
    end: int
    region_end: int
    owner: int | None = None
    index: int | None = None  # memory index, owner index, …

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Placement:
    board: str
    model: str
    lowering: Lowering
    objects: tuple[Placed, ...]
    code: tuple[int, int]  # unprivileged executable range (padded to what regions can express)
    reserve: int  # bytes at the top of every stack for globals table or instance
    stack_size: int
    symbols: tuple[tuple[str, int], ...]  # absolute symbols for the linker script
    grants: tuple[Grant, ...] = ()  # peripherals and shared buffers

    def find(self, name: str) -> Placed:
        for placed in self.objects:
            if placed.name == name:
                return placed
        raise KeyError(name)

    def all(self, kind: Kind) -> tuple[Placed, ...]:
        return tuple(p for p in self.objects if p.kind is kind)


@dataclass(frozen=True, slots=True)
class RegionPlan:
    """One region of a context: what it grants on purpose, and the words that make it."""

    slot: int  # MPU region number; PMP: first entry index
    what: str  # name of the Placed object, "code", "stacks", …
    start: int
    end: int
    rights: str  # unprivileged: subset of "rwx"


@dataclass(frozen=True, slots=True)
class ContextPlan:
    """What is switched in while an owner runs: the words of all slots or entries, and the registers."""

    id: int  # = owner index for the plan's own contexts; higher ids are variants (W-17, W-18 disarmed)
    owner: int
    regions: tuple[RegionPlan, ...]
    arm: tuple[tuple[int, int], ...]  # () on RISC-V
    pmpcfg: tuple[int, ...]  # one byte per entry; () on Arm
    pmpaddr: tuple[int, ...]
    ctrl: int  # MPU_CTRL value (5 = ENABLE|PRIVDEFENA); RISC-V: mseccfg
    control: int  # CONTROL at entry (1 = nPRIV, 3 is set by hardware for PSP); RISC-V: MPP (0 = U)
    stack_low: int
    sp: int  # initial stack pointer
    r9: int  # Arm synth: globals table; else 0
    r10: int  # Arm synth: size of memory 0
    r11: int  # Arm synth: memory-0 base; RV32 synth: s11
    instance: int  # wasm2c: instance address; else 0
    window_save: int = 0  # RV32 synth: where the owner's globals are kept while it does not run


@dataclass(frozen=True, slots=True)
class ListCheck:
    """Gate check on a seam: word index of pointer and length among integer argument words, and the caller's span."""

    pointer: int
    length: int
    element_size: int
    low: int  # wasm offsets allowed: [low, high)
    high: int


@dataclass(frozen=True, slots=True)
class SeamPlan:
    index: int
    caller: int  # context id
    callee: int
    target: int  # native address, Thumb bit set on Arm
    reg_words: int  # argument words in registers
    stack_words: int  # argument words on the caller's stack
    result_words: int
    checks: tuple[ListCheck, ...]
    instance_first: bool  # wasm2c: the first argument word is the instance and is replaced


@dataclass(frozen=True, slots=True)
class Slack:
    """Bytes a region grants beyond the logical object."""

    owner: int
    what: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Plan:
    board: str
    model: str
    strategy: Strategy
    lowering: Lowering
    placement: Placement
    contexts: tuple[ContextPlan, ...]
    seams: tuple[SeamPlan, ...]
    slack: tuple[Slack, ...]
    regions_used: int
    regions_available: int

    def context(self, owner: int) -> ContextPlan:
        return self.contexts[owner]
