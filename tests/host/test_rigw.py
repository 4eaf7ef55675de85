# SPDX-License-Identifier: Apache-2.0
"""`./rigw` on a machine with nothing of ours: the environment comes once, whole, from hashes; then starts are quick.

The real packages are 730 MiB, so here rigw stands in a small checkout whose lock file names one of them; everything
else (rigw, Python, venv, pip, network) is real. The whole lock is installed by every `./rigw test`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from host_machine import CHECKOUT, DEAD_PROXY

from rig.errors import InfrastructureError
from rig.host import bootstrap, environment
from rig.host import cache as store

Rigw = Callable[..., subprocess.CompletedProcess[str]]
HELLO = ("python", "-c", "import iniconfig, rig, sys; print(sys.prefix)")
INSTALLING = "rig: installing the Python packages into "


def one_package() -> str:
    """The part of the lock file for a small package."""
    (block,) = re.findall(r"^iniconfig==.*(?:\n    .*)+", (CHECKOUT / "requirements.lock").read_text(), re.M)
    return block + "\n"


def make_checkout(folder: Path) -> Path:
    """A checkout with a small lock file."""
    folder.mkdir()
    shutil.copy2(CHECKOUT / "rigw", folder / "rigw")
    # A copy, not a link: a test that fills the disk must not spoil the bytecode of the real one.
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "rig" / "host", folder / "rig" / "host", ignore=ignore)
    for name in ("__init__.py", "errors.py"):
        shutil.copy2(CHECKOUT / "rig" / name, folder / "rig" / name)
    (folder / "requirements.lock").write_text(one_package())
    return folder


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with a name that needs quoting."""
    return make_checkout(tmp_path / 'a check\'out "$HOME"')


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache in which that lock's environment is set up already; to be read only."""
    folder = tmp_path_factory.mktemp("ready")
    cache = folder / "cache"
    checkout = make_checkout(folder / "checkout")
    call = [checkout / "rigw", *HELLO]
    subprocess.run(
        call, env={**os.environ, "RIG_CACHE": str(cache), "RIG_PYTHON": sys.executable}, check=True, timeout=240
    )
    return cache


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def variables(cache: Path, home: Path) -> dict[str, str]:
    """The environment of a user with an empty home; the cache is the one in it."""
    kept = {name: value for name, value in os.environ.items() if name not in ("RIG_CACHE", "XDG_CACHE_HOME")}
    return {**kept, "HOME": str(home), "RIG_PYTHON": sys.executable}


