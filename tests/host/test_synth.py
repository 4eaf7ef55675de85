# SPDX-License-Identifier: Apache-2.0
"""synth: found by variable, PATH, cache; built once by cargo; never taken on trust.

cargo is the real one where it is to fail (no network, no toolchain). Where it is to succeed, a script in its place
copies the synth of this machine to where cargo would put it; the real build is what `./rigw test` does before the first
test on a machine that has no synth.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from host_machine import DEAD_PROXY, flip_last_byte, python

from rig.errors import InfrastructureError, ToolMissing
from rig.host import cache as store
from rig.host import setup, synth, tools

Put = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def real_synth() -> Path:
    """The machine's synth (the tests assume that all tools are there)."""
    return setup.ensure(["synth"]).tools["synth"].path


@pytest.fixture
def off_path(programs: Put) -> None:
    """A PATH without a synth that would do (whatever else lies beside the machine's own stays there)."""
    programs("synth", "echo synth 0.1.0")


@pytest.fixture
def cargo(real_synth: Path, cache: Path, off_path: None, programs: Put, tmp_path: Path) -> Path:
    """A cargo that "builds" the real synth, slowly; returns the file in which it notes each build."""
    notes = tmp_path / "builds"
    programs(
        "cargo",
        f'echo "$@" >> {notes}\nenv | grep -E "^(CARGO|RUST)" >> {tmp_path}/env\n'
        'while [ "$1" != --root ]; do shift; done\n'
        'echo "   Compiling nothing v1" >&2; sleep 0.3\n'
        f'mkdir -p "$2/bin" && cp {real_synth} "$2/bin/synth"',
    )
    return notes


def test_chosen_by_variable(real_synth: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIG_SYNTH", str(real_synth))
    tool = synth.find()
    assert (tool.path, tool.version, tool.origin) == (real_synth, "0.89.0", "RIG_SYNTH")


@pytest.mark.parametrize(
    ("script", "words"),
    [("echo synth 0.88.1", "is version 0.88.1"), ("echo a synthesizer", "is not synth"), ("exit 1", "is not synth")],
)
def test_a_chosen_one_that_is_not_it_is_refused(
    script: str, words: str, cache: Path, programs: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIG_SYNTH", str(programs("mine", script)))
    for attempt in (synth.find, synth.install):
        with pytest.raises(ToolMissing, match=f"RIG_SYNTH=.*mine {words}.*let it name synth 0.89.0, or unset it"):
            attempt()


def test_on_path_only_the_right_version_counts(real_synth: Path, cache: Path, programs: Put) -> None:
    programs("synth", "echo synth 0.88.0")
    with pytest.raises(ToolMissing, match="not built yet"):
        synth.find()
    programs("synth", f'exec {real_synth} "$@"')
    assert synth.find().origin == "system"


def test_built_once_and_kept(cargo: Path, cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tool = synth.install()
    assert tool.origin == "cache, cargo" and tool.path.is_relative_to(cache)
    assert tools.run(tool, ["--version"], timeout=20).out == "synth 0.89.0\n"
    assert synth.install() == tool == synth.find()
    assert cargo.read_text().count("\n") == 1
    assert "install synth-cli --version 0.89.0 --locked --root" in cargo.read_text()
    assert list((cache / "tmp").iterdir()) == []
    shown = capfd.readouterr()
    assert shown.out == "" and "building synth 0.89.0 with cargo: once, 2 to 3 minutes" in shown.err


def test_cargo_writes_into_the_cache_only(cargo: Path, cache: Path, tmp_path: Path) -> None:
    synth.install()
    given = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert given["CARGO_HOME"].startswith(str(cache)) and given["CARGO_TARGET_DIR"].startswith(str(cache))
    assert given["RUSTFLAGS"] == ""


def test_settings_of_the_users_cargo_count(cargo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "cargo-home" / "config.toml"
    config.parent.mkdir()
    config.touch()
    monkeypatch.setenv("CARGO_HOME", str(config.parent))
    synth.install()
    assert cargo.read_text().startswith(f"--config {config} install")


def test_damaged_program_is_seen_and_built_again(cargo: Path, cache: Path) -> None:
    path = synth.install().path
    flip_last_byte(path)
    with pytest.raises(ToolMissing, match="is not what was built"):
        synth.find()
    assert synth.install().path == path
    assert cargo.read_text().count("\n") == 2


@pytest.mark.parametrize("stamp", [b"", b'{"version": "0.89', b"{}"])
def test_damaged_stamp_means_build_again(stamp: bytes, cargo: Path) -> None:
    path = synth.install().path
    (path.parent / store.STAMP).write_bytes(stamp)
    with pytest.raises(ToolMissing):
        synth.find()
    assert synth.install().path == path


def test_an_interrupted_build_leaves_nothing_that_counts(cargo: Path, cache: Path) -> None:
    process = python("from rig.host import synth; synth.install()")
    assert process.stderr is not None and "building" in process.stderr.readline()
    while not cargo.exists():
        assert process.poll() is None
    process.kill()
    process.communicate()
    with pytest.raises(ToolMissing):
        synth.find()
    assert synth.install().origin == "cache, cargo"
    assert list((cache / "tmp").iterdir()) == []


def test_two_starts_at_once_build_once(cargo: Path, cache: Path) -> None:
    code = "from rig.host import synth; print(synth.install().path)"
    both = [python(code), python(code)]
    said = [process.communicate(timeout=60) for process in both]
    assert [out for out, _ in said] == [f"{cache}/synth/0.89.0/synth\n"] * 2
    assert sum("waiting: another start is building synth" in err for _, err in said) == 1
    assert cargo.read_text().count("\n") == 1


def test_no_cargo(cache: Path, empty_path: Path) -> None:
    with pytest.raises(ToolMissing, match="needs cargo to be built, and there is none on PATH: install Rust"):
        synth.install()


def test_no_network(cache: Path, off_path: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEAD_PROXY.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ToolMissing, match=r"building synth 0.89.0 with cargo failed: the network did not answer"):
        synth.install()
    assert not (cache / "synth").exists() and list((cache / "tmp").iterdir()) == []


def test_cargo_that_builds_something_else(cache: Path, off_path: None, programs: Put) -> None:
    programs(
        "cargo",
        'while [ "$1" != --root ]; do shift; done; mkdir -p "$2/bin"\n'
        'printf "#!/bin/sh\\necho synth 0.88.0\\n" > "$2/bin/synth"; chmod +x "$2/bin/synth"',
    )
    with pytest.raises(InfrastructureError, match=r"cargo built synth 0.88.0, not 0.89.0"):
        synth.install()
    assert not (cache / "synth").exists()


def test_no_space(cache: Path, off_path: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5 << 20))
    with pytest.raises(InfrastructureError, match=r"building synth 0.89.0 needs 600 MiB, and only 5 MiB are free"):
        synth.install()
