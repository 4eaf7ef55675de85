# SPDX-License-Identifier: Apache-2.0
"""QEMU: chosen, the system's, or unpacked into the cache; seen to start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from host_machine import DEAD_PROXY, flip_last_byte

from rig.errors import InfrastructureError, ToolMissing
from rig.host import cache as store
from rig.host import qemu, setup, tools

Put = Callable[[str, str], Path]


def version(number: str) -> str:
    """A script that answers like that QEMU."""
    return f'echo "QEMU emulator version {number} (Debian 1:{number})"'


@pytest.fixture
def old_system(programs: Put) -> None:
    """A system with QEMU 7.2 for all arches (so that none on PATH counts)."""
    for arch in qemu.ARCHES:
        programs(f"qemu-system-{arch}", version("7.2.22"))


@pytest.mark.emulator
@pytest.mark.parametrize("arch", qemu.ARCHES)
def test_the_machines_own_starts(arch: str) -> None:
    tool = setup.ensure([f"qemu-system-{arch}"]).tools[f"qemu-system-{arch}"]
    done = tools.run(tool, ["-machine", "help"], timeout=30)
    assert done.ok and {"arm": "mps2-an386", "riscv32": "virt"}[arch] in done.out
    assert int(tool.version.split(".")[0]) >= qemu.MAJOR


@pytest.mark.parametrize("arch", qemu.ARCHES)
def test_systems_own_counts_from_version_10(arch: str, cache: Path, programs: Put) -> None:
    path = programs(f"qemu-system-{arch}", version("7.2.22"))
    with pytest.raises(ToolMissing, match=f"qemu-system-{arch}: QEMU 10 or newer is not here: rig setup .* RIG_QEMU"):
        qemu.find(arch)
    programs(f"qemu-system-{arch}", version("10.1.0"))
    tool = qemu.find(arch)
    assert (tool.path, tool.version, tool.origin, dict(tool.env)) == (path, "10.1.0", "system", {})


def test_chosen_by_variable_in_any_version(cache: Path, programs: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_QEMU_ARM", str(programs("mine", version("7.2.22"))))
    tool = qemu.find("arm")
    assert (tool.name, tool.version, tool.origin) == ("qemu-system-arm", "7.2.22", "RIG_QEMU_ARM")


@pytest.mark.parametrize("script", ["echo hello", "exit 127", "echo 'libfoo.so: cannot open' >&2; exit 127"])
def test_a_chosen_one_that_is_not_it_is_refused(
    script: str, cache: Path, programs: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("qemu-system-arm", version("10.0.2"))
    monkeypatch.setenv("RIG_QEMU_RISCV32", str(programs("mine", script)))
    for attempt in (lambda: qemu.find("riscv32"), qemu.install):
        with pytest.raises(ToolMissing, match=r"mine \(RIG_QEMU_RISCV32\) does not start as QEMU \(.+\): install QEMU"):
            attempt()


def test_a_chosen_one_that_is_not_there_is_refused(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIG_QEMU_TREE", str(tmp_path))
    with pytest.raises(ToolMissing, match=r"usr/bin/qemu-system-arm \(RIG_QEMU_TREE\) is not a program"):
        qemu.find("arm")


def fake_tree(folder: Path, number: str) -> Path:
    """An unpacked tree whose programs tell the environment they got."""
    bin_folder = folder / "usr" / "bin"
    modules = folder / "usr" / "lib" / "x86_64-linux-gnu" / "qemu"
    bin_folder.mkdir(parents=True)
    modules.mkdir(parents=True)
    for arch in qemu.ARCHES:
        program = bin_folder / f"qemu-system-{arch}"
        program.write_text(
            f'#!/bin/sh\ntest -n "$QEMU_MODULE_DIR" -a -n "$LD_LIBRARY_PATH" || exit 1\n{version(number)}\n'
        )
        program.chmod(0o755)
    return folder


def test_a_tree_brings_its_modules_and_libraries(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = fake_tree(tmp_path / "tree", "7.2.22")
    monkeypatch.setenv("RIG_QEMU_TREE", str(tree))
    tool = qemu.find("arm")
    assert tool.version == "7.2.22" and tool.env["QEMU_MODULE_DIR"] == f"{tree}/usr/lib/x86_64-linux-gnu/qemu"
    assert tool.env["LD_LIBRARY_PATH"] == f"{tree}/usr/lib/x86_64-linux-gnu"
    qemu.check(tool)


def test_an_installed_one_needs_no_environment() -> None:
    assert qemu.environment(Path("/usr/bin/qemu-system-arm")) == {}
    assert qemu.environment(Path("/opt/q/qemu-system-arm")) == {}


def put_into_cache(tmp_path: Path, number: str) -> Path:
    """A published tree, as `install` makes it."""
    made = tmp_path / f"made-{number}"
    fake_tree(made / "tree", number)
    stamp, place = qemu._describe(made, [f"qemu_{number}.deb"])
    store.publish(made, place, stamp)
    return place


def test_newest_whole_tree_of_the_cache_is_used(cache: Path, tmp_path: Path, old_system: None) -> None:
    put_into_cache(tmp_path, "10.2.0")
    newest = put_into_cache(tmp_path, "10.10.0")
    tool = qemu.find("arm")
    assert tool.version == "10.10.0" and tool.path.is_relative_to(newest) and tool.origin == "cache, Debian packages"
    flip_last_byte(tool.path)
    assert qemu.find("arm").version == "10.2.0", "a damaged program does not count"
    assert qemu.find("riscv32").version == "10.10.0"


def test_a_tree_without_a_whole_stamp_does_not_count(cache: Path, tmp_path: Path, old_system: None) -> None:
    place = put_into_cache(tmp_path, "10.0.2")
    (place / store.STAMP).write_bytes((place / store.STAMP).read_bytes()[:-10])
    with pytest.raises(ToolMissing):
        qemu.find("arm")


def test_an_emulator_that_lost_its_libraries_is_seen(cache: Path, tmp_path: Path, old_system: None) -> None:
    place = put_into_cache(tmp_path, "10.0.2")
    tool = qemu.find("arm")
    (place / "tree" / "usr" / "lib" / "x86_64-linux-gnu" / "qemu").rmdir()
    with pytest.raises(InfrastructureError, match="does not start as QEMU"):
        qemu.check(tool)


def test_no_network(cache: Path, old_system: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEAD_PROXY.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ToolMissing, match="getting qemu-system-arm: apt-get update failed: the network did not answer"):
        qemu.install()
    assert not (cache / "qemu").exists() and list((cache / "tmp").iterdir()) == []


def test_no_apt(cache: Path, empty_path: Path) -> None:
    with pytest.raises(
        ToolMissing,
        match=r"QEMU 10 or newer could not be had \(there is no apt-get here\): install QEMU 10 or newer so",
    ):
        qemu.install()


@pytest.mark.slow
@pytest.mark.emulator
def test_really_unpacked_without_root(cache: Path, old_system: None, capfd: pytest.CaptureFixture[str]) -> None:
    """From the machine's own archive; nothing of the machine's apt is touched."""
    watched = [Path("/var/lib/apt/lists"), Path("/var/cache/apt"), Path("/var/cache/apt/archives")]
    before = [path.stat().st_mtime_ns for path in watched if path.is_dir()]
    qemu.install()
    for arch in qemu.ARCHES:
        tool = qemu.find(arch)
        assert tool.path.is_relative_to(cache) and tools.run(tool, ["-machine", "help"], timeout=30).ok
    assert [path.stat().st_mtime_ns for path in watched if path.is_dir()] == before
    assert sorted(path.name for path in cache.iterdir()) == ["locks", "qemu", "tmp"]
    assert list((cache / "tmp").iterdir()) == []
    shown = capfd.readouterr()
    assert shown.out == "" and "QEMU 10" in shown.err
    qemu.install()
    assert capfd.readouterr().err == "", "the second time there is nothing to do"
