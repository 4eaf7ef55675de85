# SPDX-License-Identifier: Apache-2.0
"""From what pydantic reports to sentences: key path, what was expected, what was found, the cure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

_SHOWN = 60  # characters of a wrong value


def sentences(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence per problem, in the order of the file's keys: `banks[2].size: expected …, got …`."""
    found: dict[str, str] = {}
    for entry in error.errors():
        place = _known(entry["loc"], model)
        path = spell(place)
        owner, field = _field(place, model)
        if entry["type"] == "extra_forbidden":
            found.setdefault(path, f"{path}: unknown key; {_hint(str(place[-1]), owner)}")
        elif entry["type"] == "missing":
            found.setdefault(path, f"{path}: missing; add {_expected(field)}")
        else:
            found.setdefault(path, f"{path}: expected {_expected(field) or entry['msg']}, got {_show(entry['input'])}")
    return list(found.values())


def spell(place: Sequence[str | int]) -> str:
    """("banks", 2, "size") -> banks[2].size"""
    path = ""
    for part in place:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "file"


def near(word: str, known: Sequence[str]) -> str:
    """A typo hint: "did you mean 'regions'?", or "" when nothing comes close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _known(place: Sequence[str | int], model: type[BaseModel]) -> tuple[str | int, ...]:
    """Drop what pydantic adds to a location beside keys and indexes (members of a union)."""
    kept: list[str | int] = []
    for part in place:
        if isinstance(part, str) and part.startswith(("constrained-", "function-", "literal[")):
            continue
        kept.append(part)
    return tuple(kept)


def _field(place: Sequence[str | int], model: type[BaseModel]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The table that holds the key, and the key's field (of a list's element: the list's, unless it is a table)."""
    owner, field = model, None
    for part in place:
        if isinstance(part, int):
            continue
        inner = _table(field) if field is not None else owner
        if inner is None:
            break
        owner = inner
        field = _fields(owner).get(part)
    return owner, field


def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    return {info.alias or name: info for name, info in model.model_fields.items()}


def _table(field: FieldInfo) -> type[BaseModel] | None:
    pending: list[Any] = [field.annotation]
    while pending:
        at = pending.pop()
        if isinstance(at, type) and issubclass(at, BaseModel):
            return at
        pending.extend(getattr(at, "__args__", ()))
    return None


def _expected(field: FieldInfo | None) -> str:
    if field is None:
        return ""
    if field.description:
        return field.description
    inner = _table(field)
    if inner is not None:
        return "a table with the keys " + ", ".join(n for n, f in _fields(inner).items() if f.is_required())
    for meta in field.metadata:
        if isinstance(getattr(meta, "description", None), str):
            return str(meta.description)
    return ""


def _hint(word: str, owner: type[BaseModel]) -> str:
    known = list(_fields(owner))
    return near(word, known) or f"remove it, the keys here are {', '.join(known)}"


def _show(value: object) -> str:
    text = hex(value) if isinstance(value, int) and not isinstance(value, bool) and value > 9 else repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
