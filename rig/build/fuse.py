# SPDX-License-Identifier: Apache-2.0
"""Components → one core module, by the real meld. What meld cannot do is said in its own words, with the cure."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rig.build import container
from rig.build.words import printable, said
from rig.errors import InfrastructureError, Refusal, UsageError
from rig.host import tools
from rig.image.component import Component
from rig.image.model import Model

_SECONDS = 120.0
_LIMIT = 256 << 20  # bytes of a fused module
ATTESTATION = "wsc.transformation.attestation"

_TIME = re.compile(r"(?m)^\[?\d{4}-\d\d-\d\dT[0-9:.]+Z ")  # before meld's warnings; the same run says the same twice
_ALWAYS = ("--emit-manifest", "--validate")  # without the second, meld may leave an invalid module and say nothing
FLAGS: Mapping[Model, tuple[str, ...]] = {
    Model.PAGE: ("--memory", "shared", "--address-rebase"),
    Model.PACKED: ("--memory", "shared", "--pack-rebase"),
    Model.STACK: ("--memory", "shared", "--share-stack"),
    Model.MULTI: ("--memory", "multi"),
    Model.DOMAINS: ("--memory", "shared", "--address-rebase"),
}
RECIPE = "\n".join((*_ALWAYS, *(f"{model}: {' '.join(flags)}" for model, flags in FLAGS.items())))  # for cache keys
# What meld calls a placement that the model asked for (F-rows of the toolchain reference, section 2.3).
_STRATEGIES: Mapping[Model, tuple[str, ...]] = {
    Model.PAGE: ("page-granular",),
    Model.PACKED: ("packed",),
    Model.STACK: ("shared-stack", "shared-stack-stackless"),
    Model.MULTI: (),
    Model.DOMAINS: ("page-granular",),
}


@dataclass(frozen=True, slots=True)
class FusedFile:
    """A fused module on disk. `identity`: the attestation's `output.hash`, the same for the same inputs and flags."""

    path: Path
    data: bytes = field(repr=False)
    model: Model
    identity: str
    names: Mapping[str, str]  # meld's input name ("c0.wasm", as in provenance) → component name, in command-line order
    domains: Mapping[str, tuple[str, ...]]
    stderr_text: str
    argv: tuple[str, ...]  # as run; inputs under their safe names

    @property
    def warnings(self) -> tuple[str, ...]:
        """meld's warnings, each on one line: it goes on with exit 0 after some that matter (no relocations, cycles)."""
        lines = (printable(line, 600) for line in self.stderr_text.splitlines() if " WARN " in line)
        return tuple(line.partition(" WARN ")[2].strip() for line in lines)


def fuse(
    components: Sequence[Component],
    model: Model,
    out_dir: Path,
    *,
    domains: Mapping[str, Sequence[str]] | None = None,
) -> FusedFile:
    """Fuse `components` in their order into `out_dir`/fused.wasm.

    `domains` (model 3 only): name → component names; must name every component once. Raises UsageError where the
    input is not fit for the model, Refusal where meld would silently lay it out otherwise, InfrastructureError where
    meld itself fails.
    """
    if not components:
        raise UsageError("there are no components to fuse: name at least one component file")
    groups = _groups(components, model, domains or {})
    out_dir.mkdir(parents=True, exist_ok=True)
    out = (out_dir / "fused.wasm").resolve()
    with tempfile.TemporaryDirectory(prefix="fuse-", dir=out_dir) as private:
        folder = Path(private)
        files = {f"c{index}.wasm": component for index, component in enumerate(components)}
        for file, component in files.items():
            (folder / file).write_bytes(component.data)
        args = ["fuse", *files, "-o", "fused.wasm", *_ALWAYS, *FLAGS[model], *groups]
        done = tools.run(
            tools.find("meld"), args, cwd=folder, timeout=_SECONDS, env={"RUST_BACKTRACE": "0", "NO_COLOR": "1"}
        )
        if not done.ok:
            raise _failure(done.err, done.returncode, files, model)
        made = folder / "fused.wasm"
        if not made.is_file() or made.stat().st_size > _LIMIT:
            raise InfrastructureError(f"meld ended well and left no usable module: {done.command}\n{said(done.err)}")
        data = made.read_bytes()
        identity = _check(data, model, files, done.err)
        made.replace(out)
    return FusedFile(
        path=out,
        data=data,
        model=model,
        identity=identity,
        names={file: component.name for file, component in files.items()},
        domains={name: tuple(members) for name, members in (domains or {}).items()} if model is Model.DOMAINS else {},
        stderr_text=done.err,
        argv=done.argv,
    )


