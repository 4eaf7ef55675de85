# SPDX-License-Identifier: Apache-2.0
"""`run`: a whole `rig run` in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Ran, rig


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Ran]:
    """`rig run … --json --out DIR`."""
    count = iter(range(1000))

    def start(*words: str | Path, timeout: float = 280) -> Ran:
        folder = tmp_path / f"run-{next(count)}"
        return Ran(*rig("run", *words, "--json", "--out", folder, timeout=timeout), folder)

    return start
