# SPDX-License-Identifier: Apache-2.0
"""Which calls of an image are seams: the one rule that both lowerings are interposed by and checked against."""

from __future__ import annotations

from rig.errors import Refusal
from rig.image.model import Image


class Calls:
    """Answers, for a call in function `caller` to function `callee`, through which seam it must go.

    A call is free (None) inside one owner, between owners that share a context anyway, and from or to code that has no
    owner because nothing reaches it.
    """

    def __init__(self, image: Image) -> None:
        self._image = image
        self._seams = {(seam.caller, seam.target): seam.index for seam in image.seams}
        self._group = {owner: group for group in image.shared_context for owner in group}
        self._hosts = {function: i for i, (_, _, function) in enumerate(image.imports)}

    def seam(self, caller: int, callee: int) -> int | None:
        """Index of the seam, or None for a free call. Raises Refusal where a crossing call has no seam."""
        source, target = self._image.owner_of(caller), self._owner(callee)
        if source is None or target is None:
            return None
        seam = self._seams.get((source, callee))
        if seam is not None:
            return seam
        if source == target or (target is not None and target in self._group.get(source, ())):
            return None
        raise Refusal("no switch point", f"function {caller} calls function {callee} of another owner, without a seam")

    def _owner(self, function: int) -> int | None:
        """An imported function belongs to the host owner that its seams lead to."""
        owner = self._image.owner_of(function)
        if owner is None and function in self._hosts:
            return next((seam.callee for seam in self._image.seams if seam.target == function), None)
        return owner
