# SPDX-License-Identifier: Apache-2.0
"""What the gate cannot check is said, seam by seam, and nothing is said where it checks all."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from rig.image.deputies import ALONE, UNCHECKED, limits
from rig.image.model import FuncType, Image, ListArg, Seam

FLAT = ListArg(0, 1, 1, 1, 0, nested=False)


@dataclass
class _Owner:
    name: str


def _image(*seams: Seam, owners: tuple[str, ...] = ("app", "sink")) -> Image:
    return cast(Image, SimpleNamespace(seams=seams, owners=[_Owner(name) for name in owners]))


def _seam(**changes: Any) -> Seam:
    return Seam(0, 0, 1, 5, FuncType(("i32", "i32"), ()), label="x:y/z#push", **changes)


def test_flat_lists_are_checked_and_not_reported() -> None:
    assert list(limits(_image(_seam(lists=(FLAT,))))) == []


def test_nested_lists_variants_and_returned_lists_are_reported_with_both_ends() -> None:
    nested = ListArg(0, 1, 8, 4, 0, nested=True)
    for seam, word in (
        (_seam(lists=(nested,)), "inside lists"),
        (_seam(unchecked=("payload",)), "payload"),
        (_seam(returns_list=True), "returns"),
    ):
        (finding,) = limits(_image(seam))
        assert finding.id == UNCHECKED and word in finding.what
        assert "app" in finding.what and "sink" in finding.what and finding.where == "x:y/z#push"


def test_an_image_of_one_owner_says_that_nothing_was_attacked() -> None:
    (finding,) = limits(_image(owners=("app",)))
    assert finding.id == ALONE and "app" in finding.what
