# SPDX-License-Identifier: Apache-2.0
"""What the gate cannot promise for an image: pointers it does not see, and images with nobody to attack."""

from __future__ import annotations

from collections.abc import Iterator

from rig.image.model import Finding, Image

UNCHECKED = "deputy: unchecked"
ALONE = "nothing-to-attack"


def limits(image: Image) -> Iterator[Finding]:
    """One finding per seam with pointers beyond the gate's checks, and one for an image of a single owner."""
    for seam in image.seams:
        reasons = []
        if any(item.nested for item in seam.lists):
            reasons.append("pointers inside lists")
        if seam.unchecked:
            reasons.append(f"pointers that only some case has ({', '.join(seam.unchecked)})")
        if seam.returns_list:
            reasons.append("the list it returns")
        if reasons:
            caller, callee = image.owners[seam.caller].name, image.owners[seam.callee].name
            yield Finding(
                UNCHECKED,
                f"{caller} > {callee}: the gate does not check {' and '.join(reasons)}",
                seam.label or f"function {seam.target}",
                "pass flat lists between components that do not trust each other",
                owners=(seam.caller, seam.callee),
            )
    if len(image.owners) == 1:
        name = image.owners[0].name
        yield Finding(ALONE, f"{name} is alone: there is no other owner to attack, controls only", name)
