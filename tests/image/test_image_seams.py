# SPDX-License-Identifier: Apache-2.0
"""Seams: every direct call whose ends have different owners, with what may be checked of its arguments."""

from __future__ import annotations

import pytest
from image_samples import Lab, anonymous, attestation, found, names, owner, with_records

from rig.errors import UsageError
from rig.image.model import Image, ListArg, Model, OwnerKind, Seam
from rig.image.reader import read


def ways(image: Image) -> list[tuple[str, str, str]]:
    return [(image.owners[s.caller].name, image.owners[s.callee].name, s.label) for s in image.seams]


def seam(image: Image, caller: str, label: str) -> Seam:
    return next(s for s in image.seams if image.owners[s.caller].name == caller and s.label == label)


def test_in_model_one_components_call_each_other(lab: Lab) -> None:
    assert ways(lab.image(Model.PAGE, "ca", "bi", "cc")) == [
        ("cc", "ca", "demo:iso/provider#put"),
        ("bi", "ca", "demo:iso/provider#put"),
        ("bi", "ca", "demo:iso/provider#get"),
    ]


def test_in_model_two_both_sides_of_the_adapter_are_seams(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "a", "b")
    assert ways(image) == [
        ("b", "adapter:b>a#get", "demo:iso/provider#get"),
        ("adapter:b>a#get", "a", "demo:iso/provider#get"),
    ]
    assert [s.index for s in image.seams] == [0, 1]
    assert all(image.functions[s.target].owner == s.callee for s in image.seams)


def test_in_model_three_it_is_both(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "ca", "bi", "cc", domains={"plant": ("ca", "cc"), "guest": ("bi",)})
    assert ways(image)[:2] == [
        ("cc", "ca", "demo:iso/provider#put"),
        ("bi", "adapter:bi>ca#put", "demo:iso/provider#put"),
    ]


def test_one_seam_per_caller_and_callee(lab: Lab) -> None:
    image = lab.image(Model.PAGE, "ca", "bi", "cc")
    assert len({(s.caller, s.target) for s in image.seams}) == len(image.seams)


@pytest.mark.parametrize("flags", [(), ("--emit-manifest",)])
def test_a_list_is_checked_against_the_callers_memory(lab: Lab, flags: tuple[str, ...]) -> None:
    """Types come from the components, or without them from the signature manifest."""
    image = lab.image(Model.MULTI, "app", "sink", "tick", alone=bool(flags), flags=flags)
    app = image.owners[0]
    assert app.slice is not None
    push = next(s for s in image.seams if s.caller == 0 and s.label.endswith("#push"))
    assert push.lists == (ListArg(0, 1, 1, 1, app.slice.memory, False),)
    assert not push.unattributed_types and image.refusals == ({"C-03": "no components"} if flags else {})


def test_without_types_nothing_is_claimed_of_arguments(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "app", "sink", "tick", alone=True)
    assert image.refusals == {"C-03": "no components", "K-02": "no types", "K-11": "no types"}
    assert all(s.unattributed_types and not s.lists for s in image.seams if s.label != "cabi_realloc")
    unknown = read(
        lab.fuse(Model.MULTI, "app", "sink", "tick"), name="x",
        components=[anonymous(lab.component(n)) for n in ("app", "sink", "tick")],
    )  # fmt: skip
    assert all(s.unattributed_types for s in unknown.seams if s.label != "cabi_realloc")


def test_adapters_also_call_allocators_and_post_return(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "user", "maker", "giver")
    assert [w for w in ways(image) if w[0] == "adapter:user>giver#echo"] == [
        ("adapter:user>giver#echo", "giver", "cabi_realloc"),
        ("adapter:user>giver#echo", "giver", "demo:rich/gifts#echo"),
        ("adapter:user>giver#echo", "user", "cabi_realloc"),
        ("adapter:user>giver#echo", "giver", "post-return"),
    ]


def test_every_shape_of_argument(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "user", "maker", "giver")
    memory = owner(image, "user").memories[0]

    def lists(label: str) -> list[tuple[int, int, int, bool]]:
        found_ = seam(image, "user", label).lists
        assert all(a.memory == memory for a in found_)
        return [(a.pointer, a.length, a.element_size, a.nested) for a in found_]

    assert lists("demo:rich/shapes#names") == [(0, 1, 8, True)]
    assert lists("demo:rich/shapes#sums") == [(0, 1, 8, False), (2, 3, 4, False)]
    assert lists("demo:rich/shapes#many") == [(0, -1, 72, True)]
    assert lists("demo:rich/shapes#move") == [(2, -1, 16, False)]
    assert lists("demo:rich/gifts#echo") == [(0, 1, 1, False), (2, -1, 8, False)]
    assert seam(image, "user", "demo:rich/shapes#draw").unchecked == (
        "s: variant with a pointer in one of its cases",
        "tag: option with a pointer in one of its cases",
    )
    assert {s.label for s in image.seams if s.returns_list} == {
        f"demo:rich/gifts#{f}" for f in ("echo", "make", "maybe")
    }


