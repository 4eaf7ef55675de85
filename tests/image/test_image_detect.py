# SPDX-License-Identifier: Apache-2.0
"""Each known fault of the fuser: one artifact that shows it, one that does not, and nothing said without cause."""

from __future__ import annotations

import pytest
from image_samples import Lab, found, owner, resigned, without

from rig.image.model import Finding, Image, Model
from rig.image.module import Module
from rig.image.reader import read
from rig.image.records import ATTESTATION, MANIFEST, PROVENANCE
from rig.image.wasm import parse_module

LISTS = ("capp", "csink", "ctick")


def ids(image: Image) -> set[str]:
    return {f.id for f in image.findings}


def the(image: Image, id_: str) -> Finding:
    (only,) = found(image, id_)
    return only


def bare(data: bytes) -> bytearray:
    return bytearray(without(data, ATTESTATION, PROVENANCE, MANIFEST))


def code_start(module: Module) -> int:
    """File offset of the payload of the code section."""
    pos = 8
    while True:
        kind, at, size, shift = module.data[pos], pos + 1, 0, 0
        while True:
            size |= (module.data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if module.data[at - 1] < 0x80:
                break
        if kind == 10:
            return at
        pos = at + size


def patch(data: bytes, changes: dict[int, bytes]) -> bytes:
    """The module with bytes of its code section changed, and its hashes made true again."""
    out = bare(data)
    start = code_start(parse_module(bytes(out), "x"))
    for at, new in changes.items():
        out[start + at : start + at + len(new)] = new
    return resigned(bytes(out), data)


# -- F1, F2 ---------------------------------------------------------------------------------------------------------


def test_f1_an_exported_name_points_to_anothers_memory(lab: Lab) -> None:
    finding = the(lab.image(Model.MULTI, "b", "a"), "F1")
    assert finding.where == "memory 0" and "belongs to b; it belongs to a" in finding.what and finding.owners == (0, 1)


def test_f1_is_silent_where_the_rule_holds(lab: Lab) -> None:
    assert not found(lab.image(Model.MULTI, "a", "b"), "F1")
    assert not found(lab.image(Model.PAGE, "ca", "cc"), "F1")


def test_f2_no_record_maps_memories(lab: Lab) -> None:
    assert "2 memories" in the(lab.image(Model.MULTI, "a", "b"), "F2").what
    assert not found(lab.image(Model.PAGE, "ca", "cc"), "F2")
    assert not found(lab.image(Model.MULTI, "one"), "F2")


# -- F4, F5 ---------------------------------------------------------------------------------------------------------


def test_f4_a_domain_is_not_described(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "ca", "bi", "cc", domains={"a": ("ca",), "b": ("bi", "cc")})
    assert the(image, "F4").owners == (1, 2) and the(image, "F4").where == "memory 1"
    assert not found(lab.image(Model.DOMAINS, "ca", "cc", domains={"all": ("ca", "cc")}), "F4")


def test_f5_packed_slices_are_no_regions(lab: Lab) -> None:
    image = lab.image(Model.PACKED, "ca", "bi", "cc")
    assert "bi [1056, 2112)" in the(image, "F5").what
    assert not found(lab.image(Model.PAGE, "ca", "bi", "cc"), "F5")


def test_f5_names_only_slices_that_are_crooked(lab: Lab) -> None:
    assert not found(lab.image(Model.STACK, "ca", "bi", "cc"), "F5")  # 32 bytes each, aligned to 32
    assert the(lab.image(Model.STACK, "ca", "counter", "two"), "F5").owners == (2,)


# -- F9 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("model", [Model.PAGE, Model.PACKED])
def test_f9_a_stack_pointer_that_was_not_moved_is_cured_here(lab: Lab, model: Model, alone: bool) -> None:
    image = lab.image(model, "ca", "bi", "cc", alone=alone)
    finding = the(image, "F9")
    assert finding.cured and finding.pair is None and finding.owners == (1,) and image.shared_context == ()
    assert image.owners[1].stack_globals == (0,) and image.globals[0].stack_pointer and image.globals[0].init == 1024


def test_f9_a_pointer_of_its_own_that_was_not_moved_counts_too(lab: Lab) -> None:
    image = lab.image(Model.PAGE, "ca", "bi", stacks={"bi": 2048})
    assert "initial value 2048" in the(image, "F9").where


def test_f9_is_silent_where_the_stack_lies_in_its_owners_slice(lab: Lab) -> None:
    assert not found(lab.image(Model.PAGE, "bi", "ca"), "F9")
    assert not found(lab.image(Model.MULTI, "ca", "bi", "cc"), "F9")


def test_f9_with_a_shared_stack_its_users_cannot_be_separated(lab: Lab) -> None:
    files = [lab.file("bi").name, "again.wasm"]
    (lab.folder / "again.wasm").write_bytes(lab.file("bi").read_bytes())
    lab.run("meld", "fuse", *files, lab.file("ca").name, "-o", "stack.wasm", "--memory", "shared", "--share-stack")
    image = read((lab.folder / "stack.wasm").read_bytes(), name="x")
    finding = the(image, "F9")
    assert finding.pair == (0, 1) and not finding.cured and image.shared_context == ((0, 1),)


def test_f9_with_a_shared_stack_and_one_user_nothing_is_shared(lab: Lab) -> None:
    image = lab.image(Model.STACK, "bi", "ca")
    assert not found(image, "F9") and image.shared_context == ()


# -- F10, F11 -------------------------------------------------------------------------------------------------------


def test_f10_reproducible_builds_count_in_two_ways(lab: Lab) -> None:
    assert found(lab.image(Model.MULTI, "ca", "cc", flags=("--reproducible",)), "F10")
    assert not found(lab.image(Model.MULTI, "cc", "ca", flags=("--reproducible",)), "F10")  # the two countings agree
    assert not found(lab.image(Model.MULTI, "ca", "cc"), "F10")


def test_f11_a_memory_that_no_component_touches(lab: Lab) -> None:
    assert the(lab.image(Model.MULTI, "app", "sink", "tick"), "F11").owners == (0,)
    assert not found(lab.image(Model.MULTI, "a", "b"), "F11")


# -- F12, F13, W-08 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("model", [Model.PAGE, Model.PACKED, Model.STACK])
def test_f12_an_address_after_a_call_through_a_pointer_is_not_moved(lab: Lab, model: Model, alone: bool) -> None:
    finding = the(lab.image(model, "one", "two", alone=alone), "F12")
    assert "address 1028" in finding.what and "in the bytes of one" in finding.what
    assert finding.where.startswith("function 0 'go' at code offset 0x") and finding.owners == (1, 0)


@pytest.mark.parametrize("alone", [False, True])
def test_f12_is_silent_where_nothing_moves(lab: Lab, alone: bool) -> None:
    for image in (lab.image(Model.PAGE, "two", "one", alone=alone), lab.image(Model.MULTI, "one", "two", alone=alone)):
        assert not ids(image) & {"F12", "F13", "W-08"}


def test_f12_shows_inside_a_domain(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "ca", "one", "two", domains={"a": ("ca",), "b": ("one", "two")})
    assert the(image, "F12").owners == (2, 1)


@pytest.mark.parametrize("alone", [False, True])
def test_f13_a_global_keeps_the_address_it_had(lab: Lab, alone: bool) -> None:
    finding = the(lab.image(Model.PAGE, "one", "far", alone=alone), "F13")
    assert "initial value 1040" in finding.what and finding.owners == (1, 0)
    assert not found(lab.image(Model.PAGE, "far", "one", alone=alone), "F13")


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("names", [("ca", "bi", "cc"), ("one", "ptr", "ca"), LISTS, ("ca", "csink", "ctick")])
def test_sound_code_gives_no_finding_about_addresses(lab: Lab, names: tuple[str, ...], alone: bool) -> None:
    for model in (Model.PAGE, Model.PACKED, Model.STACK):
        assert not ids(lab.image(model, *names, alone=alone)) & {"F12", "F13", "W-08"}


def moved_back(lab: Lab) -> bytes:
    """`cc` as the second component, one of its loads as if it had not been moved: 66564 → 1028."""
    data = lab.fuse(Model.PAGE, "ca", "cc")
    module = parse_module(bytes(bare(data)), "x")
    load = next(i for b in module.bodies for i in b.code if i.op == "i32.load" and i.imm[2] == 66564)
    return patch(data, {load.end - (load.end - load.at - 2): b"\x84\x88\x00"})


@pytest.mark.parametrize("alone", [False, True])
def test_w08_an_address_that_was_not_moved_without_such_a_call(lab: Lab, alone: bool) -> None:
    components = () if alone else (lab.component("ca"), lab.component("cc"))
    finding = the(read(moved_back(lab), name="x", components=components), "W-08")
    assert "address 1028" in finding.what and finding.owners == (1, 0)


def test_w08_a_constant_that_was_changed_without_need(lab: Lab) -> None:
    """Exact only: 5 becomes 69 in a component's code."""
    data = lab.fuse(Model.PAGE, "csink", "capp", "ctick")
    module = parse_module(bytes(bare(data)), "x")
    five = next(i for b in module.bodies for i in b.code if i.op == "i32.const" and i.imm == (5,))
    components = tuple(lab.component(n) for n in ("csink", "capp", "ctick"))
    assert not found(read(data, name="x", components=components), "W-08")
    image = read(patch(data, {five.at + 1: b"\x0c"}), name="x", components=components)
    assert "5, which is no address, was changed to 12" in the(image, "W-08").what


def test_w08_a_pointer_in_data_that_was_not_moved(lab: Lab) -> None:
    data = lab.fuse(Model.PAGE, "one", "ptr")
    pointer, own = (66568).to_bytes(4, "little"), (1032).to_bytes(4, "little")
    assert bytes(bare(data)).count(pointer) == 1
    changed = bytes(bare(data)).replace(pointer, own)
    components = (lab.component("one"), lab.component("ptr"))
    finding = the(read(resigned(changed, data), name="x", components=components), "W-08")
    assert finding.where.startswith("data of ptr at offset") and finding.owners == (1, 0)


@pytest.mark.parametrize("alone", [False, True])
def test_w08_an_allocator_that_gives_a_number_in_the_neighbours_slice(lab: Lab, alone: bool) -> None:
    """The adapter copies to where `fixed` says, and that is ctick's byte 8192."""
    domains = {"d": ("ctick", "fixed"), "e": ("capp",)}
    finding = the(lab.image(Model.DOMAINS, "ctick", "fixed", "capp", domains=domains, alone=alone), "W-08")
    assert "return uses address 8192" in finding.what and finding.owners == (1, 0)
    domains = {"d": ("ctick", "csink"), "e": ("capp",)}
    assert not found(lab.image(Model.DOMAINS, "ctick", "csink", "capp", domains=domains, alone=alone), "W-08")


def test_w08_a_number_that_nobody_asks_for_harms_nobody(lab: Lab) -> None:
    """cb's allocator is like that of `fixed`, and no boundary of cb carries memory."""
    assert not found(lab.image(Model.PAGE, "ca", "cb"), "W-08")


# -- F14, no switch point -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alone", [False, True])
def test_f14_a_pointer_crosses_where_nothing_is_copied(lab: Lab, alone: bool) -> None:
    image = lab.image(Model.PAGE, *LISTS, alone=alone)
    finding = the(image, "F14")
    assert finding.pair == (0, 1) and "demo:iso/sink#push" in finding.where and image.shared_context == ((0, 1),)


def test_f14_shows_inside_a_domain_and_not_between_domains(lab: Lab) -> None:
    inside = lab.image(Model.DOMAINS, *LISTS, domains={"x": ("capp", "csink"), "y": ("ctick",)})
    between = lab.image(Model.DOMAINS, *LISTS, domains={"x": ("capp", "ctick"), "y": ("csink",)})
    assert the(inside, "F14").pair == (0, 1) and inside.shared_context == ((0, 1),)
    assert not found(between, "F14") and between.shared_context == ()


def test_f14_is_silent_for_scalars_and_where_memories_are_separate(lab: Lab) -> None:
    assert not found(lab.image(Model.PAGE, "ca", "bi", "cc"), "F14")
    assert not found(lab.image(Model.MULTI, *LISTS), "F14")


def test_f14_counts_spilled_arguments_but_not_a_copied_result(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "user", "maker", "giver", domains={"a": ("user", "maker"), "b": ("giver",)})
    finding = the(image, "F14")
    assert "#many" in finding.where and "#names" in finding.where and "#move" not in finding.where


def inlined(lab: Lab) -> bytes:
    """As an optimiser would: cc's call to put is gone (dropped argument instead)."""
    data = lab.fuse(Model.PAGE, "ca", "cc")
    module = parse_module(bytes(bare(data)), "x")
    call = next(i for b in module.bodies for i in b.code if i.op == "call")
    return patch(data, {call.at: b"\x1a\x01"})


def test_a_boundary_without_a_call_has_no_switch_point(lab: Lab) -> None:
    image = read(inlined(lab), name="x", components=(lab.component("ca"), lab.component("cc")))
    finding = the(image, "no-switch-point")
    assert finding.pair == (1, 0) and image.shared_context == ((0, 1),) and image.seams == ()
    assert "demo:iso/provider#put" in finding.what
    assert the(read(inlined(lab), name="x"), "no-switch-point").pair == (1, 0)
    assert not found(lab.image(Model.PAGE, "ca", "cc"), "no-switch-point")


def test_an_import_that_is_never_called_needs_no_switch_point(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "pgiver", "idle")
    assert [s.label for s in image.seams if s.caller == 1] == ["demo:pure/p#f"]
    assert not found(image, "no-switch-point")


def test_a_table_that_leads_to_another_owner_is_no_switch_point_either(lab: Lab) -> None:
    """two calls through its table; an entry of it is changed to one's function of the same type."""
    data = lab.fuse(Model.PAGE, "ca", "bi", "two")
    changed = bytes(bare(data))
    module = parse_module(changed, "x")
    (segment,) = (e for e in module.elements if len(e.functions) == 2)
    first, second = segment.functions
    peek = next(e.index for e in module.exports if e.name == "peek")
    entry = bytes([0x02, first or 0, second or 0])
    assert changed.count(entry) >= 1
    image = read(resigned(changed.replace(entry, bytes([0x02, first or 0, peek])), data), name="x")
    finding = the(image, "no-switch-point")
    assert finding.pair == (2, 1) and "through a table" in finding.what and (1, 2) in image.shared_context
    assert not found(lab.image(Model.PAGE, "ca", "bi", "two"), "no-switch-point")


def test_groups_that_share_an_owner_are_one(lab: Lab) -> None:
    """Two callers of one list function, in one memory."""
    (lab.folder / "app2.wasm").write_bytes(lab.file("capp").read_bytes())
    files = (lab.file("capp").name, "app2.wasm", lab.file("csink").name, lab.file("ctick").name)
    lab.run("meld", "fuse", *files, "-o", "three.wasm", "--memory", "shared", "--address-rebase", "--emit-manifest")
    image = read((lab.folder / "three.wasm").read_bytes(), name="x")
    assert image.shared_context == ((0, 1, 2),) and len(found(image, "F14")) == 2


def test_findings_say_what_and_where_and_what_to_do(lab: Lab) -> None:
    for image in (lab.image(Model.PAGE, "one", "two"), lab.image(Model.MULTI, "b", "a"), lab.image(Model.PAGE, *LISTS)):
        assert image.findings
        for finding in image.findings:
            assert finding.what and finding.where and finding.cure
            assert all(0 <= o < len(image.owners) for o in finding.owners)
    assert owner(lab.image(Model.MULTI, "b", "a"), "a").index == 1
