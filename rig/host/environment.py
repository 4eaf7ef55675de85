# SPDX-License-Identifier: Apache-2.0
"""rigw's Python environment: made once per lock file and interpreter, in the cache, from hashes. Standard library only.

It is built in its final place (scripts name their own path), and the stamp comes last: an environment without a whole
stamp was interrupted, and is made again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import sys
from pathlib import Path

from rig.errors import InfrastructureError
from rig.host import cache
from rig.host.failure import sentence
from rig.host.process import Argument, Completed, execute
from rig.host.progress import Ticker, say

_SPACE = 1600 << 20  # bytes: 760 MiB installed, the rest while downloading and unpacking
_LIMIT = 1800.0  # seconds
_OWN_PYTHON = {"PYTHONPATH": "", "PYTHONHOME": "", "PYTHONSTARTUP": "", "PYTHONSAFEPATH": "1"}


def python(lock: Path) -> Path:
    """The interpreter of the environment for the lock file, made if it is not there.

    Raises InfrastructureError with one sentence.
    """
    with cache.friendly("setting up Python packages"):
        text = lock.read_bytes()
        # Resolved: from inside somebody's virtual environment it is still the same Python.
        base = Path(sys.executable).resolve()
        identity = "\n".join((hashlib.sha256(text).hexdigest(), platform.python_version(), str(base)))
        place = cache.root() / "venv" / hashlib.sha256(identity.encode()).hexdigest()[:16]
        interpreter = place / "bin" / "python"
        stamp = {"identity": identity}
        if _usable(place, stamp):
            return interpreter
        waiting = "waiting: another start is installing the Python packages"
        with cache.locked(f"venv-{place.name}", waiting=lambda: say(waiting)):
            if not _usable(place, stamp):
                cache.require_space(cache.root(), _SPACE, "setting up Python packages")
                try:
                    _make(place, lock, base)
                    cache.write_stamp(place, stamp)
                except BaseException:
                    shutil.rmtree(place, ignore_errors=True)  # a full disk gets its room back
                    raise
        return interpreter


def _usable(place: Path, stamp: dict[str, str]) -> bool:
    return cache.read_stamp(place) == stamp and os.access(place / "bin" / "python", os.X_OK)


def _make(place: Path, lock: Path, base: Path) -> None:
    if place.exists() or place.is_symlink():
        say("an earlier set-up was interrupted: starting it again")
        shutil.rmtree(place) if place.is_dir() and not place.is_symlink() else place.unlink()
    place.mkdir(parents=True)
    ticker = Ticker(f"installing the Python packages into {cache.root()}: once, less than a minute")
    with cache.workshop(f"pip-{place.name}") as folder:
        # pip asks `rustc --version`, and rustup would write to the user's home: hence its variable.
        own = {**_OWN_PYTHON, "TMPDIR": str(folder), "RUSTUP_HOME": str(folder)}
        interpreter = place / "bin" / "python"
        # Two steps: `venv` alone would hide what ensurepip says when it fails.
        steps: tuple[list[Argument], ...] = (
            [base, "-I", "-m", "venv", "--without-pip", place],
            [interpreter, "-I", "-m", "ensurepip", "--default-pip"],
        )
        for step in steps:
            made = execute(step, env=own, timeout=_LIMIT, watch=lambda _: ticker.update("making the environment"))
            if not made.ok:
                raise InfrastructureError(_no_venv(base, made))
        arguments = [
            "--require-hashes",
            "--only-binary=:all:",
            "--no-deps",
            "--no-input",
            "--retries=2",
            "--progress-bar=off",
        ]
        done = execute(
            [interpreter, "-m", "pip", "install", *arguments, "--no-color", "-r", lock],
            env={
                **own,
                "PIP_CACHE_DIR": str(cache.root() / "pip"),
                "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                # Settings of the user's that would put the packages elsewhere.
                "PIP_USER": "0",
                **dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"), ""),
            },
            timeout=_LIMIT,
            watch=lambda line: ticker.update(line.partition(" (from ")[0].strip()),
        )
    if not done.ok:
        raise InfrastructureError(sentence("installing the Python packages", done, _words(done)))
    ticker.done("the Python packages are installed")


def _no_venv(base: Path, made: Completed) -> str:
    said = f"{made.out}\n{made.err}"
    if re.search(r"No module named '?(venv|ensurepip)", said):
        return (
            f"{base} cannot make environments (no venv module): "
            f"install it (Debian: apt-get install python3-venv) or set RIG_PYTHON to another Python"
        )
    return sentence("making a Python environment", made, said.strip().rpartition("\n")[2])


def _words(done: Completed) -> str:
    """pip's own words: its last error."""
    errors = [line.removeprefix("ERROR: ") for line in done.err.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else done.err.strip().rpartition("\n")[2]
