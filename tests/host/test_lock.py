# SPDX-License-Identifier: Apache-2.0
"""The lock file names every package with hashes, and is that of pyproject.toml."""

from __future__ import annotations

import re
import tomllib

import pytest
from host_machine import CHECKOUT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TEXT = (CHECKOUT / "requirements.lock").read_text()
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
WANTED = [*PROJECT["project"]["dependencies"], *PROJECT["dependency-groups"]["dev"]]


def locked() -> list[tuple[Requirement, int]]:
    """Each package of the lock, with the number of its hashes."""
    blocks = re.split(r"\n(?=[a-z])", "\n" + TEXT)[1:]
    return [(Requirement(block.partition(" \\\n")[0]), block.count("--hash=sha256:")) for block in blocks]


def test_every_package_is_exact_and_has_hashes() -> None:
    for requirement, hashes in locked():
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes > 0, requirement


@pytest.mark.parametrize("wanted", WANTED)
def test_what_the_project_wants_is_in_it(wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = [
        next(iter(found.specifier)).version
        for found, _ in locked()
        if canonicalize_name(found.name) == canonicalize_name(requirement.name)
    ]
    assert versions and all(requirement.specifier.contains(version) for version in versions)


def test_no_address_of_an_index_is_in_it() -> None:
    assert not re.search(r"://|--(?:extra-)?index|--find-links|--trusted", TEXT)
