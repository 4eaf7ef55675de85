# SPDX-License-Identifier: Apache-2.0
"""TOML files that people write: read whole, validated whole, every error in one message with its dotted key."""

from __future__ import annotations

import difflib
import tomllib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from rig.build.components import read_bounded
from rig.build.words import printable
from rig.errors import UsageError

_LIMIT = 1 << 20  # bytes
_SHOWN = 30  # errors in one message
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}


class Table(BaseModel):
    """Base of all tables: unknown keys and wrong types are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


T = TypeVar("T", bound=Table)


def read(path: Path, table: type[T]) -> T:
    """Read and validate a TOML file. Raises UsageError that lists all errors."""
    where = printable(path)
    try:
        content = tomllib.loads(read_bounded(path, _LIMIT).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{where} is not TOML: {printable(str(error))}") from error
    except RecursionError as error:
        raise UsageError(f"{where} is nested too deeply: no key needs more than three levels") from error
    try:
        return table.model_validate(content)
    except ValidationError as error:
        raise errors(path, [_line(item, table) for item in error.errors()]) from error


def errors(path: Path, lines: Sequence[str]) -> UsageError:
    """One error for all `lines`, each "key: what is wrong and the cure"."""
    shown = list(lines[:_SHOWN])
    if len(lines) > _SHOWN:
        shown.append(f"… and {len(lines) - _SHOWN} more")
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    return UsageError("\n  ".join([f"{printable(path)} has {count}:", *(printable(line, 400) for line in shown)]))


def hint(word: str, known: Sequence[str]) -> str:
    """"; did you mean 'x'?" where something known is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}" if known else ""


def dotted(location: Sequence[int | str]) -> str:
    """("components", 0, "file") → "components[0].file"."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            bare = part.replace("-", "").replace("_", "").isalnum() and part.isascii()
            text += ("." if text else "") + (part if bare else f'"{part}"')
    return text


def _line(item: typing.Any, table: type[BaseModel]) -> str:
    location: tuple[int | str, ...] = item["loc"]
    key = dotted(location)
    match item["type"]:
        case "extra_forbidden":
            return f"{key}: unknown key{hint(str(location[-1]), _fields(table, location[:-1]))}"
        case "missing":
            return f"{key}: missing"
        case "value_error":
            return f"{key}: {item['ctx']['error']}"
    return f"{key}: {item['msg'][0].lower()}{item['msg'][1:]}, not {printable(repr(item['input']), 60)}"


def _fields(table: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Names of the keys of the table at `location`."""
    current: object = table
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel) and part in current.model_fields:
            current = current.model_fields[str(part)].annotation
        while not (isinstance(current, type) and issubclass(current, BaseModel)):
            inner = [arg for arg in typing.get_args(current) if arg is not types.NoneType]
            if not inner:
                return []
            current = inner[-1]  # list[T], dict[str, T], T | None
            if not isinstance(part, str):
                break
    if isinstance(current, type) and issubclass(current, BaseModel):
        return sorted(current.model_fields)
    return []


def _size(value: object) -> int:
    if isinstance(value, str):
        number, _, unit = value.partition(" ")
        if number.isascii() and number.isdigit() and unit in _UNITS and len(number) < 12:
            value = int(number) * _UNITS[unit]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f'give a size as "8 KiB", "256 B" or a number of bytes, not {printable(repr(value), 40)}')
    if not 0 < value <= 1 << 32:
        raise ValueError(f"a size lies between 1 byte and 4 GiB, not {value}")
    return value


def _address(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise ValueError(f"give an address of 32 bits as a number, e.g. 0x40004000, not {printable(repr(value), 40)}")
    return value


Size = Annotated[int, BeforeValidator(_size)]  # bytes
Address = Annotated[int, BeforeValidator(_address)]