@pytest.fixture
def rigw(checkout: Path, variables: dict[str, str], tmp_path: Path) -> Rigw:
    """`rigw(words…, env={…})` runs it from another folder."""

    def call(
        *words: str, env: dict[str, str] | None = None, limit: int | None = None
    ) -> subprocess.CompletedProcess[str]:
        prefix = ["sh", "-c", f'ulimit -f {limit}; exec "$@"', "sh"] if limit else []
        return subprocess.run(
            [*prefix, str(checkout / "rigw"), *words],
            cwd=tmp_path,
            env={**variables, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    return call


def venv(home: Path) -> Path:
    """The one environment in the cache."""
    (found,) = (home / ".cache" / "rig" / "venv").iterdir()
    return found


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The last line on stderr, of a start that failed as it should."""
    assert done.returncode == 3 and done.stdout == "" and "Traceback" not in done.stderr
    return done.stderr.splitlines()[-1]


def test_first_start_installs_second_start_is_quick_and_needs_no_network(rigw: Rigw, home: Path) -> None:
    first = rigw(*HELLO)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{venv(home)}\n" and INSTALLING in first.stderr
    assert [path.name for path in home.iterdir()] == [".cache"], "nothing else in the user's home"
    assert [path.name for path in (home / ".cache").iterdir()] == ["rig"]
    began = time.monotonic()
    second = rigw(*HELLO, env=DEAD_PROXY)
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert time.monotonic() - began < 2


def test_interrupted_setup_is_made_again(rigw: Rigw, checkout: Path, variables: dict[str, str], home: Path) -> None:
    process = subprocess.Popen([checkout / "rigw", *HELLO], env=variables, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None and process.stderr.readline().startswith(INSTALLING)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert venv(home).is_dir()
    done = rigw(*HELLO)
    assert done.returncode == 0 and "an earlier set-up was interrupted: starting it again" in done.stderr
    assert list((home / ".cache" / "rig" / "tmp").iterdir()) == []


def test_ctrl_c_during_setup_ends_with_130_and_leaves_nothing(
    checkout: Path, variables: dict[str, str], home: Path
) -> None:
    process = subprocess.Popen(
        [checkout / "rigw", *HELLO], env=variables, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None and process.stderr.readline().startswith(INSTALLING)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in error
    assert list((home / ".cache" / "rig" / "venv").iterdir()) == []


@pytest.mark.parametrize("damage", ["nothing", "truncated stamp", "no stamp", "other stamp", "no interpreter"])
def test_damaged_environment_does_not_count(damage: str, ready: Path, tmp_path: Path) -> None:
    (original,) = (ready / "venv").iterdir()
    place = tmp_path / "venv"
    shutil.copytree(original, place, symlinks=True)
    stamp = store.read_stamp(place)
    assert stamp is not None
    if damage == "truncated stamp":
        (place / store.STAMP).write_bytes((place / store.STAMP).read_bytes()[:-9])
    elif damage == "no stamp":
        (place / store.STAMP).unlink()
    elif damage == "other stamp":
        store.write_stamp(place, {**stamp, "identity": "another lock file"})
    elif damage == "no interpreter":
        (place / "bin" / "python").unlink()
        (place / "bin" / "python").symlink_to("/no/longer/installed")
    assert environment._usable(place, stamp) == (damage == "nothing")


def test_two_first_starts_at_once_install_once(checkout: Path, variables: dict[str, str]) -> None:
    both = [
        subprocess.Popen(
            [checkout / "rigw", *HELLO], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=240) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum(INSTALLING in error for _, error in said) == 1
    assert sum("waiting: another start is installing the Python packages" in error for _, error in said) == 1
    assert said[0][0] == said[1][0]


def test_no_network(rigw: Rigw, home: Path) -> None:
    text = sentence(rigw(*HELLO, env=DEAD_PROXY))
    assert text.startswith("rig: installing the Python packages failed: the network did not answer (")
    assert "check the connection or the proxy settings" in text
    assert list((home / ".cache" / "rig" / "venv").iterdir()) == []


def test_other_bytes_than_the_lock_names(rigw: Rigw, checkout: Path) -> None:
    lock = checkout / "requirements.lock"
    lock.write_text(re.sub("sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    assert "what was downloaded is not what the lock file names" in sentence(rigw(*HELLO))


def test_a_lock_without_hashes_installs_nothing(rigw: Rigw, checkout: Path) -> None:
    (checkout / "requirements.lock").write_text("iniconfig==2.3.1\n")
    assert "Hashes are required in --require-hashes mode" in rigw(*HELLO).stderr


def test_disk_that_fills_up_in_the_middle(rigw: Rigw, home: Path) -> None:
    """A limit on the size of files stands for the disk: pip's own writing fails."""
    text = sentence(rigw(*HELLO, limit=8))
    assert "a file may not grow further (file size limit of this shell, see ulimit -f): raise it" in text
    # Python itself would keep the half of a compiled module it could write, and stumble over it ever after.
    assert rigw(*HELLO).returncode == 0


def test_home_that_cannot_be_written(rigw: Rigw) -> None:
    assert "/proc/" in sentence(rigw(*HELLO, env={"RIG_CACHE": "/proc/nowhere"}))


def test_no_python(rigw: Rigw, tmp_path: Path) -> None:
    tools = tmp_path / "few"
    tools.mkdir()
    for name in ("sh", "dirname", "readlink"):
        (tools / name).symlink_to(str(shutil.which(name)))
    text = sentence(rigw(*HELLO, env={"PATH": str(tools), "RIG_PYTHON": ""}))
    assert text.startswith(
        "rig: Python 3.11 or newer is needed and none was found: install one (Debian: apt-get install"
    )


def test_old_python_is_not_taken(rigw: Rigw, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    assert "Python 3.11 or newer is needed" in sentence(rigw(*HELLO, env={"RIG_PYTHON": str(old)}))


@pytest.mark.parametrize(
    "said",
    [
        "/usr/bin/python3: No module named ensurepip",
        "/usr/bin/python3: No module named venv",
    ],
)
def test_python_without_venv(
    said: str, cache: Path, checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = tmp_path / "python-of-debian"
    bare.write_text(f"#!/bin/sh\ncat <<'E'\n{said}\nE\nexit 1\n")
    bare.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(bare))
    with pytest.raises(
        InfrastructureError, match=r"no venv module\): install it \(Debian: apt-get install python3-venv"
    ):
        environment.python(checkout / "requirements.lock")


def test_settings_of_the_user_do_not_lead_astray(rigw: Rigw, tmp_path: Path, home: Path) -> None:
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "iniconfig.py").write_text("raise SystemExit('poisoned')\n")
    (poison / "sitecustomize.py").write_text("raise SystemExit('poisoned')\n")
    (tmp_path / "iniconfig.py").write_text("raise SystemExit('the folder one stands in')\n")
    (tmp_path / "rig.py").write_text("raise SystemExit('the folder one stands in')\n")
    astray = {"PYTHONPATH": str(poison), "PYTHONHOME": str(poison), "PIP_TARGET": str(poison), "PIP_USER": "1"}
    done = rigw(*HELLO, env=astray)
    assert (done.returncode, done.stdout) == (0, f"{venv(home)}\n"), done.stderr


def test_started_through_a_link(checkout: Path, variables: dict[str, str], ready: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    link = tmp_path / "bin" / "rigw"
    link.symlink_to(os.path.relpath(checkout / "rigw", link.parent))
    done = subprocess.run(
        [link, *HELLO],
        env={**variables, "RIG_CACHE": str(ready)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0 and done.stderr == ""


def test_inside_an_environment_of_the_users_it_is_the_same(rigw: Rigw, ready: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", own], check=True, timeout=60)
    done = rigw(*HELLO, env={"RIG_CACHE": str(ready), "RIG_PYTHON": str(own / "bin" / "python")})
    assert (done.returncode, done.stderr) == (0, "")


def test_exit_code_and_arguments_are_those_of_the_command(rigw: Rigw, ready: Path) -> None:
    code = "import sys; print(sys.argv[1:]); sys.exit(42)"
    done = rigw("python", "-c", code, "a b", "", "$HOME", "*", "--x=1", env={"RIG_CACHE": str(ready)})
    assert (done.returncode, done.stdout) == (42, "['a b', '', '$HOME', '*', '--x=1']\n")


def test_words_of_the_command_line() -> None:
    assert bootstrap.command("P", ["run", "x.toml"]) == ["P", "-P", "-m", "rig", "run", "x.toml"]
    assert bootstrap.command("P", ["test", "-k", "x"]) == ["P", "-P", "-m", "rig.host.selftest", "-k", "x"]
    assert bootstrap.command("P", ["python", "-V"]) == ["P", "-P", "-V"]
    assert bootstrap.command("P", []) == ["P", "-P", "-m", "rig"]
