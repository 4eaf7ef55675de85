# SPDX-License-Identifier: Apache-2.0
"""What was built once is kept, named by the hash of everything it was built from.

An entry is a folder that appears whole: made in a private folder, renamed into place. No lock: two processes that make
the same entry both make it, and the second one takes the first one's. Every file's hash is kept beside it and checked
when the entry is used, so a bit flipped on the disk leads to a rebuild and not to a wrong verdict.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rig.host import cache as host

Part = str | bytes
_PRIVATE = ".private-"


def digest(*parts: Part) -> str:
    """SHA-256 (hex) of the parts in order; no two different sequences of parts have the same input."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(b"%c%d:" % (b"s" if isinstance(part, str) else b"b", len(data)))
        state.update(data)
    return state.hexdigest()


def cached(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The folder of the entry `key` (from `digest`) of a kind ("components", "elf"), made by `make(folder)` if needed.

    `make` writes plain files into the empty folder it gets. The folder returned is read-only by agreement.
    Errors of `make` pass through and leave nothing behind; InfrastructureError for a full or read-only disk.
    """
    place = host.root() / "build" / kind / key
    if _whole(place):
        return place
    with host.friendly(f"building {kind}"):
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent)
        fresh = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=place.parent))
        try:
            make(fresh)
            fresh.chmod(0o755)  # mkdtemp makes it private; a cache may be shared
            host.write_stamp(fresh, _hashes(fresh))
            _put(fresh, place)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return place


def _put(fresh: Path, place: Path) -> None:
    for _ in range(3):
        try:
            fresh.rename(place)
            return
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
        if _whole(place):
            return  # somebody else was faster
        _remove(place)  # a damaged entry
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(place))


def _remove(place: Path) -> None:
    """Out of the way in one step first, so that nobody sees it half removed."""
    with suppress(FileNotFoundError):
        grave = Path(tempfile.mkdtemp(prefix=_PRIVATE, dir=place.parent))
        place.rename(grave / "it")
        shutil.rmtree(grave, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what killed processes left: private folders that nobody has touched for an hour."""
    for stale in folder.glob(f"{_PRIVATE}*"):
        with suppress(FileNotFoundError):
            if time.time() - stale.stat().st_mtime > 3600:
                shutil.rmtree(stale, ignore_errors=True)


def _whole(place: Path) -> bool:
    stamp = host.read_stamp(place)
    if stamp is None:
        return False
    try:
        return _hashes(place) == stamp
    except OSError:
        return False  # removed meanwhile, or a disk error: the same as not there


def _hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != host.STAMP)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
