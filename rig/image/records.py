# SPDX-License-Identifier: Apache-2.0
"""What the fuser wrote about its own work, and whether it is true of this module.

Three custom sections of a module fused by meld 0.65 (toolchain reference 2.3):
`wsc.transformation.attestation` (JSON), `component-provenance` (SCPV version 3, binary), `meld.signature-manifest`
(JSON, optional). The first two carry a hash of the module without all three; one that was changed later is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import from_json

from rig.errors import UsageError
from rig.image.leb import Cursor
from rig.image.model import FuncType
from rig.image.module import Module

ATTESTATION = "wsc.transformation.attestation"
PROVENANCE = "component-provenance"
MANIFEST = "meld.signature-manifest"
REBUILD = "rebuild it with `meld fuse`"
MAX_JSON = 4 << 20
STUB = "component-18446744073709551615"  # how meld names its stand-in for an import that an adapter replaced

Index = Annotated[int, Field(ge=0, le=0xFFFF)]
Address = Annotated[int, Field(ge=0, le=1 << 32)]
Text = Annotated[str, StringConstraints(max_length=4096)]
Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
R = TypeVar("R", bound=BaseModel)


class _Record(BaseModel):
    """meld may add keys; the ones read here must have the right type."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Artifact(_Record):
    name: Text
    hash: Sha256
    size: int


class Input(_Record):
    artifact: Artifact


class Tool(_Record):
    name: Text
    version: Text


class Parameters(_Record):
    memory_strategy: Text
    address_rebasing: bool = False
    pack_rebase: bool = False
    share_stack: bool = False
    reproducible: bool = False
    domains: list[list[Index]] | None = None  # indexes of inputs (command line order)


class BoundaryRecord(_Record):
    from_component: Index  # flattened index, unlike `domains`
    to_component: Index
    function: Text
    lowering: Text
    wiring: Text
    crosses_memory: bool
    from_domain: Index = 0
    to_domain: Index = 0


class PlacementRecord(_Record):
    component: Index  # flattened index
    module: Index
    strategy: Text
    base: Address
    reserved: Address


class Metadata(_Record):
    parameters: Parameters
    boundaries: list[BoundaryRecord] = []
    placements: list[PlacementRecord] = []


class Attestation(_Record):
    version: Text
    transformation_type: Text
    inputs: Annotated[list[Input], Field(min_length=1, max_length=1024)]
    output: Artifact
    tool: Tool
    metadata: Metadata


@dataclass(frozen=True, slots=True)
class Origin:
    """SCPV entry: where a fused function comes from."""

    function: int  # fused index
    component: str  # name of the input as given to meld, or "component-N" (flattened index) with --reproducible
    index: int  # index in its core module, imports counted


@dataclass(frozen=True, slots=True)
class Signature:
    """Manifest entry of one lifted export."""

    export: str
    params: tuple[tuple[str, str], ...]  # (name, WIT type as text)
    result: str | None
    core: FuncType
    realloc: str | None  # export name


@dataclass(frozen=True, slots=True)
class Records:
    attestation: Attestation
    raw: Mapping[str, object] = field(repr=False)
    origins: tuple[Origin, ...]
    signatures: Mapping[str, Signature] | None  # None: no manifest


def read_records(module: Module) -> Records:
    """All records of a fused module, verified against it. Error: UsageError that names section and cure."""
    attestation, raw = _attestation(module)
    digest, origins = _provenance(module)
    stripped = module.without((ATTESTATION, PROVENANCE, MANIFEST))
    actual = hashlib.sha256(stripped).hexdigest()
    output = attestation.output
    if actual != output.hash or len(stripped) != output.size or actual != digest:
        raise UsageError(
            f"{module.name}: the module was changed after fusion, or its records lie: they describe {output.size} "
            f"bytes with sha256 {output.hash[:16]}… (attestation) and {digest[:16]}… (provenance), but without them it "
            f"has {len(stripped)} bytes with {actual[:16]}…; {REBUILD} and change nothing afterwards"
        )
    return Records(attestation, raw, origins, _manifest(module))


