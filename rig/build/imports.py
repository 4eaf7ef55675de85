# SPDX-License-Identifier: Apache-2.0
"""Who provides what a component imports, by meld's own rule; what nobody provides is named with the line to add.

meld 0.65.1 binds an import to the first component on its command line, other than the importer, that exports the same
interface name (version included) and function, or the same bare function of its world. Versions that differ in any
digit are different names. (Measured.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rig.build.subject import HostImport
from rig.build.toml_file import hint
from rig.build.words import printable
from rig.errors import UsageError
from rig.image.component import Component, WitFunction, WitType

_SCALARS = ("bool", "u8", "s8", "u16", "s16", "u32", "s32", "u64", "s64", "f32", "f64", "char", "enum")


@dataclass(frozen=True, slots=True)
class Binding:
    """One imported function and who answers: a component (index) or the host."""

    importer: int
    function: WitFunction
    provider: int | None
    host: HostImport | None


def bind(components: Sequence[Component], imports: Mapping[str, HostImport]) -> tuple[Binding, ...]:
    """Bindings of all imports, in order of components and imports. Raises UsageError that names all that is wrong."""
    bindings: list[Binding] = []
    missing: dict[str, list[str]] = {}
    wrong: list[str] = []
    used: set[str] = set()
    for index, component in enumerate(components):
        for function in component.imports:
            provider = _provider(components, index, function)
            key = next((key for key in _keys(function) if key in imports), None)
            if provider is not None:
                wrong += _mismatch(components, index, function, provider)
                bindings.append(Binding(index, function, provider, None))
            elif key is not None:
                used.add(key)
                wrong += _unfit(key, function, imports[key])
                bindings.append(Binding(index, function, None, imports[key]))
            else:
                missing.setdefault(function.core_name, []).append(component.name)
    given = {function.core_name for component in components for function in component.exports}
    wanted = sorted({function.core_name for component in components for function in component.imports} - given)
    wrong += [
        f"imports.{printable(key)!r} is imported by no component, or a component provides it{hint(key, wanted)}"
        for key in imports
        if key not in used
    ]
    if missing:
        lines = "\n".join(f'  "{printable(name)}" = "trap"' for name in missing)
        who = ", ".join(sorted({name for names in missing.values() for name in names}))
        wrong.append(
            f"{who} import(s) what no component provides: add the component that does, or to the subject file:\n"
            f'  [imports]\n{lines}\n  # "trap", "stub" (returns zero) or a C file'
        )
    if wrong:
        raise UsageError("\n".join(wrong))
    return tuple(bindings)


def _keys(function: WitFunction) -> tuple[str, ...]:
    """Keys of the table `imports` that stand for the function, the more exact first."""
    return (function.core_name,) if function.interface is None else (function.core_name, function.interface)


def _provider(components: Sequence[Component], importer: int, function: WitFunction) -> int | None:
    for index, component in enumerate(components):
        if index != importer and any(f.core_name == function.core_name for f in component.exports):
            return index
    return None


def _mismatch(components: Sequence[Component], importer: int, function: WitFunction, provider: int) -> list[str]:
    given = next(f for f in components[provider].exports if f.core_name == function.core_name)
    if _shape(given) == _shape(function):
        return []
    return [
        f"{components[importer].name} imports {printable(function.core_name)} with other types than "
        f"{components[provider].name} exports it: build both from the same WIT"
    ]


def _shape(function: WitFunction) -> tuple[tuple[WitType, ...], WitType | None]:
    return tuple(type for _, type in function.params), function.result


def _unfit(key: str, function: WitFunction, host: HostImport) -> list[str]:
    if host.how == "stub" and function.result is not None and function.result.kind not in _SCALARS:
        what = f"{printable(function.core_name)} returns a {function.result.kind}"
        return [f'imports.{printable(key)!r}: {what}, which a stub cannot: use "trap"']
    return []
