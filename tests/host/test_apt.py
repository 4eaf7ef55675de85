# SPDX-License-Identifier: Apache-2.0
"""apt in private: the machine's own archive for its own release, backports added, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from host_machine import DEAD_PROXY

from rig.errors import ToolMissing
from rig.host import apt

BOOKWORM = """\
Types: deb
# a comment in the middle
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""
OTHERS = """\
Types: deb
URIs: https://elsewhere.example/node
Suites: nodistro
Components: main

Types: deb
URIs: https://elsewhere.example/docker
Suites: bookworm
Components: stable

Types: deb
URIs: https://elsewhere.example/db
Suites: bookworm-pgdg
Components: main

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: cdrom:[Debian]/
Suites: bookworm
Components: main
"""


def sources(text: str, release: str = "bookworm") -> list[apt.Stanza]:
    """The private sources made from a `*.sources` text, parsed again."""
    return list(apt.parse_deb822(apt.private_sources(apt.parse_deb822(text), release)))


def test_own_archive_with_backports_and_security_without() -> None:
    main, security = sources(BOOKWORM)
    assert main["suites"] == "bookworm bookworm-updates bookworm-backports"
    assert main["uris"] == "http://mirror.example/debian" and main["signed-by"].endswith("archive-keyring.gpg")
    assert security["suites"] == "bookworm-security"


def test_sources_of_other_origin_are_left_out() -> None:
    assert sources(OTHERS) == []
    assert sources(BOOKWORM + "\n" + OTHERS) == sources(BOOKWORM)


def test_another_release_has_no_source_here() -> None:
    assert sources(BOOKWORM, "trixie") == []


def test_a_release_named_by_its_alias() -> None:
    (stanza,) = sources(BOOKWORM.partition("\n\n")[0].replace("bookworm", "testing"), "forky")
    assert stanza["suites"] == "testing testing-updates testing-backports"


def test_backports_that_are_there_are_not_added_again() -> None:
    (stanza,) = sources("Types: deb\nURIs: u\nSuites: bookworm bookworm-backports\nComponents: main\n")
    assert stanza["suites"] == "bookworm bookworm-backports"


def test_a_key_inside_the_file_survives() -> None:
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----"
    text = apt.private_sources(
        apt.parse_deb822(f"Types: deb\nURIs: u\nSuites: bookworm\nComponents: main\n{key}\n"), "bookworm"
    )
    assert key.removeprefix("Signed-By:\n") in text


def test_one_line_style_keeps_its_options() -> None:
    text = (
        "# deb http://commented.example bookworm main\n"
        "deb [arch=amd64,i386 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # why\n"
        "deb-src http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/debian bookworm-updates main\n"
    )
    first, second = apt.parse_lines(text)
    assert first == {
        "types": "deb",
        "uris": "http://mirror.example/debian",
        "suites": "bookworm",
        "components": "main contrib",
        "architectures": "amd64 i386",
        "signed-by": "/k.gpg",
    }
    assert second["suites"] == "bookworm-updates"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('PRETTY_NAME="Debian"\nVERSION_CODENAME=bookworm\n', "bookworm"),
        ('VERSION_CODENAME="noble"\n', "noble"),
        ("ID=alpine\n", None),
        ("VERSION_CODENAME=../../etc\n", None),
    ],
)
def test_codename(text: str, expected: str | None) -> None:
    assert apt.codename(text) == expected


MADISON = """\
qemu-system-arm | 1:10.0.2+ds-2~bpo12+1 | http://m.example/debian bookworm-backports/main amd64 Packages
qemu-system-arm | 1:7.2+dfsg-7+deb12u18 | http://m.example/debian bookworm/main amd64 Packages
qemu-system-riscv | 1:10.0.2+ds-2~bpo12+1 | http://m.example/debian bookworm-backports/main amd64 Packages
"""
BOTH = ("qemu-system-arm", "qemu-system-riscv")


