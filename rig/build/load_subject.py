# SPDX-License-Identifier: Apache-2.0
"""From the words of the command line to a `Subject`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rig.build.components import FILE_LIMIT, demo_folder, demos, read_bounded
from rig.build.container import Form, form
from rig.build.subject import DEFAULT_MODELS, ComponentFile, Subject, safe_name
from rig.build.words import printable
from rig.errors import UsageError

DEFAULT = "scalar"


def load_subject(args: Sequence[str | Path]) -> Subject:
    """SUBJECT of the command line: a TOML file, component files, one fused wasm (and its object), or a demo image.

    Nothing: the demo image `scalar`. Builds the demo image it needs. Raises UsageError, and for demo images what
    `demo_folder` raises.
    """
    if not args:
        args = [DEFAULT]
    if len(args) == 1 and str(args[0]) in demos():
        return _from_toml(demo_folder(str(args[0])) / "subject.toml")
    paths = [Path(arg) for arg in args]
    for path in paths:
        if path.suffix == ".toml" or path.is_dir():
            if len(paths) > 1:
                raise UsageError(f"{printable(path)}: a subject file is given alone, without other files beside it")
            return _from_toml(path / "subject.toml" if path.is_dir() else path)
        if not path.exists():
            raise UsageError(
                f"{printable(path)} does not exist, and no demo image is called so (there are {', '.join(demos())})"
            )
    return _from_files(paths)


def _from_toml(path: Path) -> Subject:
    from rig.build.subject_file import load  # here: pydantic, which plain files do not need

    return load(path)


def _from_files(paths: Sequence[Path]) -> Subject:
    objects = [path for path in paths if read_bounded(path, FILE_LIMIT)[:4] == b"\x7fELF"]
    wasm = [path for path in paths if path not in objects]
    if objects or (len(wasm) == 1 and form(read_bounded(wasm[0])) is Form.CORE):
        if len(wasm) != 1 or len(objects) > 1:
            raise UsageError("give an object file with the fused wasm it was made from: rig run FUSED.wasm OBJECT.o")
        return Subject(
            name=safe_name(wasm[0].stem),
            fused=wasm[0].resolve(),
            object=objects[0].resolve() if objects else None,
        )
    names = [safe_name(path.stem, f"component-{index}") for index, path in enumerate(wasm)]
    for index, name in enumerate(names):
        first = names.index(name)
        if first != index:
            raise UsageError(
                f"{printable(wasm[first])} and {printable(wasm[index])} would both be called {name!r}: "
                'give them names of their own in a TOML file ([[components]] file = "…" name = "…")'
            )
    return Subject(
        name=names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}",
        components=tuple(ComponentFile(path.resolve(), name) for path, name in zip(wasm, names, strict=True)),
        models=DEFAULT_MODELS,
    )