def _json(module: Module, title: str, payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_JSON:
        raise UsageError(f"{module.name}: section '{title}' has {len(payload)} bytes; the limit is {MAX_JSON}")
    try:
        value = from_json(payload)
    except ValueError as error:
        raise UsageError(f"{module.name}: section '{title}' is not JSON ({error}); {REBUILD}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{module.name}: section '{title}' is not a JSON object; {REBUILD}")
    return value


def _attestation(module: Module) -> tuple[Attestation, Mapping[str, object]]:
    section = module.custom(ATTESTATION)
    if section is None:
        raise UsageError(
            f"{module.name}: has no section '{ATTESTATION}', so nothing says what was fused; {REBUILD}, "
            "without --no-attestation"
        )
    raw = _json(module, ATTESTATION, section.payload)
    record = _validated(module.name, ATTESTATION, Attestation, raw)
    if record.version != "1.0" or record.transformation_type != "fusion" or record.tool.name != "meld":
        raise UsageError(
            f"{module.name}: section '{ATTESTATION}' is version {record.version!r} of a {record.transformation_type!r} "
            f"by {record.tool.name!r}; the rig reads version '1.0' of a 'fusion' by 'meld': {REBUILD} 0.65.1"
        )
    return record, raw


def _validated(name: str, title: str, shape: type[R], raw: object) -> R:
    try:
        return shape.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise UsageError(
            f"{name}: section '{title}', key '{where}': {first['msg']} ({error.error_count()} in all); {REBUILD}"
        ) from None


def _provenance(module: Module) -> tuple[str, tuple[Origin, ...]]:
    section = module.custom(PROVENANCE)
    if section is None:
        raise UsageError(
            f"{module.name}: has no section '{PROVENANCE}', so nothing says which function belongs to which component; "
            f"{REBUILD}, without --no-component-provenance"
        )
    c = Cursor(section.payload, f"{module.name}: section '{PROVENANCE}'")
    if c.take(4) != b"SCPV":
        c.fail("does not begin with SCPV", 0)
    version = c.u8()
    if version != 3:
        c.fail(f"is version {version}, the rig reads version 3", 4)
    c.take(2)  # bounded_memory, closed_world: claims of the fuser, not used
    digest = c.take(32).hex()
    origins: dict[int, Origin] = {}
    for _ in range(c.fixed(4)):
        at = c.pos
        function = c.fixed(4)
        raw = c.take(c.fixed(4))
        try:
            component = raw.decode("utf-8")
        except UnicodeDecodeError:
            c.fail("component name is not UTF-8", at)
        index, ranged, start, end = c.fixed(4), c.u8(), c.fixed(4), c.fixed(4)
        if not module.imported_functions <= function < len(module.functions) or function in origins:
            c.fail(f"names function {function}, which is imported, missing or named twice", at)
        body = module.body(function)
        if ranged and body is not None and (start, end) != (body.start, body.end):
            c.fail(f"says function {function} is at {start}…{end}, it is at {body.start}…{body.end}", at)
        origins[function] = Origin(function, component, index)
    c.done("provenance")
    return digest, tuple(origins[k] for k in sorted(origins))


class _Wit(_Record):
    params: list[Annotated[list[Text], Field(min_length=2, max_length=2)]] = []  # [name, type]
    result: Text | None = None


class _Core(_Record):
    params: list[Text]
    results: list[Text]


class _Entry(_Record):
    export: Text
    wit: _Wit
    core: _Core
    realloc: Text | None = None


class _Manifest(_Record):
    version: int
    exports: list[_Entry]


def _manifest(module: Module) -> Mapping[str, Signature] | None:
    section = module.custom(MANIFEST)
    if section is None:
        return None
    record = _validated(module.name, MANIFEST, _Manifest, _json(module, MANIFEST, section.payload))
    if record.version != 1:
        raise UsageError(
            f"{module.name}: section '{MANIFEST}' is version {record.version}, the rig reads 1; {REBUILD} 0.65.1"
        )
    return {
        e.export: Signature(
            e.export,
            tuple((name, type_) for name, type_ in e.wit.params),
            e.wit.result,
            FuncType(tuple(e.core.params), tuple(e.core.results)),
            e.realloc,
        )
        for e in record.exports
    }