def test_choice_of_the_suite() -> None:
    offers = apt.parse_madison(MADISON)
    assert [offer.major for offer in offers] == [10, 7, 10]
    assert apt.choose(offers, BOTH, 10) == "bookworm-backports"
    assert apt.choose(offers, BOTH, 11) is None
    assert apt.choose(offers[:2], BOTH, 10) is None, "one of the two is not enough"
    newer = apt.parse_madison(MADISON.replace("bookworm-backports", "trixie"))
    both = [*offers, *newer]
    assert apt.choose(both, BOTH, 10) == "trixie", "backports are the second choice"


def test_odd_lines_of_madison_are_no_offers() -> None:
    assert apt.parse_madison("N: Unable to locate package x\n | | \na | b\n\n") == []
    assert apt.Offer("x", "odd", "s").major == 0


def machine(folder: Path, release: str, text: str = BOOKWORM) -> Path:
    """An /etc with a release and sources."""
    parts = folder / "etc" / "apt" / "sources.list.d"
    parts.mkdir(parents=True)
    (folder / "etc" / "os-release").write_text(f"VERSION_CODENAME={release}\n")
    (parts / "debian.sources").write_text(text)
    (parts / "debian.sources.bak").write_text(OTHERS)
    return folder / "etc"


def test_configuration_is_private(tmp_path: Path) -> None:
    folder = tmp_path / "apt"
    folder.mkdir()
    apt.PrivateApt(folder, machine(tmp_path, "bookworm"))
    lines = (folder / "apt.conf").read_text().splitlines()
    for setting in ("Dir::State::lists", "Dir::Cache", "Dir::Cache::archives", "Dir::Etc::sourceparts", "Dir::Log"):
        (value,) = [line.split('"')[1] for line in lines if line.startswith(f'{setting} "')]
        assert Path(value).is_relative_to(folder)
    assert "#clear APT::Update::Post-Invoke;" in lines and "#clear DPkg::Post-Invoke;" in lines
    assert [path.name for path in (folder / "sources").iterdir()] == ["own.sources"]


def test_hooks_of_the_machine_do_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker's images delete the machine's package cache after every update: not because of us."""
    trace = tmp_path / "trace"
    conf = tmp_path / "hook.conf"
    conf.write_text("".join(f'APT::Update::{when} {{ "touch {trace}"; }};\n' for when in ("Pre-Invoke", "Post-Invoke")))
    monkeypatch.setenv("APT_CONFIG", str(conf))
    for name, value in DEAD_PROXY.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "apt"
    folder.mkdir()
    private = apt.PrivateApt(folder, machine(tmp_path, "bookworm"))
    with pytest.raises(ToolMissing):
        private.fetch(BOTH, 10, watch=lambda _: None)
    assert not trace.exists()
    ours = folder / "apt.conf"
    ours.write_text("".join(line for line in ours.read_text().splitlines(True) if not line.startswith("#clear")))
    with pytest.raises(ToolMissing):
        private.fetch(BOTH, 10, watch=lambda _: None)
    assert trace.exists(), "without our lines the hooks would have run"


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in DEAD_PROXY.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "apt"
    folder.mkdir()
    private = apt.PrivateApt(folder, machine(tmp_path, "bookworm"))
    with pytest.raises(ToolMissing, match=r"apt-get update failed: the network did not answer \(Unable to connect"):
        private.fetch(BOTH, 10, watch=lambda _: None)


def test_not_a_machine_with_apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    etc = machine(tmp_path, "noble")
    with pytest.raises(apt.NoOffer, match="no archive of noble is among the sources in "):
        apt.PrivateApt(tmp_path, etc)
    (etc / "os-release").unlink()
    with pytest.raises(apt.NoOffer, match="no archive of a Debian release"):
        apt.PrivateApt(tmp_path, etc)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(apt.NoOffer, match="there is no apt-get here"):
        apt.PrivateApt(tmp_path, etc)


def test_a_damaged_package(tmp_path: Path) -> None:
    folder = tmp_path / "apt"
    folder.mkdir()
    private = apt.PrivateApt(folder, machine(tmp_path, "bookworm"))
    (tmp_path / "x_1_amd64.deb").write_bytes(b"!<arch>\ngarbage")
    with pytest.raises(ToolMissing, match=r"unpacking x_1_amd64\.deb failed: dpkg-deb: error"):
        private.unpack(tmp_path / "x_1_amd64.deb", tmp_path / "tree")
