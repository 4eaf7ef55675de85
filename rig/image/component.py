# SPDX-License-Identifier: Apache-2.0
"""One input component as the subject names it, before fusion. Filled by `rig.build.components`."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class WitType:
    """A WIT value type. `kind` is the canonical name; `args` its element types; `names` field/case/flag names.

    kinds: bool u8 s8 u16 s16 u32 s32 u64 s64 f32 f64 char string list option result tuple record variant enum flags
    and `unsupported` (resources, streams, …: `names[0]` says which).
    option: args=(t,) · result: args=(ok|None, err|None) · variant: args per case, None where a case carries nothing.
    """

    kind: str
    args: tuple[WitType | None, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def carries_memory(self) -> bool:
        return self.kind in ("string", "list") or any(a is not None and a.carries_memory for a in self.args)


@dataclass(frozen=True, slots=True)
class WitFunction:
    interface: str | None  # "demo:iso/provider"; None: a bare function of the world
    name: str
    params: tuple[tuple[str, WitType], ...]
    result: WitType | None

    @property
    def core_name(self) -> str:
        """Name of the core export or import, as the fuser writes it: "demo:iso/provider#get" or "run"."""
        return f"{self.interface}#{self.name}" if self.interface else self.name


@dataclass(frozen=True, slots=True)
class Component:
    """A component file with everything later layers need of it."""

    name: str  # the subject's name for it, unique
    path: str
    data: bytes = field(repr=False)
    sha256: str
    exports: tuple[WitFunction, ...]
    imports: tuple[WitFunction, ...]
    core: tuple[bytes, ...] = field(default=(), repr=False)  # core modules inside, in order
    intruder: bool = False
    backed: int | None = None  # bytes of its memory it promises to stay in
