# SPDX-License-Identifier: Apache-2.0
"""A rig never seen red proves nothing: every seeded bug must be caught, and the demonstration must hold."""

from __future__ import annotations

import json

import pytest
from command_line import rig

pytestmark = [pytest.mark.slow, pytest.mark.emulator, pytest.mark.timeout(600)]
REQUIRED = {f"M{n:02}" for n in (1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 16, 17, 20, 21, 23, 33, 34)}


def test_every_seeded_bug_is_caught() -> None:
    code, out, err = rig("mutants", "--json", timeout=580)
    found = json.loads(out)
    assert code == 0, err[-2000:]
    assert found["killed"] == found["total"] == len(found["mutants"])
    assert found["survived"] == found["refused"] == 0
    assert {m["id"] for m in found["mutants"]} >= REQUIRED
    assert all(set(m["killers"]) - {"C-05"} for m in found["mutants"] if m["kind"] == "plan")


def test_an_unknown_mutant_is_named() -> None:
    code, _, err = rig("mutants", "M99")
    assert code == 2 and "M99" in err


def test_the_demonstration_turns_red_before_ones_eyes() -> None:
    code, out, err = rig("demo")
    assert code == 0, err[-2000:]
    assert "isolated" in out and "not isolated" in out and "Green without the bug, red with it." in out
