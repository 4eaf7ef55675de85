# SPDX-License-Identifier: Apache-2.0
"""Packaged tools are those of this interpreter's environment, in the pinned version, unaltered."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path

import pytest
from host_machine import CHECKOUT, flip_last_byte

from rig.errors import ToolMissing
from rig.host import pypi, tools
from rig.host.tool import run

SAYS = {
    "meld": ["version"],
    "wasm-tools": ["--version"],
    "wasm2c": ["--version"],
    "wat2wasm": ["--version"],
    "zig": ["version"],
}


@pytest.mark.parametrize("name", pypi.PACKAGED)
def test_found_with_version_origin_and_the_hash_of_its_package(name: str, empty_path: Path) -> None:
    tool = pypi.find(name)
    packaged = pypi.PACKAGED[name]
    assert tool.name == name and tool.path.is_absolute() and tool.path.is_file()
    assert tool.origin == f"pypi {packaged.package} {tool.version}"
    assert tool.path.read_bytes()[:4] == b"\x7fELF", "the program itself, not a script that starts it"
    assert not pypi.altered(tool)


@pytest.mark.parametrize("name", SAYS)
def test_starts_and_tells_the_version(name: str) -> None:
    tool = pypi.find(name)
    done = run(tool, SAYS[name], timeout=30)
    assert done.ok and ".".join(tool.version.split(".")[:3]) in done.out  # a packager may add a fourth number


def test_pins_are_those_of_the_project() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    pinned = {f"{tool.package}=={tool.version}" for tool in pypi.PACKAGED.values() if tool.version}
    assert pinned <= set(project["dependencies"])


def test_zig_keeps_its_own_cache_inside_ours(cache: Path) -> None:
    assert all(value.startswith(str(cache)) for value in pypi.find("zig").env.values())


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """An environment with a copy of meld only."""
    found = distribution("meld-cli")
    folder = tmp_path / "lib" / "python3" / "site-packages"
    for file in found.files or ():
        target = folder / str(file)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(str(found.locate_file(file)), target.resolve())
    return folder


def look(site: Path, code: str) -> str:
    """What `code` prints in an interpreter that has only `site` and the checkout (and no environment)."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": f"{site}:{CHECKOUT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_missing_package_names_the_cure(site: Path) -> None:
    assert "ToolMissing: zig: the Python package ziglang==0.17.1 is not installed in " in look(
        site, "from rig.host import pypi; pypi.find('zig')"
    )


def test_other_version_is_refused(site: Path) -> None:
    (site / "meld_cli-0.65.1.dist-info").rename(site / "meld_cli-0.64.0.dist-info")
    metadata = site / "meld_cli-0.64.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 0.65.1", "Version: 0.64.0", 1))
    assert "meld-cli 0.64.0 is installed in " in look(site, "from rig.host import pypi; pypi.find('meld')")


def test_program_without_its_file_or_its_right_is_missing(site: Path) -> None:
    program = site.parents[2] / "bin" / "meld"
    code = "from rig.host import pypi; pypi.find('meld')"
    assert look(site, code) == ""
    program.chmod(0o644)
    assert "is installed without its program" in look(site, code)
    program.unlink()
    assert "is installed without its program" in look(site, code)


def test_altered_program_is_seen(site: Path) -> None:
    code = "from rig.host import pypi; print(pypi.altered(pypi.find('meld')))"
    assert look(site, code) == "False\n"
    flip_last_byte(site.parents[2] / "bin" / "meld")
    assert look(site, code) == "True\n"
    check = "from rig.host import tools; e = tools.entry('meld'); e.check(e.find())"
    assert "was changed after it was installed" in look(site, check)


def test_unknown_names_are_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        tools.find("no-such-tool")


def test_the_message_of_a_missing_tool_is_infrastructure() -> None:
    assert ToolMissing("x").exit_code == 3
