# SPDX-License-Identifier: Apache-2.0
"""Components from tests/fixtures/fuse, fused by the real meld: built once per session, on demand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rig.build.components import read_component
from rig.host import tools
from rig.image.component import Component
from rig.image.model import Finding, Image, Model, Owner
from rig.image.reader import read
from rig.image.records import ATTESTATION, MANIFEST, PROVENANCE
from rig.image.wasm import parse_module

SOURCES = Path(__file__).parents[1] / "fixtures" / "fuse"
WORLDS = {
    "a": "iso/prov", "b": "iso/cons", "ca": "iso/prov", "cb": "iso/cons", "cc": "iso/third", "bi": "iso/intr",
    "app": "lst/app", "sink": "lst/psink", "tick": "lst/ptick",
    "capp": "lst/app", "csink": "lst/psink", "ctick": "lst/ptick", "fixed": "lst/psink",
    "one": "two/one", "two": "two/two", "far": "two/two", "ptr": "two/two", "counter": "two/one", "start": "two/one",
    "maker": "rich/maker", "giver": "rich/giver", "user": "rich/user", "pgiver": "pure/giver", "ptaker": "pure/taker",
    "idle": "pure/taker",
}  # fmt: skip
FLAGS = {
    Model.PAGE: ("--memory", "shared", "--address-rebase"),
    Model.PACKED: ("--memory", "shared", "--pack-rebase"),
    Model.STACK: ("--memory", "shared", "--share-stack"),
    Model.MULTI: ("--memory", "multi"),
    Model.DOMAINS: ("--memory", "shared", "--address-rebase"),
}
LINK = ("--no-entry", "--emit-relocs", "--export-memory", "--export=__heap_base", "--stack-first")


class Lab:
    """`lab.component("ca")`, `lab.fuse(Model.MULTI, "ca", "cb")`, `lab.image(…)`: each made once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fused: dict[object, bytes] = {}

    def run(self, name: str, *args: str | Path) -> None:
        done = tools.run(tools.find(name), list(args), cwd=self.folder, timeout=120)
        assert done.ok, done.err

    def core(self, name: str, stack: int = 1024) -> Path:
        out = self.folder / f"{name}.{stack}.core"
        if out.exists():
            return out
        if (SOURCES / f"{name}.wat").exists():
            self.run("wasm-tools", "parse", SOURCES / f"{name}.wat", "-o", out)
            return out
        objects = []
        for part in (name, "away") if name == "far" else (name,):
            pic = ("-fPIC",) if part == "far" else ()
            self.run(
                "zig",
                "cc",
                "-target",
                "wasm32-freestanding",
                "-O1",
                *pic,
                "-c",
                SOURCES / f"{part}.c",
                "-o",
                f"{part}.o",
            )
            objects.append(f"{part}.o")
        self.run("zig", "wasm-ld", *objects, "-o", out.name, *LINK, "-z", f"stack-size={stack}")
        return out

    def file(self, name: str, stack: int = 1024) -> Path:
        """The component file."""
        out = self.folder / f"{name}.{stack}.wasm"
        if not out.exists():
            core = self.core(name, stack)
            wit, world = WORLDS[name].split("/")
            self.run(
                "wasm-tools", "component", "embed", SOURCES / f"{wit}.wit", "--world", world, core, "-o", "x.embed"
            )
            self.run("wasm-tools", "component", "new", "x.embed", "-o", out.name)
        return out

    def component(self, name: str, stack: int = 1024) -> Component:
        return read_component(self.file(name, stack), name=name, intruder=name == "bi")

    def fuse(
        self,
        model: Model,
        *names: str,
        domains: Mapping[str, tuple[str, ...]] | None = None,
        flags: tuple[str, ...] = (),
        stacks: Mapping[str, int] | None = None,
    ) -> bytes:
        key = (model, names, str(domains), flags, str(stacks))
        if key not in self._fused:
            files = {n: self.file(n, (stacks or {}).get(n, 1024)).name for n in names}
            groups = [
                x for d, m in (domains or {}).items() for x in ("--domain", f"{d}={','.join(files[n] for n in m)}")
            ]
            self.run("meld", "fuse", *files.values(), "-o", "fused.wasm", *FLAGS[model], *flags, *groups)
            self._fused[key] = (self.folder / "fused.wasm").read_bytes()
        return self._fused[key]

    def image(
        self,
        model: Model,
        *names: str,
        domains: Mapping[str, tuple[str, ...]] | None = None,
        flags: tuple[str, ...] = (),
        alone: bool = False,
        imports: Collection[str] = (),
        stacks: Mapping[str, int] | None = None,
    ) -> Image:
        """Fused and read; `alone`: without the components."""
        data = self.fuse(model, *names, domains=domains, flags=flags, stacks=stacks)
        components = () if alone else tuple(self.component(n, (stacks or {}).get(n, 1024)) for n in names)
        return read(
            data, name="fused.wasm", model=model, components=components, host_imports=imports,
            domains=None if alone else domains,
        )  # fmt: skip


def owner(image: Image, name: str) -> Owner:
    return next(o for o in image.owners if o.name == name)


def names(image: Image) -> list[str]:
    return [o.name for o in image.owners]


def found(image: Image, id_: str) -> list[Finding]:
    return [f for f in image.findings if f.id == id_]


# -- forging: artifacts that lie ----------------------------------------------------------------------------------


def leb(value: int) -> bytes:
    out = b""
    while True:
        out += bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
        value >>= 7
        if not value:
            return out


def custom(name: str, payload: bytes) -> bytes:
    body = leb(len(name.encode())) + name.encode() + payload
    return b"\0" + leb(len(body)) + body


def without(data: bytes, *sections: str) -> bytes:
    return parse_module(data, "x").without(sections)


def section(data: bytes, name: str) -> bytes:
    found_ = parse_module(data, "x").custom(name)
    assert found_ is not None
    return found_.payload


def attestation(data: bytes) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(section(data, ATTESTATION))
    return record


def with_records(data: bytes, record: object | None = None, scpv: bytes | None = None) -> bytes:
    """The module with other records: as given, not made true."""
    text = section(data, ATTESTATION) if record is None else json.dumps(record).encode()
    return (
        without(data, ATTESTATION, PROVENANCE)
        + custom(ATTESTATION, text)
        + custom(PROVENANCE, section(data, PROVENANCE) if scpv is None else scpv)
    )


def resigned(code: bytes, original: bytes) -> bytes:
    """A changed module (records stripped) with the original's records, hashes made true again."""
    record, scpv = attestation(original), bytearray(section(original, PROVENANCE))
    bare = code
    manifest = parse_module(original, "x").custom(MANIFEST)
    digest = hashlib.sha256(bare)
    record["output"]["hash"], record["output"]["size"] = digest.hexdigest(), len(bare)
    scpv[7:39] = digest.digest()
    tail = custom(MANIFEST, manifest.payload) if manifest else b""
    return bare + tail + custom(ATTESTATION, json.dumps(record).encode()) + custom(PROVENANCE, bytes(scpv))


def anonymous(component: Component) -> Component:
    """Without WIT types."""
    return replace(component, exports=(), imports=())
