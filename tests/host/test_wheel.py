# SPDX-License-Identifier: Apache-2.0
"""The package works the same installed as a wheel into an empty environment, from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from host_machine import CHECKOUT

import rig
from rig import resources
from rig.errors import InfrastructureError
from rig.host import setup, tools

DATA = ("boards", "firmware", "renode")


def call(*words: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a program outside the checkout, without our PYTHONPATH."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**kept, **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    done = call(*build, cwd=CHECKOUT)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def make_environment(folder: Path, *install: str | Path) -> Path:
    """An empty environment with what `install` names; returns its `bin`."""
    assert call(sys.executable, "-m", "venv", folder, cwd=folder.parent).returncode == 0
    done = call(folder / "bin" / "pip", "install", "--quiet", *install, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def files(folder: Path) -> set[str]:
    """The files that the data folder of a checkout consists of."""
    listed = subprocess.run(["git", "ls-files", "-z", folder], cwd=CHECKOUT, capture_output=True, check=True)
    return {name for name in listed.stdout.decode().split("\0") if name}


@pytest.mark.parametrize("name", DATA)
def test_data_is_inside_whole(name: str, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    expected = {f"rig/_data/{path}" for path in files(CHECKOUT / name)}
    assert expected and expected <= inside


def check_installed(bin_folder: Path, elsewhere: Path) -> None:
    """The commands and the data of an installed wheel, seen from another folder."""
    version = call(bin_folder / "rig", "--version", cwd=elsewhere)
    assert version.returncode == 0 and rig.__version__ in version.stdout
    code = f"from rig.resources import data_dir; [print(data_dir(name)) for name in {DATA}]"
    data = call(bin_folder / "python", "-c", code, cwd=elsewhere).stdout.splitlines()
    assert [Path(line).parts[-3:] for line in data] == [("rig", "_data", name) for name in DATA]
    assert all(Path(line).is_dir() and not Path(line).is_relative_to(CHECKOUT) for line in data)
    doctor = call(bin_folder / "rig", "doctor", "--json", cwd=elsewhere)
    assert doctor.returncode == 0, doctor.stdout
    rows = {row["name"]: row for row in json.loads(doctor.stdout)["tools"]}
    assert all(rows[entry.name]["status"] == "ok" for entry in tools.ENTRIES if entry.required)


def test_installed_wheel(wheel: Path, tmp_path: Path) -> None:
    """The quick form: what it depends on is this environment's, lent by a path file."""
    setup.ensure()
    bin_folder = make_environment(tmp_path / "venv", "--no-deps", wheel)
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    check_installed(bin_folder, tmp_path)


@pytest.mark.slow
def test_installed_wheel_with_its_dependencies(wheel: Path, tmp_path: Path) -> None:
    """The honest form: pip brings everything."""
    setup.ensure()
    bin_folder = make_environment(tmp_path / "venv", wheel)
    check_installed(bin_folder, tmp_path)


def test_data_of_the_checkout() -> None:
    for name in DATA:
        assert resources.data_dir(name) == CHECKOUT / name


def test_missing_data_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "rig")
    with pytest.raises(InfrastructureError, match=r"lacks its folder boards/ .*: install it again"):
        resources.data_dir("boards")