def test_an_adapter_inside_one_memory_is_a_party_too(lab: Lab) -> None:
    """A record comes back through a return area: the fuser's thunk copies from slice to slice."""
    domains = {"a": ("user", "maker"), "b": ("giver",)}
    image = lab.image(Model.DOMAINS, "user", "maker", "giver", domains=domains)
    assert ("user", "adapter:user>maker#move", "demo:rich/shapes#move") in ways(image)
    assert owner(image, "adapter:user>maker#move").memories == (0,)


# -- what the host provides ---------------------------------------------------------------------------------------


def test_an_import_that_nobody_provides_is_named_with_the_line_to_add(lab: Lab) -> None:
    with pytest.raises(UsageError, match=r"'demo:iso/sink#push'.*imports = \{\"demo:iso/sink#push\" = \"stub\"\}"):
        lab.image(Model.MULTI, "capp", "ctick")


@pytest.mark.parametrize("key", ["demo:iso/sink#push", "demo:iso/sink"])
def test_a_host_import_is_an_owner_and_its_forwarder_belongs_to_it(lab: Lab, key: str) -> None:
    """wit-component puts a call through a table before an import that takes a list: the call to it is the seam."""
    image = lab.image(Model.MULTI, "capp", "ctick", imports=(key,))
    host = owner(image, "host:demo:iso/sink#push")
    assert host.kind is OwnerKind.HOST and len(host.functions) == 2 and image.functions[host.functions[0]].imported
    push = seam(image, "capp", "demo:iso/sink#push")
    assert push.callee == host.index and push.target == host.functions[1]
    assert push.lists == (ListArg(0, 1, 1, 1, owner(image, "capp").memories[0], False),)
    assert not found(image, "no-switch-point")
    assert [t.owners for t in image.tables if t.owners] == [(host.index,)]


def test_a_scalar_import_is_called_directly(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "cb", "cc", imports=("demo:iso/provider",))
    assert names(image)[2:] == ["host:demo:iso/provider#get", "host:demo:iso/provider#put"]
    assert ("cb", "host:demo:iso/provider#get", "demo:iso/provider#get") in ways(image)


def test_dead_stand_ins_of_replaced_imports_count_for_nothing(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "capp", "csink", "ctick")
    assert all(not t.owners for t in image.tables) and not found(image, "no-switch-point")
    stub = next(f for f in image.functions if f.owner is None and not f.imported)
    assert stub.index in image.elements[0].functions


# -- entries ------------------------------------------------------------------------------------------------------


def test_entries_find_an_export_whose_name_was_taken(lab: Lab) -> None:
    """Two components export `run`; the fuser renames one."""
    image = lab.image(Model.MULTI, "cb", "bi", "ca")
    assert owner(image, "cb").exports == ("run$0",)
    assert dict(owner(image, "cb").entries)["run"] == image.exports["run$0"]
    assert dict(owner(image, "bi").entries)["run"] == image.exports["run"]
    assert owner(image, "ca").realloc is not None and owner(image, "bi").realloc is None


def test_a_manifest_that_lies_about_types_is_refused(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "app", "sink", "tick", flags=("--emit-manifest",))
    assert b'"list<u8>"' in data
    with pytest.raises(UsageError, match="do not agree; the manifest lies"):
        read(data.replace(b'"list<u8>"', b'"char    "'), name="x")


def test_boundaries_have_owners(lab: Lab) -> None:
    image = lab.image(Model.MULTI, "app", "sink", "tick")
    assert [(b.caller, b.callee, b.function, b.carries_memory) for b in image.boundaries] == [
        (0, 1, "demo:iso/sink#push", True),
        (0, 2, "demo:iso/tick#now", False),
    ]


def test_a_boundary_to_a_component_that_does_not_exist_is_a_lie(lab: Lab) -> None:
    data = lab.fuse(Model.MULTI, "a", "b")
    record = attestation(data)
    record["metadata"]["boundaries"][0]["to_component"] = 9
    with pytest.raises(UsageError, match="the attestation names components"):
        read(with_records(data, record), name="x", components=(lab.component("a"), lab.component("b")))
