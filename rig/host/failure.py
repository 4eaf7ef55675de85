# SPDX-License-Identifier: Apache-2.0
"""Why a package client failed, in one sentence with the cure. Standard library only."""

from __future__ import annotations

import re
import shutil

from rig.host import cache
from rig.host.process import Completed

_DISK = re.compile(r"no space left|disk quota exceeded|enough free space|os error 28\b|errno 28\b", re.I)
_SIZE = re.compile(r"file too large|file size limit|os error 27\b|errno 27\b", re.I)
_NETWORK = re.compile(
    r"(?:temporary failure|(?:could not|couldn't) (?:resolve|connect)|unable to connect|failed to connect"
    r"|cannot connect to proxy|connection (?:refused|timed out|reset)|network is unreachable"
    r"|name or service not known)[^\n'\")]{0,80}",
    re.I,
)
_NETWORK_VAGUE = re.compile(r"newconnectionerror|network failure|spurious network error|timed? ?out", re.I)
_TOOLCHAIN = re.compile(
    r"rustup could not choose a version|no default (?:is )?configured|no installed toolchains", re.I
)
_OLD_RUST = re.compile(r"requires rustc|feature `edition2024` is required|lock file version .* not understood", re.I)
_LINKER = re.compile(r"linker `[^`]*` not found")
_HASH = re.compile(r"do not match the hashes", re.I)
_CHOICE = re.compile(r"no matching distribution", re.I)


def sentence(doing: str, done: Completed, words: str) -> str:
    """One sentence: what was being done, why it failed, what to do. `words`: the client's own last word."""
    said = f"{done.out}\n{done.err}"
    return f"{doing} failed: {_reason(said, words.strip()[:400] or f'exit code {done.returncode}')}"


def _reason(said: str, words: str) -> str:
    if _DISK.search(said) or _disk_is_full():
        return cache.disk_full()
    if _SIZE.search(said):
        return "a file may not grow further (file size limit of this shell, see ulimit -f): raise it and start again"
    if _TOOLCHAIN.search(said):
        return "cargo is rustup's and has no toolchain: run `rustup default stable` and start again"
    if _OLD_RUST.search(said):
        return f"this Rust is too old ({words}): install a newer one (rustup update) and start again"
    if _LINKER.search(said):
        return "Rust finds no C linker: install a C compiler (Debian: apt-get install gcc) and start again"
    if _HASH.search(said):
        return "what was downloaded is not what the lock file names: check the package mirror you use"
    if network := _NETWORK.findall(said):
        return (
            f"the network did not answer ({network[-1]}): check the connection or the proxy settings, and start again"
        )
    if _CHOICE.search(said):
        return f"there is no package for this Python and machine ({words}): use CPython 3.11 to 3.13 on Linux x86-64"
    return words


def _disk_is_full() -> bool:
    """Not every client says so: some die with a bare exit code."""
    folder = cache.root()
    return folder.is_dir() and shutil.disk_usage(folder).free < 64 << 20
