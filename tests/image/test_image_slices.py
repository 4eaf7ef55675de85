# SPDX-License-Identifier: Apache-2.0
"""Where each component's data lies, in all models, with and without the components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from image_samples import Lab, attestation, owner, with_records

from rig.errors import Refusal, UsageError
from rig.image.model import Image, Model, Slice, Span
from rig.image.reader import read

DOMAINS = {"plant": ("ca", "cc"), "guest": ("bi",)}


def places(image: Image) -> list[tuple[int, int, int, int] | None]:
    found = [o.slice for o in image.owners if o.index < 3]
    return [(s.memory, s.span.start, s.span.end, s.displacement) if s else None for s in found]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Model.MULTI, [(0, 0, 65536, 0), (2, 0, 65536, 0), (1, 0, 65536, 0)]),
        (Model.PAGE, [(0, 0, 65536, 0), (0, 65536, 131072, 65536), (0, 131072, 196608, 131072)]),
        (Model.PACKED, [(0, 0, 1056, 0), (0, 1056, 2112, 1056), (0, 2112, 3168, 2112)]),
        (Model.STACK, [(0, 1024, 1056, 0), (0, 1056, 1088, 32), (0, 1088, 1120, 64)]),
    ],
)
def test_slices_of_each_model(lab: Lab, model: Model, expected: object, alone: bool) -> None:
    assert places(lab.image(model, "ca", "bi", "cc", alone=alone)) == expected


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("order", [("ca", "bi"), ("bi", "ca")])
def test_with_a_shared_stack_slices_follow_the_largest_stack(lab: Lab, order: tuple[str, str], alone: bool) -> None:
    """Displacements differ from starts: each component counts from its own stack size."""
    image = lab.image(Model.STACK, *order, stacks={"bi": 2048}, alone=alone)
    spans = {o.name.split(".")[0]: o.slice for o in image.owners}
    first, second = order
    at = {first: 2048, second: 2080}
    own = {"ca": 1024, "bi": 2048}
    for name in order:
        assert spans[name] == Slice(0, Span(at[name], at[name] + 32), at[name] - own[name])


def test_domains_carry_the_names_of_the_subject_and_the_slices_of_their_memory(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "ca", "bi", "cc", domains=DOMAINS)
    assert [o.domain for o in image.owners[:3]] == ["plant", "guest", "plant"]
    assert places(image) == [(0, 0, 65536, 0), (1, 0, 65536, 0), (0, 65536, 131072, 65536)]
    assert [m.owners for m in image.memories] == [(0, 2), (1,)]


@pytest.mark.parametrize("flags", [(), ("--pack-rebase",)])
def test_a_domain_without_record_is_found_by_data_and_addresses(lab: Lab, flags: tuple[str, ...]) -> None:
    size = 1056 if flags else 65536
    image = lab.image(Model.DOMAINS, "ca", "bi", "cc", domains={"a": ("ca",), "b": ("bi", "cc")}, flags=flags)
    assert places(image) == [(0, 0, size, 0), (1, 0, size, 0), (1, size, 2 * size, size)]


def test_pointers_in_data_do_not_hide_where_a_component_lies(lab: Lab) -> None:
    """Words of `ptr` move with it, so its bytes differ from the un-fused ones."""
    image = lab.image(Model.DOMAINS, "one", "two", "ptr", domains={"a": ("one",), "b": ("two", "ptr")})
    assert owner(image, "ptr").slice == Slice(1, Span(65536, 131072), 65536)


def test_several_slices_without_record_need_the_components(lab: Lab) -> None:
    with pytest.raises(Refusal, match=r"places only the first domain \(F4\)"):
        lab.image(Model.DOMAINS, "ca", "bi", "cc", domains={"a": ("ca",), "b": ("bi", "cc")}, alone=True)


def test_one_component_alone_in_its_domain_needs_none(lab: Lab) -> None:
    image = lab.image(Model.DOMAINS, "ca", "bi", "cc", domains=DOMAINS, alone=True)
    assert places(image) == [(0, 0, 65536, 0), (1, 0, 65536, 0), (0, 65536, 131072, 65536)]
    assert [o.domain for o in image.owners[:3]] == ["domain 0", "domain 1", "domain 0"]


def test_a_table_of_domains_that_is_not_the_fused_one_is_refused(lab: Lab) -> None:
    data = lab.fuse(Model.DOMAINS, "ca", "bi", "cc", domains=DOMAINS)
    with pytest.raises(UsageError, match=r"\[domains\]: the module was fused with ca, cc in one domain"):
        read(data, name="x", components=[lab.component(n) for n in ("ca", "bi", "cc")],
             domains={"plant": ("ca", "bi"), "guest": ("cc",)})  # fmt: skip


def test_another_model_than_the_one_asked_for_is_refused(lab: Lab) -> None:
    with pytest.raises(UsageError, match="asked for model shared-packed, but the fuser made shared-page"):
        read(lab.fuse(Model.PAGE, "ca", "cc"), name="x", model=Model.PACKED)


def test_sharing_without_placements_is_refused(lab: Lab) -> None:
    lab.run("meld", "fuse", lab.file("one").name, "-o", "bare.wasm", "--memory", "shared")
    with pytest.raises(UsageError, match="without placements"):
        read((lab.folder / "bare.wasm").read_bytes(), name="x")


Change = Callable[[dict[str, Any]], None]


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p[1].update(base=0), "overlaps another"),
        (lambda p: p[1].update(base=1 << 20), "lies outside"),
        (lambda p: p[0].update(reserved=1000), "lies in no component's place"),
        (lambda p: p[1].update(component=7), "."),
        (lambda p: p.append(dict(p[0])), "two core modules"),
    ],
)
def test_placements_that_lie_are_refused(lab: Lab, change: Change, words: str, alone: bool) -> None:
    data = lab.fuse(Model.PAGE, "ca", "cc")
    record = attestation(data)
    change(record["metadata"]["placements"])
    components = () if alone else (lab.component("ca"), lab.component("cc"))
    with pytest.raises((UsageError, Refusal), match=words):
        read(with_records(data, record), name="x", components=components)


def test_swapped_placements_are_found_by_the_components_data(lab: Lab) -> None:
    data = lab.fuse(Model.PAGE, "ca", "cc")
    record = attestation(data)
    first, second = record["metadata"]["placements"]
    first["base"], second["base"] = second["base"], first["base"]
    with pytest.raises(UsageError, match="data that 'ca' has at 1024 is not at 66560"):
        read(with_records(data, record), name="x", components=(lab.component("ca"), lab.component("cc")))


def test_domains_that_name_nobody_are_refused(lab: Lab) -> None:
    data = lab.fuse(Model.DOMAINS, "ca", "bi", "cc", domains=DOMAINS)
    record = attestation(data)
    record["metadata"]["parameters"]["domains"] = [[0], [1]]
    with pytest.raises(UsageError, match="do not name each of 3 inputs once"):
        read(with_records(data, record), name="x")
