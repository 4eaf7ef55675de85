# SPDX-License-Identifier: Apache-2.0
"""The subject's TOML file. What each key means: docs/subject.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from rig.build.subject import (
    DEFAULT_MODELS,
    NAME,
    Call,
    ComponentFile,
    HostImport,
    Peripheral,
    SharedBuffer,
    Subject,
    safe_name,
)
from rig.build.toml_file import Address, Size, Table, dotted, errors, hint, read
from rig.image.model import Model

MOST_COMPONENTS = 256
MOST_VECTORS = 100_000


def _schema(value: object) -> int:
    if value != 1 or isinstance(value, bool):
        raise ValueError(f"this rig reads schema = 1, not {value!r}")
    return 1


def _model(value: object) -> Model:
    if not isinstance(value, str) or value not in tuple(Model):
        raise ValueError(f"unknown model {value!r}{hint(str(value), [str(model) for model in Model])}")
    return Model(value)


def _name(value: object) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise ValueError(
            f"{value!r} cannot be a name: letters, digits, '.', '_' and '-', at most 64, the first a letter or digit"
        )
    return value


Name = Annotated[str, BeforeValidator(_name)]
Rights = Literal["r", "rw"]


class _Memory(Table):
    backed: Size | None = None


class _Component(Table):
    file: str
    name: Name | None = None
    intruder: bool = False
    memory: _Memory = _Memory()


class _Peripheral(Table):
    name: Name
    owner: Name
    base: Address
    size: Size
    rights: Rights = "rw"


class _Shared(Table):
    name: Name
    size: Size
    owners: dict[str, Rights] = Field(min_length=1)


class _Call(Table):
    export: str
    component: Name | None = None
    args: list[Any] | None = None
    count: Annotated[int, Field(ge=0, le=MOST_VECTORS)] | None = None


class SubjectFile(Table):
    """The whole file."""

    format: Annotated[int, BeforeValidator(_schema)] = Field(alias="schema")
    name: Name | None = None
    components: list[_Component] = Field(default_factory=list)
    fused: str | None = None
    object: str | None = None
    models: list[Annotated[Model, BeforeValidator(_model)]] | None = None
    boards: list[Name] = Field(default_factory=list)
    lowering: Literal["synth", "wasm2c"] | None = None
    stack: Size = 0
    domains: dict[str, list[str]] = Field(default_factory=dict)
    peripherals: list[_Peripheral] = Field(default_factory=list)
    shared: list[_Shared] = Field(default_factory=list)
    calls: list[_Call] = Field(default_factory=list)
    imports: dict[str, str] = Field(default_factory=dict)


def load(path: Path) -> Subject:
    """Read a subject file. Paths in it are relative to its folder. Raises UsageError with all errors at once."""
    file = read(path, SubjectFile)
    subject = _subject(path.resolve(), file)
    wrong = list(_wrong(file, subject))
    if wrong:
        raise errors(path, wrong)
    return subject


def _subject(path: Path, file: SubjectFile) -> Subject:
    folder = path.parent
    models = tuple(file.models or ())
    if file.models is None and file.fused is None:
        models = DEFAULT_MODELS + ((Model.DOMAINS,) if file.domains else ())
    return Subject(
        name=file.name or safe_name(folder.name if path.stem == "subject" else path.stem),
        components=tuple(_component(folder, index, component) for index, component in enumerate(file.components)),
        fused=folder / file.fused if file.fused is not None else None,
        object=folder / file.object if file.object is not None else None,
        models=models,
        boards=tuple(file.boards),
        lowering=file.lowering,
        stack=file.stack,
        domains={name: tuple(members) for name, members in file.domains.items()},
        peripherals=tuple(Peripheral(p.name, p.owner, p.base, p.size, p.rights) for p in file.peripherals),
        shared=tuple(SharedBuffer(s.name, s.size, dict(s.owners)) for s in file.shared),
        calls=tuple(
            Call(c.export, c.component, None if c.args is None else tuple(c.args), c.count) for c in file.calls
        ),
        imports={key: _host(folder, how) for key, how in file.imports.items()},
        source=path,
    )


def _component(folder: Path, index: int, given: _Component) -> ComponentFile:
    name = given.name or safe_name(Path(given.file).stem, f"component-{index}")
    return ComponentFile(folder / given.file, name, given.intruder, given.memory.backed)


def _host(folder: Path, how: str) -> HostImport:
    return HostImport(how) if how in ("stub", "trap") else HostImport("file", folder / how)


def _wrong(file: SubjectFile, subject: Subject) -> Iterator[str]:
    """What no single key is to blame for."""
    names = [component.name for component in subject.components]
    yield from _sources(subject)
    if len(names) > MOST_COMPONENTS:
        yield f"components: {len(names)} of them, at most {MOST_COMPONENTS} can be fused"
    for index, name in enumerate(names):
        if names.index(name) != index:
            yield f"components[{index}].name: {name!r} is components[{names.index(name)}] already: give it another name"
    yield from _files(subject)
    yield from _domains(subject, names)
    for key, values in (("models", subject.models), ("boards", subject.boards)):
        yield from (f"{key}: {value} is there {n} times" for value, n in Counter(values).items() if n > 1)
    if names:
        yield from _owners(subject, names)
    for index, peripheral in enumerate(subject.peripherals):
        if peripheral.base + peripheral.size > 1 << 32:
            yield f"peripherals[{index}]: base + size leaves the 32-bit address space"
    for index, call in enumerate(subject.calls):
        if (call.args is None) == (call.count is None):
            yield f"calls[{index}]: give either args (one vector) or count (how many to generate)"
    buffers = [buffer.name for buffer in subject.shared]
    yield from (f"shared: {name!r} is there twice" for name in sorted(set(buffers)) if buffers.count(name) > 1)


def _sources(subject: Subject) -> Iterator[str]:
    if subject.fused is None:
        if not subject.components:
            yield 'components: there are none: add [[components]] with file = "X.wasm", or fused = "F.wasm"'
        if subject.object is not None:
            yield "object: needs fused, the module it was made from"
        return
    if subject.models:
        yield "models: drop it, the fused module's attestation tells the model"
    if subject.domains:
        yield "domains: drop it, they were fixed when the module was fused"


def _files(subject: Subject) -> Iterator[str]:
    named: list[tuple[str, Path]] = [(f"components[{i}].file", c.path) for i, c in enumerate(subject.components)]
    named += [(key, path) for key, path in (("fused", subject.fused), ("object", subject.object)) if path is not None]
    for key, host in subject.imports.items():
        if host.file is not None:
            named.append((dotted(("imports", key)), host.file))
            if host.file.suffix != ".c":
                yield f'{dotted(("imports", key))}: give "stub", "trap" or a C file (FILE.c), not {host.file.name!r}'
    for where, path in named:
        if "\0" in str(path) or not path.is_file():
            yield f"{where}: there is no file {str(path)!r} (paths are relative to the folder of this file)"


def _domains(subject: Subject, names: list[str]) -> Iterator[str]:
    if Model.DOMAINS in subject.models and not subject.domains:
        yield "domains: the model domains needs a table [domains] with NAME = [components]"
    if not subject.domains or subject.fused is not None:
        return
    members = Counter(member for group in subject.domains.values() for member in group)
    for domain, group in subject.domains.items():
        where = dotted(("domains", domain))
        if not NAME.fullmatch(domain):
            yield f"{where}: cannot be a name: letters, digits, '.', '_' and '-'"
        if not group:
            yield f"{where}: is empty: name its components"
        yield from (f"{where}: no component is called {m!r}{hint(m, names)}" for m in group if m not in names)
    for name in names:
        if members[name] != 1:
            yield f"domains: component {name!r} is in {members[name]} domains: every component is in exactly one"


def _owners(subject: Subject, names: list[str]) -> Iterator[str]:
    named: Iterable[tuple[str, str]] = [
        *((f"peripherals[{i}].owner", p.owner) for i, p in enumerate(subject.peripherals)),
        *((f"shared[{i}].owners", owner) for i, buffer in enumerate(subject.shared) for owner in buffer.owners),
        *((f"calls[{i}].component", c.component) for i, c in enumerate(subject.calls) if c.component is not None),
    ]
    for where, owner in named:
        if owner not in names:
            yield f"{where}: no component is called {owner!r}{hint(owner, names)}"
