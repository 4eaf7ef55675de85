# SPDX-License-Identifier: Apache-2.0
"""What a run is about: component files or a fused module, and what the user says of them. See docs/subject.md."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rig.build.components import read_component
from rig.image.component import Component
from rig.image.model import Model

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of components, domains, buffers: safe in paths, tables, HTML
DEFAULT_MODELS = (Model.PAGE, Model.PACKED, Model.MULTI)  # and DOMAINS where domains are given


@dataclass(frozen=True, slots=True)
class ComponentFile:
    path: Path
    name: str  # unique in the subject, matches NAME
    intruder: bool = False
    backed: int | None = None  # bytes of its memory it promises to stay in


@dataclass(frozen=True, slots=True)
class Peripheral:
    """A peripheral that a component may use. Two entries may name the same range for two owners."""

    name: str
    owner: str  # component
    base: int
    size: int
    rights: str  # "r" | "rw"


@dataclass(frozen=True, slots=True)
class SharedBuffer:
    """Bytes that several components share on purpose; placed by the rig."""

    name: str
    size: int
    owners: Mapping[str, str]  # component → "r" | "rw"


@dataclass(frozen=True, slots=True)
class Call:
    """What the user says of one export: a vector of his own (`args`), or how many to generate (`count`, 0: none)."""

    export: str  # "run" or "x:y/z#f"
    component: str | None  # None: the only one that has such an export
    args: tuple[object, ...] | None  # as in TOML; `rig.oracle.values.parse` gives them their WIT types
    count: int | None


@dataclass(frozen=True, slots=True)
class HostImport:
    """What stands in for an import that no component provides."""

    how: str  # "stub" returns zero | "trap" | "file"
    file: Path | None = None  # C source, for "file"


@dataclass(frozen=True, slots=True)
class Subject:
    """A subject as the user gave it; paths are absolute. `components` beside `fused`: what it was fused from."""

    name: str
    components: tuple[ComponentFile, ...] = ()
    fused: Path | None = None
    object: Path | None = None
    models: tuple[Model, ...] = ()  # () with `fused`: its attestation tells the model
    boards: tuple[str, ...] = ()  # (): the default boards
    lowering: str | None = None  # "synth" | "wasm2c" | None: chosen per image and board
    stack: int = 0  # bytes of native stack that every owner has at least; 0: what the rig thinks fit
    domains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    peripherals: tuple[Peripheral, ...] = ()
    shared: tuple[SharedBuffer, ...] = ()
    calls: tuple[Call, ...] = ()
    imports: Mapping[str, HostImport] = field(default_factory=dict)  # "x:y/z#f", or "x:y/z" for all its functions
    source: Path | None = None  # the TOML file

    def read_components(self) -> tuple[Component, ...]:
        """Read the component files. Raises UsageError."""
        return tuple(
            read_component(file.path, name=file.name, intruder=file.intruder, backed=file.backed)
            for file in self.components
        )


def safe_name(text: str, fallback: str = "subject") -> str:
    """`text` with everything that NAME does not allow replaced."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:64].rstrip("-")
    return name or fallback
