# SPDX-License-Identifier: Apache-2.0
"""What a run is about: component files or a fused module, and what the user says of them. See docs/subject.md."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from rig.build.components import FILE_LIMIT, demo_folder, demos, read_bounded, read_component
from rig.build.container import Form, form
from rig.build.words import printable
from rig.errors import UsageError
from rig.image.component import Component
from rig.image.model import Model

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # of components, domains, buffers: safe in paths, tables, HTML
DEFAULT = "scalar"
DEFAULT_MODELS = (Model.PAGE, Model.PACKED, Model.MULTI)  # and DOMAINS where domains are given
_NOTHING: Mapping[str, object] = MappingProxyType({})


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


def load_subject(args: Sequence[str | Path]) -> Subject:
    """SUBJECT of the command line: a TOML file, component files, one fused wasm (and its object), or a demo image.

    Nothing: the demo image `scalar`. Builds the demo image it needs. Raises UsageError, and for demo images what
    `demo_folder` raises.
    """
    if not args:
        args = [DEFAULT]
    if len(args) == 1 and str(args[0]) in demos():
        return _from_toml(demo_folder(str(args[0])) / "subject.toml")
    paths = [Path(arg) for arg in args]
    for path in paths:
        if path.suffix == ".toml" or path.is_dir():
            if len(paths) > 1:
                raise UsageError(f"{printable(path)}: a subject file is given alone, without other files beside it")
            return _from_toml(path / "subject.toml" if path.is_dir() else path)
        if not path.exists():
            raise UsageError(
                f"{printable(path)} does not exist, and no demo image is called so (there are {', '.join(demos())})"
            )
    return _from_files(paths)


def _from_toml(path: Path) -> Subject:
    from rig.build.subject_file import load  # here: pydantic, which plain files do not need

    return load(path)


def _from_files(paths: Sequence[Path]) -> Subject:
    objects = [path for path in paths if read_bounded(path, FILE_LIMIT)[:4] == b"\x7fELF"]
    wasm = [path for path in paths if path not in objects]
    if objects or (len(wasm) == 1 and form(read_bounded(wasm[0])) is Form.CORE):
        if len(wasm) != 1 or len(objects) > 1:
            raise UsageError("give an object file with the fused wasm it was made from: rig run FUSED.wasm OBJECT.o")
        return Subject(
            name=safe_name(wasm[0].stem),
            fused=wasm[0].resolve(),
            object=objects[0].resolve() if objects else None,
        )
    names = [safe_name(path.stem, f"component-{index}") for index, path in enumerate(wasm)]
    for index, name in enumerate(names):
        first = names.index(name)
        if first != index:
            raise UsageError(
                f"{printable(wasm[first])} and {printable(wasm[index])} would both be called {name!r}: "
                'give them names of their own in a TOML file ([[components]] file = "…" name = "…")'
            )
    return Subject(
        name=names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}",
        components=tuple(ComponentFile(path.resolve(), name) for path, name in zip(wasm, names, strict=True)),
        models=DEFAULT_MODELS,
    )


def safe_name(text: str, fallback: str = "subject") -> str:
    """`text` with everything that NAME does not allow replaced."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip("._-")[:64].rstrip("-")
    return name or fallback
