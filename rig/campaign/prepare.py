# SPDX-License-Identifier: Apache-2.0
"""From a subject to a linked and bound image: fuse, read, place, lower, link, bind. Everything costly is cached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rig.boards.model import Board
from rig.build.agent import compile_agent, inputs
from rig.build.cache import cached, digest
from rig.build.fuse import RECIPE, fuse
from rig.build.link import Linked, link
from rig.build.lower import Lowered, choose_lowering, lower
from rig.build.subject import HostImport, Subject
from rig.errors import Refusal, RigError, ToolMissing, UsageError
from rig.host import tools
from rig.image.component import Component
from rig.image.deputies import limits
from rig.image.model import Finding, Image, Model, OwnerKind
from rig.image.reader import read
from rig.image.records import read_records
from rig.image.slices import model_of
from rig.image.wasm import parse_module
from rig.plan.bind import bind
from rig.plan.model import BufferGrant, Lowering, PeripheralGrant, Placement, Plan, Strategy
from rig.plan.place import place

Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Built:
    """An image on a board, linked: everything that strategies share."""

    image: Image
    board: Board
    placement: Placement
    lowered: Lowered
    linked: Linked
    findings: tuple[Finding, ...] = field(default=())


def make_image(subject: Subject, components: Sequence[Component], model: Model | None, note: Note) -> Image:
    """Fuse (where components are given) and read. Raises UsageError, Refusal."""
    if subject.fused is not None:
        note(f"reading {subject.fused.name}")
        return read(
            subject.fused.read_bytes(),
            name=subject.name,
            model=model,
            components=components,
            domains=subject.domains,
            host_imports=tuple(subject.imports),
        )
    if model is None:
        raise UsageError(f"{subject.name}: name a model (--model) to fuse components")
    note(f"fusing {len(components)} components ({model.value})")
    domains = subject.domains if model is Model.DOMAINS else {}
    key = digest(
        tools.find("meld").version,
        RECIPE,
        model.value,
        repr(sorted(domains.items())),
        *(part for component in components for part in (component.name, component.data)),
    )
    folder = cached("fused", key, lambda out: _keep_module(components, model, out, domains))
    return read(
        (folder / "fused.wasm").read_bytes(),
        name=subject.name,
        model=model,
        components=components,
        domains=domains,
        host_imports=tuple(subject.imports),
    )


def fused_model(subject: Subject) -> str:
    """What a fused module says it was fused as; "fused" where it does not say."""
    if subject.fused is None:
        return "fused"
    try:
        module = parse_module(subject.fused.read_bytes(), subject.name)
        return model_of(module, read_records(module), None).value
    except RigError:
        return "fused"


def _keep_module(
    components: Sequence[Component], model: Model, out: Path, domains: Mapping[str, Sequence[str]]
) -> None:
    fuse(components, model, out, domains=domains)


def identity(image: Image) -> str:
    """The module's hash without the fuser's records: the same for the same inputs, whenever it was fused."""
    output = image.attestation.get("output")
    return str(output["hash"]) if isinstance(output, Mapping) and "hash" in output else image.sha256


def grants(subject: Subject, image: Image) -> tuple[list[PeripheralGrant], list[BufferGrant]]:
    """The subject's peripherals and shared buffers, with owners as indexes. UsageError for an unknown component."""
    by_name = {owner.name: owner.index for owner in image.owners if owner.kind is OwnerKind.COMPONENT}

    def index(name: str, where: str) -> int:
        if name not in by_name:
            raise UsageError(f"{where}: there is no component {name!r} (there are {', '.join(sorted(by_name))})")
        return by_name[name]

    peripherals = [
        PeripheralGrant(p.name, index(p.owner, f"peripherals {p.name}: owner"), p.base, p.size, p.rights)
        for p in subject.peripherals
    ]
    buffers = [
        BufferGrant(b.name, b.size, tuple((index(name, f"shared {b.name}: owners"), r) for name, r in b.owners.items()))
        for b in subject.shared
    ]
    return peripherals, buffers


def build(
    subject: Subject,
    image: Image,
    board: Board,
    note: Note,
    *,
    wanted: str | None = None,
    agent_defines: Sequence[str] = (),
) -> Built:
    """Place, lower, link. Raises Refusal with the arithmetic where the image does not fit the board."""
    peripherals, buffers = grants(subject, image)
    guess, _ = choose_lowering(image, board, wanted, _have_synth())

    def placed(lowering: Lowering) -> Placement:
        return place(
            image, board, lowering, peripherals=peripherals, shared_buffers=buffers, native_stack=subject.stack
        )

    placement = placed(guess)  # refuse before lowering
    note(f"lowering for {board.name} ({image.model.value})")
    lowered = lower(image, board, wanted=wanted, given=subject.object, imports=_imports(subject))
    if lowered.lowering is not guess:
        placement = placed(lowered.lowering)
    note(f"linking for {board.name} ({image.model.value}, {lowered.lowering.value})")
    linked = link(image, board, placement, lowered, agent_objects(board, agent_defines))
    findings = (*image.findings, *limits(image), *lowered.findings, *linked.findings)
    return Built(image, board, placement, lowered, linked, findings)


def agent_objects(board: Board, defines: Sequence[str] = ()) -> list[Path]:
    """The reference runtime's objects for a board, from the cache where they are there."""
    key = digest(
        tools.find("zig").version,
        repr(replace(board, title="", sources=())),
        *sorted(defines),
        *(part for file in inputs(board.arch) for part in (file.name, file.read_bytes())),
    )
    folder = cached("agent", key, lambda out: _compile(board, out, defines))
    return sorted(folder.glob("*.o"))


def _compile(board: Board, out: Path, defines: Sequence[str]) -> None:
    compile_agent(board, out, defines=defines)


def bind_strategies(built: Built, strategies: Iterable[Strategy]) -> dict[Strategy, Plan | Refusal]:
    """The plan of every strategy, or why it cannot be."""
    plans: dict[Strategy, Plan | Refusal] = {}
    for strategy in strategies:
        try:
            plans[strategy] = bind(built.image, built.board, built.placement, strategy, built.linked.symbols)
        except Refusal as refusal:
            plans[strategy] = refusal
    return plans


def _imports(subject: Subject) -> Mapping[str, HostImport]:
    return subject.imports


def _have_synth() -> bool:
    try:
        tools.find("synth")
    except ToolMissing:
        return False
    return True
