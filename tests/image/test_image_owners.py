# SPDX-License-Identifier: Apache-2.0
"""Whose function, whose memory: by provenance joined with code, never by names of exports."""

from __future__ import annotations

from dataclasses import replace

import pytest
from image_samples import (
    Lab,
    attestation,
    found,
    names,
    owner,
    resigned,
    section,
    with_records,
    without,
)  # fmt: skip

from rig.errors import Refusal, UsageError
from rig.image.model import Model, OwnerKind
from rig.image.reader import read
from rig.image.records import ATTESTATION, MANIFEST, PROVENANCE


@pytest.mark.parametrize("alone", [False, True])
def test_functions_belong_to_components_adapters_and_nobody(lab: Lab, alone: bool) -> None:
    image = lab.image(Model.MULTI, "ca", "bi", "cc", alone=alone)
    kinds = [o.kind for o in image.owners]
    assert kinds == [OwnerKind.COMPONENT] * 3 + [OwnerKind.ADAPTER] * 3
    stems = ["ca", "bi", "cc"] if not alone else ["ca.1024", "bi.1024", "cc.1024"]
    assert names(image)[:3] == stems
    assert names(image)[3] == f"adapter:{stems[1]}>{stems[0]}#get"
    assert owner(image, stems[0]).functions == (0, 1, 2)
    assert all(image.functions[f].owner == o.index for o in image.owners for f in o.functions)


def test_in_model_one_the_fusers_unused_adapters_belong_to_nobody(lab: Lab) -> None:
    image = lab.image(Model.PAGE, "ca", "bi", "cc")
    assert [o.kind for o in image.owners] == [OwnerKind.COMPONENT] * 3
    assert [f.index for f in image.functions if f.owner is None] == [9, 10, 11]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_memory_follows_code_whatever_the_order(lab: Lab, order: tuple[str, str]) -> None:
    image = lab.image(Model.MULTI, *order)
    for name, word in (("a", b"AAAA"), ("b", b"BBBB")):
        place = owner(image, name).slice
        assert place is not None
        assert [s.data for s in image.segments if s.memory == place.memory] == [word]


@pytest.mark.parametrize("alone", [False, True])
def test_a_memory_that_only_an_adapter_touches_goes_to_the_end_that_has_none(lab: Lab, alone: bool) -> None:
    image = lab.image(Model.MULTI, "app", "sink", "tick", alone=alone)
    place = image.owners[0].slice
    assert place is not None and place.memory == 2 and image.memories[2].pages == 2
    adapter = next(o for o in image.owners if o.kind is OwnerKind.ADAPTER and o.memories)
    assert (adapter.memories, adapter.reads) == ((1, 2), (2,))
    assert [f.where for f in found(image, "F11")] == ["memory 2"] and "by adapter" in found(image, "F11")[0].what


def test_the_adapter_decides_where_elimination_cannot(lab: Lab) -> None:
    """Two memories without code of their own: app's, which an adapter copies from, and pgiver's."""
    image = lab.image(Model.MULTI, "app", "sink", "tick", "pgiver", alone=True)
    how = {f.owners[0]: f.what.rpartition(" ")[2] for f in found(image, "F11")}
    assert how == {0: "adapter", 3: "elimination"}


def test_memories_that_nobody_touches_go_by_merge_order_and_say_so(lab: Lab) -> None:
    for order in (("pgiver", "ptaker"), ("ptaker", "pgiver")):
        image = lab.image(Model.MULTI, *order)
        assert {o.name: o.slice.memory for o in image.owners if o.slice} == {"pgiver": 0, "ptaker": 1}
        assert all("by order" in f.what for f in found(image, "F11")) and len(found(image, "F11")) == 2


def test_a_component_without_memory_has_no_slice(lab: Lab) -> None:
    for model in (Model.MULTI, Model.PAGE, Model.PACKED, Model.STACK):
        image = lab.image(model, "ca", "counter", "two")
        assert owner(image, "counter").slice is None
        assert all(owner(image, n).slice for n in ("ca", "two"))


def swap_owners(data: bytes, a: str, b: str) -> bytes:
    """Provenance that gives the first function of `a` to `b`."""
    scpv = section(data, PROVENANCE)
    assert len(a) == len(b) and a.encode() in scpv
    return with_records(data, scpv=scpv.replace(a.encode(), b.encode(), 1))


def test_a_memory_of_two_components_is_refused(lab: Lab) -> None:
    lie = swap_owners(lab.fuse(Model.MULTI, "ca", "cc"), "ca.1024.wasm", "cc.1024.wasm")
    with pytest.raises(Refusal, match=r"functions of ca\.1024 and cc\.1024 both touch memory"):
        read(lie, name="x")


