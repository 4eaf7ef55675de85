# SPDX-License-Identifier: Apache-2.0
"""The cache: where it lies, whole or not at all, one maker at a time."""

from __future__ import annotations

import errno
import os
import resource
import time
from pathlib import Path

import pytest
from host_machine import python

from rig.errors import InfrastructureError
from rig.host import cache as store


def test_place(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store.root() == cache
    monkeypatch.delenv("RIG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert store.root() == tmp_path / "xdg" / "rig"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store.root() == tmp_path / "home" / ".cache" / "rig"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RIG_CACHE", "here")
    assert store.root() == tmp_path / "here"


def test_published_is_whole_and_replaces_what_was_there(cache: Path) -> None:
    place = cache / "thing" / "1"
    for old in ("nothing", "folder", "file", "dangling link"):
        if old == "folder":
            place.mkdir()
            (place / "old").touch()
        elif old == "file":
            place.touch()
        elif old == "dangling link":
            place.symlink_to("nowhere")
        with store.workshop("thing") as folder:
            made = folder / "made"
            made.mkdir()
            (made / "new").touch()
            store.publish(made, place, {"version": "1"})
        assert store.read_stamp(place) == {"version": "1"}
        assert sorted(path.name for path in place.iterdir()) == ["new", "stamp.json"]
        (place / "new").unlink()
        (place / "stamp.json").unlink()
        place.rmdir()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"version": "1"',
        b"\xff\xfe",
        b"[]",
        b'{"version": 1}',
        b"[" * 60_000,
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
    ],
    ids=["empty", "truncated", "no text", "no object", "no strings", "deep", "huge"],
)
def test_a_damaged_stamp_is_no_stamp(cache: Path, content: bytes) -> None:
    cache.mkdir()
    (cache / "stamp.json").write_bytes(content)
    assert store.read_stamp(cache) is None


def test_a_stamp_that_cannot_be_written_whole_is_not_there(cache: Path) -> None:
    """A limit on the size of files stands for the disk that fills up in the middle of a write."""
    cache.mkdir()
    code = (
        "import resource, signal\n"
        "from pathlib import Path\n"
        "from rig.host import cache\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "with cache.friendly('making a thing'):\n"
        "    cache.write_stamp(cache.root(), {'x': 'y' * 1000})\n"
    )
    process = python(code)
    _, error = process.communicate(timeout=30)
    assert "InfrastructureError: making a thing: " in error and "may not grow further" in error
    assert store.read_stamp(cache) is None
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100


def test_workshop_is_gone_afterwards_and_removes_what_an_interrupted_one_left(cache: Path) -> None:
    stale = cache / "tmp" / "thing.old" / "deep"
    other = cache / "tmp" / "other.old"
    stale.mkdir(parents=True)
    other.mkdir()
    with store.workshop("thing") as folder:
        assert folder.is_dir() and not stale.exists() and other.is_dir()
    assert not folder.exists()


def test_lock_is_held_by_one_and_goes_with_its_holder(cache: Path) -> None:
    code = (
        "import time\n"
        "from rig.host import cache\n"
        "with cache.locked('thing', waiting=lambda: None):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    holder = python(code)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    waited: list[float] = []

    def waiting() -> None:
        waited.append(time.monotonic())
        holder.kill()

    with store.locked("thing", waiting):
        assert len(waited) == 1 and holder.wait(10) != 0
    holder.communicate()


@pytest.mark.parametrize(
    ("number", "cure"),
    [
        (errno.ENOSPC, "no space left on the disk that holds .*: free some, or set RIG_CACHE"),
        (errno.EDQUOT, "no space left on the disk"),
        (errno.EROFS, "/some/file is not writable: make it so, or set RIG_CACHE"),
        (errno.EACCES, "/some/file is not writable"),
        (errno.EIO, r"Input/output error \(/some/file\): mend that, or set RIG_CACHE"),
    ],
)
def test_file_system_errors_name_the_cure(cache: Path, number: int, cure: str) -> None:
    with pytest.raises(InfrastructureError, match=f"making a thing: {cure}"), store.friendly("making a thing"):
        raise OSError(number, os.strerror(number), "/some/file")


def test_a_cache_that_is_a_file_is_named(cache: Path) -> None:
    cache.touch()
    with pytest.raises(InfrastructureError, match=str(cache)), store.friendly("set-up"):
        store.locked("thing", waiting=lambda: None).__enter__()


def test_too_little_space_is_said_before_the_work(cache: Path) -> None:
    store.require_space(cache / "not" / "there", 1, "a byte")
    with pytest.raises(InfrastructureError, match=r"a miracle needs 1073741824 MiB, and only \d+ MiB are free"):
        store.require_space(cache / "not" / "there", 1 << 50, "a miracle")


def test_hash_follows_the_file(cache: Path) -> None:
    cache.mkdir()
    path = cache / "file"
    path.write_bytes(b"a")
    first = store.sha256(path)
    path.write_bytes(b"bb")
    assert first == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb" != store.sha256(path)
