# SPDX-License-Identifier: Apache-2.0
"""The layers of the design, enforced: a room imports only from rooms above it in this list; there is no cycle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "rig"
EVERYWHERE = {"errors", "resources", "host", "__version__"}  # below everything: no knowledge of the subject
LAYERS = (
    "arch", "image", "boards", "plan", "build", "oracle", "targets", "inject", "faults", "judging", "judge", "answer",
    "campaign", "report", "pipeline", "commands", "cli", "__main__",
)  # fmt: skip


def modules() -> Iterator[tuple[str, Path]]:
    for file in sorted(ROOT.rglob("*.py")):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), file


def imported(file: Path) -> set[str]:
    """Modules of rig that a file imports, wherever in it, without the leading "rig."."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "rig":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rig."):
            found.add((node.module or "")[4:])
        elif isinstance(node, ast.Import):
            found |= {alias.name[4:] for alias in node.names if alias.name.startswith("rig.")}
    return found


def allowed(room: str, other: str) -> bool:
    if room in ("", "__init__"):
        return False
    if room in EVERYWHERE:
        return other in EVERYWHERE
    return other in EVERYWHERE or LAYERS.index(other) <= LAYERS.index(room)


@pytest.mark.parametrize(("name", "file"), [pytest.param(n, f, id=n) for n, f in modules()])
def test_a_module_imports_only_from_its_own_layer_and_those_above(name: str, file: Path) -> None:
    room = name.split(".")[0]
    assert room in LAYERS or room in EVERYWHERE or room == "__init__", f"{room}: which layer is it?"
    assert [m for m in sorted(imported(file)) if not allowed(room, m.split(".")[0])] == []


def test_a_wrong_arrow_would_be_seen() -> None:
    assert not allowed("arch", "image") and not allowed("plan", "campaign") and not allowed("host", "arch")
    assert allowed("campaign", "plan") and allowed("arch", "arch") and allowed("image", "host")


def test_no_module_imports_itself_through_others() -> None:
    known = dict(modules())
    graph = {name: {m for m in imported(file) if m in known and m != name} for name, file in known.items()}
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " > ".join((*path[path.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                walk(other, (*path, name))
            done.add(name)

    for name in graph:
        walk(name, ())