def _groups(components: Sequence[Component], model: Model, domains: Mapping[str, Sequence[str]]) -> list[str]:
    """`--domain` arguments. Domain names are replaced by numbers: meld keeps none of them (F4)."""
    if model is not Model.DOMAINS:
        return []
    files = {component.name: f"c{index}.wasm" for index, component in enumerate(components)}
    named = [member for members in domains.values() for member in members]
    wrong = [f"no component is called {printable(member)!r}" for member in named if member not in files]
    wrong += [f"{name!r} is in {named.count(name)} domains" for name in files if named.count(name) != 1]
    wrong += [f"domain {printable(name)!r} is empty" for name, members in domains.items() if not members]
    if wrong:
        raise UsageError(
            f"model domains: {'; '.join(map(printable, wrong))}: give [domains] that name every component exactly once"
        )
    args = []
    for index, members in enumerate(domains.values()):
        args += ["--domain", f"d{index}={','.join(files[member] for member in members)}"]
    return args


def _check(data: bytes, model: Model, files: Mapping[str, Component], words: str) -> str:
    """The module's identity, after a look at what meld really did. Raises Refusal for a silent fallback."""
    try:
        text = container.custom(data, ATTESTATION)
        record = json.loads(text or b"null")
        identity = record["output"]["hash"]
        placements = record["metadata"]["placements"]
        placed = {str(placement["strategy"]) for placement in placements}
    except (container.Malformed, ValueError, LookupError, TypeError, RecursionError) as error:
        raise InfrastructureError(f"meld left a module without a readable attestation: {error!r}") from error
    other = placed.difference(_STRATEGIES[model])
    if other:
        raise Refusal(
            f"meld did not lay out {model} but {', '.join(sorted(other))}",
            f"{_markers(files)}. meld says:\n{said(_TIME.sub('', words))}",
        )
    return str(identity)


def _markers(files: Mapping[str, Component]) -> str:
    bare = [c.name for c in files.values() if not any(_exports(module, "__heap_base") for module in c.core)]
    if not bare:
        return "see meld's own words"
    return f"{', '.join(bare)} lack(s) `__heap_base`: link with -Wl,--export=__heap_base"


def _exports(module: bytes, name: str) -> bool:
    """Whether a core module exports `name`."""
    for section in container.sections(module):
        if section.id == 7:
            count, at = container.leb(section.payload, 0)
            for _ in range(count):
                found, at = container.name_at(section.payload, at)
                if found == name:
                    return True
                _, at = container.leb(section.payload, at + 1)  # kind, index
    return False


# meld's phrase → what the user can do about it
_CURES: tuple[tuple[str, str], ...] = (
    ("--emit-relocs", "link the component with -Wl,--emit-relocs, or use the models multi only"),
    ("not a WebAssembly component", "componentise it with `wasm-tools component embed` and `component new`"),
    ("custom page sizes", "meld 0.65.1 takes pages of 64 KiB only (F7): drop (pagesize …)"),
    ("overlapping data segments", "give meld relocations to rebase with (-Wl,--emit-relocs)"),
    ("invalid memory-domain grouping", "name every component exactly once under [domains]"),
    ("stack-first", "link every component with -Wl,--stack-first"),
    (
        "results carry (ptr, len) indirections",
        "a returned string or list cannot cross inside one memory: use the model multi, or put the two components in "
        "different domains",
    ),
    (
        "parsing reloc entry",
        "meld 0.65.1 misreads relocations behind a call through a pointer (F12): compile the component with -mcpu=mvp, "
        "or use the model multi",
    ),
    ("memory.grow", "build the component without memory.grow, or use the model multi"),
)


def _failure(err: str, code: int, files: Mapping[str, Component], model: Model) -> Exception:
    reason = err[err.find("Error:") :] if "Error:" in err else err
    words = said(reason)
    for file, component in files.items():  # the user knows the name, not ours
        words = f"{printable(component.name)} ({file})".join(re.split(rf"\b{re.escape(file)}\b", words))
    if code == 1 and "Validation failed" in reason:
        return InfrastructureError(
            f"meld made an invalid module for the model {model}: a fault of meld's. Known for parameters with a string "
            f"or list in one case of a variant and a 64-bit value in another. meld says:\n{words}"
        )
    if code == 1:
        cure = next((cure for phrase, cure in _CURES if phrase in reason), "see meld's own words")
        if "__heap_base" in reason:
            cure = _markers(files)
        return UsageError(f"meld cannot fuse the components as {model}: {cure}. meld says:\n{words}")
    return InfrastructureError(f"meld failed (exit {code}) on the model {model}:\n{words}")
