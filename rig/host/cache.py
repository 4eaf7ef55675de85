# SPDX-License-Identifier: Apache-2.0
"""The user's cache: the only place beside the checkout that set-up writes to.

What is cached is published whole: made in a private folder, then renamed into place, with a stamp that names it.
A half-made thing therefore never has a stamp, and the next start makes it again. Standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from rig.errors import InfrastructureError

STAMP = "stamp.json"
_STAMP_LIMIT = 1 << 16  # bytes; ours are a few hundred


def root() -> Path:
    """`$RIG_CACHE`, else `$XDG_CACHE_HOME/rig`, else `~/.cache/rig` (absolute; need not exist)."""
    if chosen := os.environ.get("RIG_CACHE"):
        return Path(chosen).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is to be ignored.
    home = Path(base) if Path(base).is_absolute() else Path.home() / ".cache"
    return home / "rig"


@contextmanager
def friendly(doing: str) -> Iterator[None]:
    """Turn the file-system errors of a set-up step into one sentence with the cure."""
    try:
        yield
    except OSError as error:
        raise InfrastructureError(f"{doing}: {explain(error)}") from error


def explain(error: OSError) -> str:
    """What went wrong on the file system and what to do about it."""
    where = error.filename2 or error.filename or root()
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full()
    if error.errno == errno.EFBIG:
        return f"{where} may not grow further (file size limit of this shell, see ulimit -f): raise it and start again"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where} is not writable: make it so, or set RIG_CACHE to a folder that is"
    return f"{error.strerror or error} ({where}): mend that, or set RIG_CACHE to another folder"


def disk_full() -> str:
    """The sentence for a full disk."""
    return f"no space left on the disk that holds {root()}: free some, or set RIG_CACHE to a folder with more room"


def require_space(folder: Path, need: int, what: str) -> None:
    """Refuse early where less than `need` bytes are free. Raises InfrastructureError."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < need:
        raise InfrastructureError(
            f"{what} needs {need >> 20} MiB, and only {free >> 20} MiB are free on the disk that holds {root()}: "
            "free some, or set RIG_CACHE to a folder with more room"
        )


@contextmanager
def locked(name: str, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the machine-wide lock `name`; calls `waiting` once if somebody else has it.

    A kernel lock on an open file: it goes when its holder dies, however that happens.
    """
    folder = root() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def workshop(name: str) -> Iterator[Path]:
    """A private folder to make `name` in; gone afterwards. Call it with the lock `name` held.

    Folders of the same name that an interrupted set-up left are removed first.
    """
    parent = root() / "tmp"
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob(f"{name}.*"):
        shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, place: Path, stamp: dict[str, str]) -> None:
    """Put the folder `made` at `place` with its stamp, in one step. Call it with the lock held."""
    write_stamp(made, stamp)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    elif place.exists() or place.is_symlink():
        place.unlink()
    made.rename(place)


def write_stamp(folder: Path, stamp: dict[str, str]) -> None:
    """Write the stamp of `folder` in one step: it is there whole or not at all."""
    fresh = folder / f"{STAMP}.new"
    with fresh.open("w", encoding="utf-8") as handle:
        handle.write(json.dumps(stamp, indent=1, sort_keys=True) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
    fresh.replace(folder / STAMP)


def read_stamp(folder: Path) -> dict[str, str] | None:
    """The stamp of `folder`, or None where there is none that can be read whole."""
    try:
        with (folder / STAMP).open("rb") as handle:
            stamp = json.loads(handle.read(_STAMP_LIMIT))
    except (OSError, ValueError, RecursionError):
        return None  # absent, truncated or garbage: the same as not made yet
    if isinstance(stamp, dict) and all(isinstance(value, str) for value in stamp.values()):
        return stamp
    return None


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes, computed once per state of the file in this process."""
    state = path.stat()
    return _sha256(str(path), state.st_size, state.st_mtime_ns, state.st_ino)


@lru_cache(maxsize=256)
def _sha256(path: str, _size: int, _mtime: int, _inode: int) -> str:
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