def test_provenance_that_contradicts_the_components_is_refused(lab: Lab) -> None:
    lie = swap_owners(lab.fuse(Model.MULTI, "ca", "cc"), "ca.1024.wasm", "cc.1024.wasm")
    with pytest.raises(UsageError, match="no such function of that type"):
        read(lie, name="x", components=(lab.component("ca"), lab.component("cc")))


def test_provenance_that_names_a_stranger_is_refused(lab: Lab) -> None:
    lie = swap_owners(lab.fuse(Model.MULTI, "ca", "cc"), "ca.1024.wasm", "XX.1024.wasm")
    with pytest.raises(UsageError, match=r"'XX\.1024\.wasm', which is no input"):
        read(lie, name="x")


def test_data_that_is_not_the_components_is_refused(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "ca", "cc")
    bare = without(data, ATTESTATION, PROVENANCE, MANIFEST).replace(b"CCCC", b"XXXX")
    with pytest.raises(UsageError, match="data that 'cc' has at 1024 is not at 1024"):
        read(resigned(bare, data), name="x", components=(lab.component("ca"), lab.component("cc")))


# -- joining names, inputs and files --------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
def test_reproducible_builds_are_joined_by_flattened_index(lab: Lab, alone: bool) -> None:
    image = lab.image(Model.MULTI, "ca", "bi", "cc", flags=("--reproducible",), alone=alone)
    assert [o.functions for o in image.owners[:3]] == [(0, 1, 2), (4, 5, 6, 7, 8), (3,)]
    assert {(b.caller, b.callee) for b in image.boundaries} == {(1, 0), (2, 0)}
    assert len(found(image, "F10")) == 1


def test_flattened_indexes_count_nested_components_of_every_kind(lab: Lab) -> None:
    """pgiver exports two interfaces with functions and one with types only: it takes four indexes."""
    image = lab.image(Model.MULTI, "pgiver", "ptaker")
    assert {b["from_component"] for b in attestation(image.wasm)["metadata"]["boundaries"]} == {4}
    assert {(b.caller, b.callee) for b in image.boundaries} == {(1, 0)}


def test_without_components_a_boundary_is_joined_by_its_name(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "pgiver", "ptaker", alone=True)
    assert {(b.caller, b.callee) for b in image.boundaries} == {(1, 0)}


def test_components_may_be_given_in_any_order_and_are_known_by_hash(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "ca", "cc")
    image = read(data, name="x", components=(lab.component("cc"), lab.component("ca")))
    assert names(image)[:2] == ["ca", "cc"]


def test_other_components_than_the_fused_ones_are_refused(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "ca", "cc")
    with pytest.raises(
        UsageError, match=r"input 1 \('cc\.1024\.wasm', sha256 .*is none of the given components \(cb\)"
    ):
        read(data, name="x", components=(lab.component("ca"), lab.component("cb")))
    with pytest.raises(UsageError, match="was fused from 2 components, 1 are given"):
        read(data, name="x", components=(lab.component("ca"),))


def test_one_file_given_twice_cannot_be_told_apart(lab: Lab) -> None:
    lab.run("meld", "fuse", lab.file("one").name, lab.file("one").name, "-o", "twice.wasm", "--memory", "multi")
    with pytest.raises(UsageError, match="two inputs are called"):
        read((lab.folder / "twice.wasm").read_bytes(), name="x")


def test_hostile_names_stay_on_one_line(lab: Lab) -> None:
    odd = "<script>\n.wasm"
    (lab.folder / odd).write_bytes(lab.file("one").read_bytes())
    lab.run("meld", "fuse", odd, lab.file("two").name, "-o", "odd.wasm", "--memory", "multi")
    image = read((lab.folder / "odd.wasm").read_bytes(), name="x")
    assert names(image)[0] == "<script>\\n" and all(c.isprintable() for n in names(image) for c in n)


def test_code_that_runs_before_any_gate_is_refused(lab: Lab) -> None:
    with pytest.raises(Refusal, match="start function"):
        lab.image(Model.MULTI, "start")


def test_promises_of_the_subject_come_through(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "ca", "cc")
    ca = replace(lab.component("ca"), backed=8192, intruder=True)
    image = read(data, name="x", components=(ca, lab.component("cc")))
    assert (owner(image, "ca").backed, owner(image, "ca").intruder) == (8192, True)
    assert (owner(image, "cc").backed, owner(image, "cc").intruder) == (None, False)
