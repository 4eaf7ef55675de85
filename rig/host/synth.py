# SPDX-License-Identifier: Apache-2.0
"""synth, the lowering: built once from its source package with cargo and kept in the cache by version.

Looked for in `$RIG_SYNTH`, on PATH (only the right version), in the cache. What the cache holds is checked against
the hash its stamp recorded when it was built.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from rig.errors import InfrastructureError, ToolMissing
from rig.host import cache
from rig.host.failure import sentence
from rig.host.process import Completed, execute
from rig.host.progress import Ticker, say
from rig.host.tool import Tool

VERSION = "0.89.0"
_BUILD_LIMIT = 1800.0  # seconds; 130 s on two free cores
_BUILD_SPACE = 600 << 20  # bytes


def find() -> Tool:
    """synth of the version the rig knows. Raises ToolMissing."""
    if chosen := os.environ.get("RIG_SYNTH"):
        version = _version(Path(chosen))
        if version != VERSION:
            said = f"is version {version}" if version else "is not synth (no answer to --version)"
            raise ToolMissing(f"synth: RIG_SYNTH={chosen} {said}: let it name synth {VERSION}, or unset it")
        return Tool("synth", Path(chosen).resolve(), VERSION, "RIG_SYNTH")
    if (on_path := shutil.which("synth")) and _version(Path(on_path)) == VERSION:
        return Tool("synth", Path(on_path).resolve(), VERSION, "system")
    place = _place()
    stamp = cache.read_stamp(place)
    if stamp is None:
        raise ToolMissing(f"synth {VERSION} is not built yet: rig setup builds it with cargo (2 to 3 minutes, once)")
    path = place / "synth"
    if not os.access(path, os.X_OK) or cache.sha256(path) != stamp.get("sha256"):
        raise ToolMissing(f"synth: {path} is not what was built (its hash differs): rig setup builds it again")
    return Tool("synth", path, VERSION, "cache, cargo")


def install() -> Tool:
    """Build synth into the cache unless another start just did. Raises ToolMissing, InfrastructureError."""
    with (
        cache.friendly(f"building synth {VERSION}"),
        cache.locked("synth", waiting=lambda: say(f"waiting: another start is building synth {VERSION}")),
    ):
        try:
            return find()
        except ToolMissing:
            if os.environ.get("RIG_SYNTH"):
                raise
        cargo = shutil.which("cargo")
        if cargo is None:
            raise ToolMissing(
                f"synth {VERSION} needs cargo to be built, and there is none on PATH: install Rust 1.88 or newer, "
                "or set RIG_SYNTH to a synth"
            )
        cache.require_space(cache.root(), _BUILD_SPACE, f"building synth {VERSION}")
        with cache.workshop("synth") as folder:
            _build(cargo, folder)
            made = folder / "made"
            made.mkdir()
            shutil.copy2(folder / "root" / "bin" / "synth", made / "synth")
            version = _version(made / "synth")
            if version != VERSION:
                raise InfrastructureError(f"cargo built synth {version or 'that does not start'}, not {VERSION}")
            cache.publish(made, _place(), {"version": VERSION, "sha256": cache.sha256(made / "synth")})
        return find()


def _build(cargo: str, folder: Path) -> None:
    ticker = Ticker(f"building synth {VERSION} with cargo: once, 2 to 3 minutes on two free cores")
    crates = {"Downloaded": 0, "Compiling": 0}

    def watch(line: str) -> None:
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        if word in crates:
            crates[word] += 1
        if crates["Compiling"]:
            ticker.update(f"compiling crate {crates['Compiling']} of about {crates['Downloaded']}")
        else:
            ticker.update(f"downloading: {crates['Downloaded']} crates")

    arguments = ["install", "synth-cli", "--version", VERSION, "--locked", "--root", str(folder / "root")]
    done = execute(
        [cargo, *_user_config(), *arguments],
        env=_environment(Path(cargo), folder),
        cwd=folder,
        timeout=_BUILD_LIMIT,
        watch=watch,
    )
    if not done.ok:
        raise ToolMissing(sentence(f"building synth {VERSION} with cargo", done, _words(done)))
    ticker.done(f"synth {VERSION} is built")


def _environment(cargo: Path, folder: Path) -> dict[str, str]:
    """Everything cargo writes goes into `folder`; flags of the user's that would change the program are dropped."""
    environment = {
        "CARGO_HOME": str(folder / "home"),
        "CARGO_TARGET_DIR": str(folder / "target"),
        "TMPDIR": str(folder),
        "CARGO_TERM_PROGRESS_WHEN": "never",
        "CARGO_TERM_COLOR": "never",
        "CARGO_NET_RETRY": "1",
        "RUSTFLAGS": "",
        "CARGO_ENCODED_RUSTFLAGS": "",
    }
    # cargo is often rustup's stand-in, which looks for its toolchains in $HOME (and writes there if it finds none):
    # with another HOME they still lie beside it.
    if "RUSTUP_HOME" not in os.environ and not (Path.home() / ".rustup" / "toolchains").exists():
        beside = cargo.parent.parent.parent / ".rustup"
        environment["RUSTUP_HOME"] = str(beside if beside.is_dir() else folder / "rustup")
    return environment


def _user_config() -> list[str]:
    """The user's cargo settings (proxy, mirror) still count, though cargo's home is ours."""
    home = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    config = home / "config.toml"
    return ["--config", str(config)] if config.is_file() else []


def _words(done: Completed) -> str:
    """cargo's own words for why it failed."""
    errors = [line.removeprefix("error: ") for line in done.err.splitlines() if line.startswith("error")]
    return errors[0] if errors else done.err.strip().rpartition("\n")[2]


def _version(path: Path) -> str | None:
    """What `path --version` answers, or None where it does not answer like synth."""
    try:
        said = execute([path, "--version"], timeout=20.0).out
    except InfrastructureError:
        return None
    match = re.match(r"synth (\d+\.\d+\.\d+)\s*$", said)
    return match[1] if match else None


def _place() -> Path:
    return cache.root() / "synth" / VERSION
