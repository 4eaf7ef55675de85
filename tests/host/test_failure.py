# SPDX-License-Identifier: Apache-2.0
"""The clients' own words, as recorded on full disks and without a network, become one sentence with the cure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rig.host.failure import sentence
from rig.host.process import Completed

DISK = "no space left on the disk that holds"
NETWORK = r"the network did not answer \(%s.*\): check the connection or the proxy settings"
RECORDED = {
    "apt, full": ("Err:7 x\n  Error writing to file - write (28: No space left on device) [IP: 1.2.3.4 80]", DISK),
    "dpkg-deb, full": (
        "tar: ./usr/bin/q: Cannot write: No space left on device\ndpkg-deb: error: tar subprocess",
        DISK,
    ),
    "pip, full": (
        """ProtocolError: ("Connection broken: OSError(28, 'No space left on device')", OSError(28))""",
        DISK,
    ),
    "cargo, full": ("error: failed to compile\n\nCaused by:\n  No space left on device (os error 28)", DISK),
    "apt, no free space": ("E: You don't have enough free space in /x/archives/.", DISK),
    "apt, no network": ("  Temporary failure resolving 'host'", NETWORK % "Temporary failure resolving"),
    "apt, dead proxy": ("  Unable to connect to 127.0.0.1:9:", NETWORK % "Unable to connect to 127.0.0.1:9"),
    "pip, no network": (
        "WARNING: Retrying after connection broken by 'NewConnectionError('<x>: Failed to establish a new connection: "
        "[Errno -3] Temporary failure in name resolution')': /simple/x/\n"
        "ERROR: No matching distribution found for x==1",
        NETWORK % "Temporary failure in name resolution",
    ),
    "cargo, no network": (
        "warning: spurious network error (1 try remaining): [6] Could not resolve hostname\nerror: download of config",
        NETWORK % "Could not resolve hostname",
    ),
    "pip, other file": (
        "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
        "not what the lock file names: check the package mirror",
    ),
    "pip, other machine": ("ERROR: No matching distribution found for meld-cli==0.65.1", "no package for this Python"),
    "rustup, nothing": (
        "error: rustup could not choose a version of cargo to run, because one wasn't specified explicitly",
        "run `rustup default stable`",
    ),
    "cargo, old": ("error: package `x v1` cannot be built because it requires rustc 1.88", "rustup update"),
    "cargo, no cc": ("error: linker `cc` not found", "apt-get install gcc"),
    "killed by size": ("OSError: [Errno 27] File too large", "ulimit -f"),
    "anything else": ("boom", "^doing it failed: their last word$"),
}


@pytest.mark.parametrize("name", RECORDED)
def test_sentence(name: str, cache: Path) -> None:
    said, expected = RECORDED[name]
    done = Completed(("x",), 1, b"", said.encode(), 1.0, False)
    text = sentence("doing it", done, " their last word\n")
    assert text.startswith("doing it failed: ") and "\n" not in text
    assert re.search(expected, text), text


def test_a_silent_failure_names_its_exit_code(cache: Path) -> None:
    assert sentence("doing it", Completed(("x",), 9, b"", b"", 1.0, False), "") == "doing it failed: exit code 9"
