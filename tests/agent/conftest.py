# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import bringup
import pytest
from bringup import BOARDS, Rig

from rig.boards.load import load_board
from rig.boards.model import Board

Build = Callable[..., Path]


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """(board name, *seeded bugs) -> ELF, built once."""
    made: dict[tuple[str, ...], Path] = {}

    def build(name: str, *defines: str) -> Path:
        key = (name, *defines)
        if key not in made:
            made[key] = bringup.build(load_board(name), tmp_path_factory.mktemp(name), defines)
        return made[key]

    return build


@pytest.fixture(params=BOARDS)
def board(request: pytest.FixtureRequest) -> Board:
    return load_board(request.param)


@pytest.fixture(scope="module")
def live(image: Build) -> Iterator[Callable[[str], Rig]]:
    """The board `name`, up, with the production agent; one emulator per test module."""
    with ExitStack() as stack:
        rigs: dict[str, Rig] = {}

        def get(name: str) -> Rig:
            if name not in rigs:
                rigs[name] = bringup.start(load_board(name), image(name), stack)
            rigs[name].session.load_plan(rigs[name].plan)
            rigs[name].session.read_backs.clear()
            return rigs[name]

        yield get


@pytest.fixture(params=BOARDS)
def rig(request: pytest.FixtureRequest, live: Callable[[str], Rig]) -> Rig:
    return live(request.param)


@pytest.fixture
def arm(live: Callable[[str], Rig]) -> Rig:
    return live("mps2-an386")


@pytest.fixture
def riscv(live: Callable[[str], Rig]) -> Rig:
    return live("virt-rv32")


@pytest.fixture
def fresh(board: Board, image: Build) -> Iterator[Callable[..., Rig]]:
    """Starts emulators of one's own: fresh("RIG_MUTANT_M21", uart=…, patience=…)."""
    with ExitStack() as stack:
        yield lambda *defines, **options: bringup.start(board, image(board.name, *defines), stack, **options)


@pytest.fixture
def fresh_arm(image: Build) -> Iterator[Callable[..., Rig]]:
    """As `fresh`, on Armv7-M only."""
    with ExitStack() as stack:
        yield lambda *defines, **options: bringup.start(
            load_board("mps2-an386"), image("mps2-an386", *defines), stack, **options
        )
