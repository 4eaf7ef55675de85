# SPDX-License-Identifier: Apache-2.0
"""Program ids: stable, readable, and harmless wherever they are printed. Names of owners come from outside."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache

_UNSAFE = re.compile(rb"[^A-Za-z0-9_.:#/+>-]")
LONGEST = 96  # characters of one escaped name


@lru_cache(maxsize=4096)
def escape(name: str) -> str:
    """Percent-encode all bytes outside `[A-Za-z0-9_.:#/+>-]`; a long name ends in a hash. Injective but for hashes."""
    raw = name.encode("utf-8", "surrogatepass")
    text = _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], raw).decode("ascii")
    if len(text) <= LONGEST:
        return text
    return f"{text[: LONGEST - 17]}~{hashlib.sha256(raw).hexdigest()[:16]}"


def program_id(family: str, op: str, actor: str, victim: str, target: str) -> str:
    """ "D-01/load32/intruder>sensor/memory:0+0x8000" from names as they are."""
    return f"{family}/{op}/{escape(actor)}>{escape(victim)}/{target}"


class Ids:
    """Keeps ids of one expansion apart: a repeated one gets ~2, ~3 … in order of appearance."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def unique(self, wanted: str) -> str:
        count = self._seen[wanted] = self._seen.get(wanted, 0) + 1
        return wanted if count == 1 else f"{wanted}~{count}"
